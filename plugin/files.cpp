#include "files.h"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <vector>

// Every copy of this library has it, and no other plugin.
extern "C" __attribute__((visibility("default"))) const char OrthancCloudStorage[] = "cloud-storage";

namespace ocs {

namespace {

// Where packages put the engine, and a Node.js of its own.
const char* const kFolders[] = {"/usr/lib/orthanc-cloud-storage", "/usr/share/orthanc-cloud-storage"};

bool IsFile(const std::string& path, int mode) { return access(path.c_str(), mode) == 0; }

Dl_info LibraryOf(const void* address) {
  Dl_info info{};
  dladdr(address, &info);
  return info;
}

Dl_info Own() { return LibraryOf(reinterpret_cast<const void*>(&OwnFolder)); }

// Only notes the names: dlopen() has no place inside this callback.
int Note(dl_phdr_info* library, size_t, void* names) {
  if (library->dlpi_name[0] == '/') static_cast<std::vector<std::string>*>(names)->push_back(library->dlpi_name);
  return 0;
}

}  // namespace

std::string OwnFile() {
  const Dl_info own = Own();
  return own.dli_fname != nullptr ? own.dli_fname : "";
}

std::string OwnFolder() {
  char real[PATH_MAX];
  if (realpath(OwnFile().c_str(), real) == nullptr) return ".";
  const std::string path(real);
  return path.substr(0, path.rfind('/'));
}

std::string OtherCopy() {
  std::vector<std::string> names;
  dl_iterate_phdr(Note, &names);
  for (const std::string& name : names) {
    void* const library = dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) continue;
    const void* const found = dlsym(library, "OrthancCloudStorage");
    const bool other = found != nullptr && LibraryOf(found).dli_fbase != Own().dli_fbase;
    dlclose(library);
    if (other) return name;
  }
  return "";
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
