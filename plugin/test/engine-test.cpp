// The life of the engine, played by fake-engine.cpp.
#include <atomic>
#include <thread>

#include "stage.h"

using namespace ocs;
using std::chrono::milliseconds;

namespace {

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
      {"other-protocol", "protocol 2, the engine other-protocol protocol 7"},
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
  const Deadline give_up = Soon();
  CHECK(stage.engine->Start() == Engine::Started::On);
  while (!stage.host.Said("runs again") && Clock::now() < give_up) std::this_thread::sleep_for(milliseconds(10));
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
