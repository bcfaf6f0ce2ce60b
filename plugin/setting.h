// The few things the native half reads out of Orthanc's configuration: where the engine, its Node.js and its socket
// are.
#pragma once
#include <initializer_list>
#include <string>

namespace ocs {

// The string that is found by going from object to object by these names, or "" if there is none. `json` is Orthanc's
// normalised configuration, which is valid JSON; escapes are decoded except \u above 0x7f, which no path of ours needs.
std::string FindSetting(const std::string& json, std::initializer_list<const char*> names);

// Whether Orthanc's configuration has anything of this name.
bool HasSetting(const std::string& json, const char* name);

}  // namespace ocs
