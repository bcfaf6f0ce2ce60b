// Where the engine's script and its Node.js are.
#pragma once
#include <string>

namespace ocs {

// This library, as Orthanc has named it.
std::string OwnFile();

// The folder of this library.
std::string OwnFolder();

// Another copy of this library that Orthanc has loaded. "" if there is none.
std::string OtherCopy();

// The configured path if it is not empty, else the file in `folder` or in the usual places. "" if there is no such
// file.
std::string FindEngine(const std::string& configured, const std::string& folder);
// Beside the engine's script, in `folder`, or on PATH.
std::string FindNode(const std::string& configured, const std::string& folder, const std::string& script);

}  // namespace ocs
