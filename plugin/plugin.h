// What Orthanc's callbacks share. It is global, because Orthanc passes them no argument of ours.
#pragma once
#include <orthanc/OrthancCPlugin.h>

#include <memory>

#include "engine.h"

namespace ocs {

constexpr char kName[] = "cloud-storage";

extern OrthancPluginContext* context;
extern std::unique_ptr<Engine> engine;

// The error code that Orthanc gets for the way in which a call has ended.
OrthancPluginErrorCode CodeOf(const Answer& answer);

// The services besides the storage area begin. Orthanc may start a plugin again in the same process.
void StartServices();

// Registers with Orthanc what the engine asks for.
void RegisterService(Registration kind, const std::string& text);

// Orthanc has started, and answers its own REST API. From now on the engine may ask it at any time.
void BeginBackground();

// Whether this Orthanc lets plugins ask its REST API as ours does.
bool CanBeAsked();

// Orthanc begins to stop. From now on this is the reply to all upcalls.
void StopServices();

}  // namespace ocs
