// The one thing the native half reads out of Orthanc's configuration: where the engine and its Node.js are.
#pragma once
#include <string>

namespace ocs {

// The string at json[section][option], or "" if there is none. `json` is Orthanc's normalised configuration, which is
// valid JSON; escapes are decoded except \u above 0x7f, which no path of ours needs.
std::string FindSetting(const std::string& json, const std::string& section, const std::string& option);

}  // namespace ocs
