// What the native half reads out of Orthanc's configuration: where the engine, its Node.js and its socket are.
#pragma once
#include <initializer_list>
#include <string>

namespace ocs {

// The string at the end of these names, which lead from object to object, or "" if there is none. `json` is Orthanc's
// normalised configuration, which is valid JSON. Escapes are decoded, except \u above 0x7f: no path of ours needs them.
std::string FindSetting(const std::string& json, std::initializer_list<const char*> names);

// Whether Orthanc's configuration has anything under this name.
bool HasSetting(const std::string& json, const char* name);

}  // namespace ocs
