// A fuzzer's corpus without the fuzzer, for compilers that have none: TARGET FILE|FOLDER...
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

namespace {

const char* running = "";

void TellAborted(int) {
  for (const char* text : {"with ", running, "\n"})
    if (write(STDERR_FILENO, text, std::strlen(text)) < 0) break;
}

int Run(const std::string& path) {
  std::vector<std::string> names;
  if (DIR* const folder = opendir(path.c_str())) {
    while (const dirent* const entry = readdir(folder))
      if (entry->d_name[0] != '.') names.push_back(path + "/" + entry->d_name);
    closedir(folder);
  } else {
    names.push_back(path);
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    std::ifstream file(name, std::ios::binary);
    if (!file) return std::fprintf(stderr, "%s is not there\n", name.c_str()), 0;
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    running = name.c_str();
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
  return static_cast<int>(names.size());
}

}  // namespace

int main(int count, char** arguments) {
  int inputs = 0;
  signal(SIGABRT, TellAborted);
  for (int i = 1; i < count; i++) inputs += Run(arguments[i]);
  std::printf("ok %s: %d inputs\n", arguments[0], inputs);
  return inputs > 0 ? 0 : 1;
}
