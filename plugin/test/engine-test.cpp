// The life of the engine, played by fake-engine.cpp.
#include "../engine.h"

#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "check.h"

using namespace ocs;
using std::chrono::milliseconds;

namespace {

class FakeHost : public Host {
 public:
  void Log(Level level, const std::string& line) override {
    std::lock_guard<std::mutex> lock(mutex_);
    lines_ += std::string(level == Level::Error ? "E " : level == Level::Warning ? "W " : "I ") + line + "\n";
  }
  void RegisterError(uint16_t fault, uint16_t http, const std::string& message) override {
    Log(Level::Info, "registered " + std::to_string(fault) + " " + std::to_string(http) + " " + message);
  }
  int Count(const std::string& text) {
    std::lock_guard<std::mutex> lock(mutex_);
    int count = 0;
    for (size_t at = lines_.find(text); at != std::string::npos; at = lines_.find(text, at + 1)) count++;
    return count;
  }
  bool Said(const std::string& text) { return Count(text) > 0; }

 private:
  std::mutex mutex_;
  std::string lines_;
};

// An engine that plays `scenario`, in a TMPDIR of its own in which nothing may be left.
class Stage {
 public:
  explicit Stage(const std::string& scenario) {
    char folder[] = "/tmp/plugin-test-XXXXXX";
    folder_ = mkdtemp(folder);
    setenv("TMPDIR", folder_.c_str(), 1);
    EngineSettings settings;
    settings.node = fake_engine;
    settings.script = scenario;
    settings.configuration = folder_ + "/memory";
    settings.first_backoff = milliseconds(10);
    settings.drain_time = milliseconds(100);
    settings.ping_every = milliseconds(20);
    settings.silence = milliseconds(scenario == "deaf" ? 200 : 20'000);
    engine = std::make_unique<Engine>(host, settings);
  }
  ~Stage() {
    engine.reset();
    unlink((folder_ + "/memory").c_str());
    CHECK(rmdir(folder_.c_str()) == 0);
  }
  Answer Write() { return engine->Run(CreateOf("content")); }
  FakeHost host;
  std::unique_ptr<Engine> engine;

 private:
  std::string folder_;
};

void WorksAndStops() {
  Stage stage("works");
  CHECK(stage.engine->Start() == Engine::Started::On);
  CHECK(stage.engine->description() == "stores files in memory");
  CHECK(stage.Write().ending == Ending::Ok);
  Buffer buffer;
  Call read{Verb::Read, kUuid};
  read.result = &buffer;
  CHECK(stage.engine->Run(read).ending == Ending::Ok && buffer.bytes == "read");
  CHECK(stage.host.Said("I registered 3 502 damaged") && stage.host.Said("W a warning") && stage.host.Said("I done"));
  stage.engine->Stop();
  CHECK(stage.Write().ending != Ending::Ok);
  stage.engine->Stop();
  CHECK(stage.host.Count("E ") == 0);
}

void FaultsAreLoggedOnce() {
  Stage stage("faults");
  CHECK(stage.engine->Start() == Engine::Started::On);
  const Answer answer = stage.Write();
  CHECK(answer.ending == Ending::Fault && answer.fault == 3 && stage.host.Count("E cannot do that") == 1);
}

void RefusalsAreLogged() {
  const std::pair<const char*, const char*> refusals[] = {
      {"refuses", "E Some.Option is wrong"},
      {"other-protocol", "protocol 1, the engine other-protocol protocol 7"},
      {"says-and-exits", "E storage engine: words of the engine"},
      {"exits-in-start", "E the storage engine ended during its start"},
  };
  for (const auto& refusal : refusals) {
    Stage stage(refusal.first);
    CHECK(stage.engine->Start() == Engine::Started::Refused);
    CHECK(stage.host.Count(refusal.second) == 1);
  }
}

void NodeThatCannotRunIsNamed() {
  const std::string right = fake_engine;
  fake_engine = "/nowhere/node";
  {
    Stage stage("works");
    CHECK(stage.engine->Start() == Engine::Started::Refused);
    CHECK(stage.host.Said("cannot run /nowhere/node: No such file or directory"));
  }
  fake_engine = right;
}

void OffIsNoError() {
  Stage stage("off");
  CHECK(stage.engine->Start() == Engine::Started::Off);
  CHECK(stage.host.Said("W nothing to do: disabled") && stage.host.Count("E ") == 0);
}

void InterruptedCallIsRepeated() {
  Stage stage("dies-once");
  CHECK(stage.engine->Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Ok);
  CHECK(stage.host.Count("was killed by signal 9") == 1 && stage.host.Count("registered 3") == 1);
  CHECK(stage.host.Count("E ") == 0);
}

void ManyInterruptedCallsAreRepeated() {
  Stage stage("dies-once");
  CHECK(stage.engine->Start() == Engine::Started::On);
  std::vector<std::thread> threads;
  std::atomic<int> stored{0};
  for (int i = 0; i < 20; i++) {
    threads.emplace_back([&stage, &stored] {
      for (int j = 0; j < 5; j++)
        if (stage.Write().ending == Ending::Ok) stored++;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(stored == 100);
}

void ConnectionsOfADeadEngineAreNotTakenForTheNextOnes() {
  for (int i = 0; i < 5; i++) {
    Stage stage("dies-connecting");
    CHECK(stage.engine->Start() == Engine::Started::On);
    CHECK(stage.Write().ending == Ending::Ok);
    CHECK(stage.host.Count("E ") == 0);
  }
}

void DeadlyCallIsGivenUp() {
  Stage stage("dies-always");
  CHECK(stage.engine->Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Interrupted);
  CHECK(stage.host.Said(std::string("E cannot write '") + kUuid + "': the storage engine died 5 times"));
}

void DeadlineEndsTheCall() {
  Stage stage("hangs");
  CHECK(stage.engine->Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::TimedOut);
  CHECK(stage.host.Said("did not finish in time"));
}

void DrainSendsCallsAwayWhenOrthancStops() {
  Stage stage("hangs-long");
  CHECK(stage.engine->Start() == Engine::Started::On);
  Answer answer;
  std::thread caller([&stage, &answer] { answer = stage.Write(); });
  stage.engine->Drain();
  caller.join();
  CHECK(answer.ending == Ending::Stopped && stage.host.Said("Orthanc is stopping"));
}

void DeafEngineIsKilledAndStartedAgain() {
  Stage stage("deaf");
  CHECK(stage.engine->Start() == Engine::Started::On);
  for (int tries = 0; tries < 500 && !stage.host.Said("runs again"); tries++)
    std::this_thread::sleep_for(milliseconds(10));
  CHECK(stage.host.Said("E the storage engine does not answer any more"));
  CHECK(stage.Write().ending == Ending::Ok);
}

}  // namespace

const std::vector<Test> kEngineTests = {TEST(WorksAndStops),
                                        TEST(FaultsAreLoggedOnce),
                                        TEST(RefusalsAreLogged),
                                        TEST(NodeThatCannotRunIsNamed),
                                        TEST(OffIsNoError),
                                        TEST(InterruptedCallIsRepeated),
                                        TEST(ManyInterruptedCallsAreRepeated),
                                        TEST(ConnectionsOfADeadEngineAreNotTakenForTheNextOnes),
                                        TEST(DeadlyCallIsGivenUp),
                                        TEST(DeadlineEndsTheCall),
                                        TEST(DrainSendsCallsAwayWhenOrthancStops),
                                        TEST(DeafEngineIsKilledAndStartedAgain)};
