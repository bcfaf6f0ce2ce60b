// plugin-test FAKE_ENGINE FRAMES [NAME]: the native half without Orthanc and without Node.js.
#include <cstring>

#include "check.h"

int failures = 0;
std::string fake_engine;
std::string frames_file;

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  fake_engine = argv[1];
  frames_file = argv[2];
  int passed = 0, failed = 0;
  for (const auto* tests : {&kWireTests, &kCallTests, &kEngineTests, &kStandingTests, &kSocketTests, &kServicesTests,
                            &kJobTests, &kLibraryTests}) {
    for (const Test& test : *tests) {
      if (argc > 3 && std::strstr(test.name, argv[3]) == nullptr) continue;
      const int before = failures;
      test.run();
      const bool ok = failures == before;
      (ok ? passed : failed)++;
      std::printf("%s %s\n", ok ? "ok" : "not ok", test.name);
      std::fflush(stdout);
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
