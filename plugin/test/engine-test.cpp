// The life of the engine, played by fake-engine.cpp.
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <climits>
#include <cstdlib>
#include <thread>

#include "stage.h"

using namespace ocs;
using std::chrono::milliseconds;

namespace {

void WorksAndStops() {
  Stage stage("works");
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.engine->description() == "stores files in memory");
  CHECK(stage.Write().ending == Ending::Ok);
  Buffer buffer;
  Call read{Verb::Read, kUuid};
  read.result = &buffer;
  CHECK(stage.engine->Run(read).ending == Ending::Ok && buffer.bytes == "read");
  CHECK(stage.core.Said("I registered 3 502 damaged") && stage.core.Said("W a warning") && stage.core.Said("I done"));
  stage.engine->Stop();
  CHECK(stage.Write().ending != Ending::Ok);
  stage.engine->Stop();
  CHECK(stage.core.Count("E ") == 0);
}

void FaultsAreLoggedOnce() {
  Stage stage("faults");
  CHECK(stage.Start() == Engine::Started::On);
  const Answer answer = stage.Write();
  CHECK(answer.ending == Ending::Fault && answer.fault == 3 && stage.core.Count("E cannot do that") == 1);
}

void RefusalsAreLogged() {
  const std::pair<const char*, const char*> refusals[] = {
      {"refuses", "E Some.Option is wrong"},
      {"other-protocol", "protocol 6, the engine other-protocol protocol 7"},
      {"says-and-exits", "E storage engine: words of the engine"},
      {"exits-in-start", "E the storage engine ended during its start"},
      {"says-half-a-line", "E storage engine: words without an end"},
      {"registers-without-end", "E the storage engine broke the protocol during its start"},
      {"registers-nonsense", "E the storage engine broke the protocol during its start"},
      {"registers-too-much", "E the storage engine broke the protocol during its start"},
      {"answers-no-status", "E the storage engine broke the protocol during its start"},
      {"gives-no-time", "E the storage engine broke the protocol during its start"},
      {"gives-time-without-end", "E the storage engine broke the protocol during its start"},
  };
  for (const auto& refusal : refusals) {
    Stage stage(refusal.first);
    CHECK(stage.Start() == Engine::Started::Refused);
    CHECK(stage.core.Count(refusal.second) == 1);
    CHECK(!stage.core.Said("registered") && !stage.core.Said("registration"));
  }
}

void NodeThatCannotRunIsNamed() {
  const std::string right = fake_engine;
  fake_engine = "/nowhere/node";
  {
    Stage stage("works");
    CHECK(stage.Start() == Engine::Started::Refused);
    CHECK(stage.core.Said("cannot run /nowhere/node: No such file or directory"));
  }
  fake_engine = right;
}

void OffIsNoError() {
  Stage stage("off");
  CHECK(stage.Start() == Engine::Started::Off);
  CHECK(stage.core.Said("W nothing to do: disabled") && stage.core.Count("E ") == 0);
  CHECK(!stage.core.Said("registered") &&
        !stage.core.Said("registration"));  // Orthanc would call an engine that is gone
}

void InterruptedCallIsRepeated() {
  Stage stage("dies-once");
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Ok);
  CHECK(stage.core.Count("was killed by signal 9") == 1 && stage.core.Count("registered 3") == 1);
  CHECK(stage.core.Count("E ") == 0);
}

void ManyInterruptedCallsAreRepeated() {
  Stage stage("dies-once");
  CHECK(stage.Start() == Engine::Started::On);
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
    CHECK(stage.Start() == Engine::Started::On);
    CHECK(stage.Write().ending == Ending::Ok);
    CHECK(stage.core.Count("E ") == 0);
  }
}

void DeadConnectionsOfOneEngineAreNoDeadEngines() {
  Stage stage("cuts-many");
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Ok);
}

void DeadlyCallIsGivenUp() {
  Stage stage("dies-always");
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Interrupted);
  CHECK(stage.core.Said(std::string("E cannot write '") + kUuid + "': the storage engine died or was cut off 5 times"));
}

void DeadlineEndsTheCall() {
  Stage stage("hangs");
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::TimedOut);
  CHECK(stage.core.Said("did not finish in time"));
}

void DrainSendsCallsAwayWhenOrthancStops() {
  Stage stage("hangs-long");
  CHECK(stage.Start() == Engine::Started::On);
  Answer answer;
  std::thread caller([&stage, &answer] { answer = stage.Write(); });
  stage.engine->Drain();
  caller.join();
  CHECK(answer.ending == Ending::Stopped && stage.core.Said("Orthanc is stopping"));
}

void DeafEngineIsKilledAndStartedAgain() {
  Stage stage("deaf");
  const Deadline give_up = Soon();
  CHECK(stage.Start() == Engine::Started::On);
  while (!stage.core.Said("runs again") && Clock::now() < give_up) std::this_thread::sleep_for(milliseconds(10));
  CHECK(stage.core.Said("E the storage engine does not answer any more"));
  CHECK(stage.Write().ending == Ending::Ok);
}

void CallAfterAStalePullIsRepeated() {
  Stage stage("leaves-a-pull");
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Fault);
  CHECK(stage.Write().ending == Ending::Ok);  // on another connection to the same engine
  CHECK(stage.core.Count("E ") == 1 && !stage.core.Said("started again"));
}

void RepeatedReadLeavesNothingOfTheFirst() {
  Stage stage("dies-after-reserve");
  CHECK(stage.Start() == Engine::Started::On);
  Buffer buffer;
  Call read{Verb::Read, kUuid};
  read.result = &buffer;
  CHECK(stage.engine->Run(read).ending == Ending::Ok && buffer.bytes == "read");
  CHECK(buffer.reserved == 2 && buffer.dropped == 3);  // before each RESERVE, and when the first attempt had failed
}

