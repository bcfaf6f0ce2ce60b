// Where the engine's script and its Node.js are.
#pragma once
#include <string>

namespace ocs {

// The folder of this library.
std::string OwnFolder();

// What is configured, if it is not empty, else what lies in `folder` or in the usual places. "" if it is not there.
std::string FindEngine(const std::string& configured, const std::string& folder);
std::string FindNode(const std::string& configured, const std::string& folder);

}  // namespace ocs
