#include "files.h"

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

namespace ocs {

namespace {

bool IsFile(const std::string& path, int mode) { return access(path.c_str(), mode) == 0; }

}  // namespace

std::string OwnFolder() {
  Dl_info info{};
  char real[PATH_MAX];
  if (dladdr(reinterpret_cast<void*>(&OwnFolder), &info) == 0 || realpath(info.dli_fname, real) == nullptr) return ".";
  const std::string path(real);
  return path.substr(0, path.rfind('/'));
}

std::string FindEngine(const std::string& configured, const std::string& folder) {
  if (!configured.empty()) return IsFile(configured, R_OK) ? configured : "";
  for (const std::string& candidate :
       {folder + "/engine.mjs", std::string("/usr/share/orthanc-cloud-storage/engine.mjs")})
    if (IsFile(candidate, R_OK)) return candidate;
  return "";
}

std::string FindNode(const std::string& configured, const std::string& folder) {
  if (!configured.empty()) return IsFile(configured, X_OK) ? configured : "";
  if (IsFile(folder + "/node", X_OK)) return folder + "/node";
  const char* path = std::getenv("PATH");
  std::string rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string candidate = rest.substr(0, colon) + "/node";
    if (IsFile(candidate, X_OK)) return candidate;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return "";
}

}  // namespace ocs
