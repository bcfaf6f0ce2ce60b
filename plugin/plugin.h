// What Orthanc's callbacks share: they get no argument of ours, so this is global.
#pragma once
#include <orthanc/OrthancCPlugin.h>

#include <memory>

#include "engine.h"

namespace ocs {

extern OrthancPluginContext* context;
extern std::unique_ptr<Engine> engine;

// The code that tells Orthanc how a call has ended.
OrthancPluginErrorCode CodeOf(const Answer& answer);

// Everything but the storage area (services.cpp). Orthanc may start a plugin again in the same process.
void StartServices();

// Registers with Orthanc what the engine asks for.
void RegisterService(Registration kind, const std::string& text);

// Orthanc begins to stop: from now on the engine is told so when it asks for something.
void StopServices();

}  // namespace ocs
