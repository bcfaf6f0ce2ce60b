#include "files.h"

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

namespace ocs {

namespace {

// Where packages put the engine, and a Node.js of its own.
const char* const kFolders[] = {"/usr/lib/orthanc-cloud-storage", "/usr/share/orthanc-cloud-storage"};

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
  if (IsFile(folder + "/engine.mjs", R_OK)) return folder + "/engine.mjs";
  for (const std::string other : kFolders)
    if (IsFile(other + "/engine.mjs", R_OK)) return other + "/engine.mjs";
  return "";
}

std::string FindNode(const std::string& configured, const std::string& folder, const std::string& script) {
  if (!configured.empty()) return IsFile(configured, X_OK) ? configured : "";
  for (const std::string& own : {script.substr(0, script.rfind('/')), folder})
    if (IsFile(own + "/node", X_OK)) return own + "/node";
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