void LateHelloIsAskedForAgain() {
  Stage stage("greets-late");
  stage.settings.hello_time = milliseconds(50);
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Ok);  // alone: nobody else's call brings a connection
  CHECK(!stage.core.Said("started again"));
}

void EngineThatIsFullIsAskedAgain() {
  Stage stage("is-full");
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Ok);  // alone: nobody else's call gives a connection back
  CHECK(stage.core.Count("W the storage engine cannot open another connection: no way") == 1);
}

void LogThatBlocksIsNotTheEnginesSilence() {
  Stage stage("says-much");
  stage.settings.silence = milliseconds(5'000);
  stage.core.on_log = [](const std::string& line) {
    if (line == "blocks") std::this_thread::sleep_for(milliseconds(5'500));
  };
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Ok);
  stage.core.Await("W blocks");
  CHECK(stage.Write().ending == Ending::Ok && stage.core.Count("E ") == 0);
}

void EngineThatCannotStartAgainFailsCallsWithItsWords() {
  const std::pair<const char*, const char*> reasons[] = {
      {"then-refuses", "the storage engine cannot start: Some.Option is wrong"},
      {"then-says-and-exits", "ended before it connected: words of the engine"},
      {"then-other-protocol", "protocol 7. Install the .so and engine.mjs of the same release"},
      {"then-exits-in-start", "the storage engine ended during its start"},
  };
  for (const auto& reason : reasons) {
    Stage stage(reason.first);
    CHECK(stage.Start() == Engine::Started::On);
    for (int i = 0; i < 2; i++) {
      const Answer answer = stage.Write();
      CHECK(answer.ending == Ending::Down);
      CHECK(LineOf(CreateOf(""), answer).find(reason.second) != std::string::npos);
      CHECK(stage.core.Said(std::string("E cannot write '") + kUuid + "': the storage engine cannot start: "));
    }
    stage.core.Await("E the storage engine cannot start. The plugin tries again");
    stage.Mend();
    stage.core.Await("W the storage engine runs again");
    CHECK(stage.Write().ending == Ending::Ok);
  }
}

void EngineThatIsGoneAtItsRestartIsNamed() {
  char right[PATH_MAX];
  CHECK(realpath(fake_engine.c_str(), right) != nullptr);
  Stage stage("dies-once");
  const std::string link = stage.folder.path() + "/node";
  CHECK(symlink(right, link.c_str()) == 0);
  stage.settings.node = link;
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(unlink(link.c_str()) == 0);
  const Answer answer = stage.Write();
  CHECK(answer.ending == Ending::Down &&
        answer.text.find("cannot run " + link + ": No such file") != std::string::npos);
  CHECK(symlink(right, link.c_str()) == 0);
  stage.core.Await("runs again");
  CHECK(stage.Write().ending == Ending::Ok && unlink(link.c_str()) == 0);
}

void WordsWithoutEndDelayNobody() {
  Stage stage("floods");
  stage.core.on_log = [](const std::string&) { std::this_thread::sleep_for(milliseconds(1)); };
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Ok);
  stage.engine->Stop();
}

void EngineHasThreadsEnough() {
  for (const char* const chosen : {"16", "7"}) {
    if (*chosen == '7') setenv("UV_THREADPOOL_SIZE", chosen, 1);
    Stage stage("says-threads");
    CHECK(stage.Start() == Engine::Started::On);
    stage.core.Await(std::string("storage engine: threads ") + chosen + "\n");
  }
  unsetenv("UV_THREADPOOL_SIZE");
}

// In a process of its own, as a user of its own: limits of threads do not hold for root.
void NoThreadForTheEngineIsRefused() {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
    FakeCore core;
    EngineSettings settings;
    Engine engine(core, settings);
    setrlimit(RLIMIT_NPROC, &none);
    const bool refused = engine.Start() == Engine::Started::Refused;
    _exit(refused && core.Said("E cannot make a thread for the storage engine: Resource temporarily unavailable. "
                               "Raise Orthanc's limit of processes and threads")
              ? 0
              : 1);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

}  // namespace

const std::vector<Test> kEngineTests = {TEST(WorksAndStops),
                                        TEST(NoThreadForTheEngineIsRefused),
                                        TEST(FaultsAreLoggedOnce),
                                        TEST(RefusalsAreLogged),
                                        TEST(NodeThatCannotRunIsNamed),
                                        TEST(OffIsNoError),
                                        TEST(InterruptedCallIsRepeated),
                                        TEST(ManyInterruptedCallsAreRepeated),
                                        TEST(ConnectionsOfADeadEngineAreNotTakenForTheNextOnes),
                                        TEST(DeadConnectionsOfOneEngineAreNoDeadEngines),
                                        TEST(DeadlyCallIsGivenUp),
                                        TEST(DeadlineEndsTheCall),
                                        TEST(DrainSendsCallsAwayWhenOrthancStops),
                                        TEST(DeafEngineIsKilledAndStartedAgain),
                                        TEST(CallAfterAStalePullIsRepeated),
                                        TEST(RepeatedReadLeavesNothingOfTheFirst),
                                        TEST(LateHelloIsAskedForAgain),
                                        TEST(EngineThatIsFullIsAskedAgain),
                                        TEST(LogThatBlocksIsNotTheEnginesSilence),
                                        TEST(EngineThatCannotStartAgainFailsCallsWithItsWords),
                                        TEST(EngineThatIsGoneAtItsRestartIsNamed),
                                        TEST(WordsWithoutEndDelayNobody),
                                        TEST(EngineHasThreadsEnough)};
