// The start of an engine, and of the engines after it: HELLO, what it registers, what it says on stdout, who else
// connects, what comes over the control connection while calls run.
#include "control.h"
#include "driver.h"
#include "life.h"

using namespace fuzz;

namespace {

constexpr int kMostCalls = 6;
constexpr int kMostEngines = 20;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  Script script(input);
  const uint8_t world = input.Byte();
  const char* const versions[] = {"1.10.1", "1.9.1", "1.13.0", "1.9.1"};
  const char* const version = versions[world % 4];
  Orthanc orthanc(script, version);
  orthanc.most_memory = 1 << 26;
  std::shared_ptr<Control> control;  // of the engine that runs
  bool new_process = false;
  int engines = 0;
  script.system.process = [&](Line& line) {
    new_process = true;
    engines++;
    MUST(engines < kMostEngines);
    line.silent = true;
    Speak(input, line);
    if (input.empty()) line.closed = true;
  };
  script.system.someone = [&] { return new_process ? !input.empty() : control != nullptr && control->workers > 0; };
  script.system.accept = [&]() -> int {
    if (!script.system.someone()) return -1;
    const uint8_t how = input.Byte();
    if (how == 255) return -2;
    if (new_process) {
      new_process = false;
      control = std::make_shared<Control>(script);
      return control->Open();
    }
    control->workers--;
    return script.OpenWorker(HelloOf(input, 1));
  };
  control_speaks = [&] { return !input.empty() && input.Byte() % 2 == 1; };

  script.start = Packed(version) + Configuration();
  const int32_t code = orthanc.Load(Configuration());
  const bool on = control != nullptr && control->started.on && control->started.good;
  const bool stores = orthanc.area.create != nullptr || orthanc.area2.create != nullptr;
  MUST(!stores || (code == 0 && on));
  if (!stores) {
    MUST(orthanc.registrations == 0);  // else Orthanc calls an engine that is not there
  } else {
    std::vector<std::string> routes;
    for (const auto& route : orthanc.routes) routes.push_back(route.first);
    if (world % 2 == 0) MUST(routes == control->started.routes);
  }
  const int registrations = orthanc.registrations;
  const bool services =
      stores && world % 2 == 0 && control->started.services && orthanc.refresh != nullptr && !orthanc.routes.empty();
  Driver driver(script, orthanc);
  for (int calls = 0; stores && calls < kMostCalls && !input.empty(); calls++)
    services ? driver.Call() : driver.Storage();
  MUST(orthanc.registrations == registrations);  // a later engine changes nothing
  orthanc.Unload();
  return 0;
}
