// Every call, against an engine whose frames are the fuzzer's. Its start goes well.
#include <memory>

#include "driver.h"
#include "life.h"

using namespace fuzz;

namespace {

constexpr int kMostCalls = 12;

// HELLO and the answer to START, as a good engine gives them.
std::string GoodStart(bool ranges) {
  return BytesOf(kHello, 0, 0, kProtocolNumber, "1") + BytesOf(kErrorCode, 0, 4, 503, "not now") +
         BytesOf(kRegister, 1, 0, 0, "/route") + BytesOf(kRegister, 2, 0, 0, "Count") + BytesOf(kRegister, 3, 0, 0) +
         BytesOf(kReturn, ranges ? 7 : 5, 0, 300'000, "stores");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  Script script(input);
  const uint8_t world = input.Byte();
  Orthanc orthanc(script, world % 2 == 0 ? "1.10.1" : "1.13.0");
  orthanc.most_memory = world % 8 == 7 ? 10 : 1 << 26;
  orthanc.refusals = world / 8 % 8 == 7 ? 1 : world / 8 % 8 == 6 ? 2 : 0;
  bool control = false;
  int workers = 0;
  control_speaks = [] { return false; };
  script.system.someone = [&] { return !control || workers > 0; };
  script.system.accept = [&] {
    if (control)
      return workers-- > 0 ? script.OpenWorker(BytesOf(kHello, 1, 0, kProtocolNumber, "1")) : (workers = 0, -1);
    control = true;
    Line line;
    line.inbox = GoodStart(world < 192);
    auto frames = std::make_shared<Frames>();
    line.got = [&workers, &input, frames](const char* sent, size_t length) {
      frames->Take(sent, length, [&workers, &input](const Frame& frame) {
        if (frame.kind == kGrow && !input.empty()) workers += static_cast<int>(frame.argument);
      });
    };
    return script.system.Open(std::move(line));
  };
  MUST(orthanc.Load(Configuration()) == 0);
  Driver driver(script, orthanc);
  for (int calls = 0; calls < kMostCalls && !input.empty(); calls++) driver.Call();
  orthanc.Unload();
  return 0;
}
