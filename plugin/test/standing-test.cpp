// The call that stands as long as an engine lives, played by fake-engine.cpp.
#include <atomic>
#include <condition_variable>

#include "stage.h"

using namespace ocs;
using std::chrono::milliseconds;

namespace {

// An Orthanc that notes what it is asked, and may hold its answer back.
class AskedApi : public OrthancApi {
 public:
  Reply Rest(uint8_t method, const std::string& uri, const std::string&) override {
    std::unique_lock<std::mutex> lock(mutex_);
    asked_ += std::to_string(method) + " " + uri + "\n";
    changed_.notify_all();
    changed_.wait(lock, [this] { return !holds_; });
    answered++;
    Reply reply;
    reply.http = 200;
    return reply;
  }
  Reply Submit(uint8_t, int32_t, const std::string&, const std::string&) override {
    CHECK(!"a job in the standing call");
    return Reply();
  }
  void Metric(const std::string&, int64_t) override { CHECK(!"a metric in the standing call"); }

  void Await(const std::string& uri) {
    std::unique_lock<std::mutex> lock(mutex_);
    CHECK(changed_.wait_until(lock, Soon(), [&] { return asked_.find(uri + "\n") != std::string::npos; }));
  }
  std::string asked() {
    std::lock_guard<std::mutex> lock(mutex_);
    return asked_;
  }
  void Hold(bool holds) {
    std::lock_guard<std::mutex> lock(mutex_);
    holds_ = holds;
    changed_.notify_all();
  }
  std::atomic<int> answered{0};

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string asked_;
  bool holds_ = false;
};

// An engine on its stage, which may ask from the beginning.
struct Standing {
  explicit Standing(const std::string& scenario) : stage(scenario) {
    stage.settings.drain_time = kGiveUp;
    CHECK(stage.Start() == Engine::Started::On);
    stage.engine->Stand(api);
  }
  AskedApi api;  // lives longer than the engine
  Stage stage;
};

void EngineAsksWhileItLives() {
  Standing one("stands-asks");
  one.api.Await("1 /first");
  CHECK(one.stage.Write().ending == Ending::Ok);
  one.stage.engine->Stand(one.api);  // a second time changes nothing
  one.stage.engine->Stop();
  CHECK(one.api.asked() == "1 /first\n" && one.stage.core.Count("E ") == 0 && one.stage.core.Count("W ") == 1);
}

// The deadline of calls is 30 ms here, and the engine asks after 300.
void ItHasNoDeadline() {
  Standing one("stands-late");
  one.api.Await("1 /first");
  one.stage.engine->Stop();
  CHECK(one.api.asked() == "1 /first\n" && one.stage.core.Count("E ") == 0);
}

void EngineThatDoesNotWantItIsLeftAlone() {
  Standing one("works");
  CHECK(one.stage.Write().ending == Ending::Ok);
  one.stage.engine->Stop();
  CHECK(one.api.asked().empty());
}

void NextEngineAsksAgain() {
  Standing one("stands-dies");
  one.api.Await("1 /again");
  CHECK(one.stage.Write().ending == Ending::Ok);
  one.stage.engine->Stop();
  CHECK(one.stage.core.Count("was killed by signal 9") == 1 && one.stage.core.Count("E ") == 0);
}

void EngineAfterOneThatWasDoneAsks() {
  Standing one("stands-returns");
  one.stage.core.Await("I has asked\n");
  CHECK(one.stage.engine->Run(Call{Verb::Remove, kUuid}).ending == Ending::Ok);  // the first engine dies of this
  one.api.Await("1 /again");
}

void ConnectionThatIsCutIsReplaced() {
  Standing one("stands-cuts");
  one.api.Await("1 /again");
  one.stage.engine->Stop();
  CHECK(!one.stage.core.Said("started again") && one.stage.core.Count("E ") == 0);
}

void EngineThatIsDoneIsNotAskedAgain() {
  Standing one("stands-returns");
  one.api.Await("1 /first");
  for (int i = 0; i < 3; i++) CHECK(one.stage.Write().ending == Ending::Ok);
  one.stage.engine->Stop();
  CHECK(one.api.asked() == "1 /first\n" && one.stage.core.Count("E ") == 0);
}

void FailureIsLoggedOnce() {
  const std::pair<const char*, const char*> endings[] = {
      {"stands-faults", "E cannot ask\n"},
      {"stands-submits", "E cannot let the storage engine ask Orthanc: the storage engine broke the protocol\n"},
  };
  for (const auto& ending : endings) {
    Standing one(ending.first);
    one.stage.core.Await(ending.second);
    CHECK(one.stage.Write().ending == Ending::Ok);
    one.stage.engine->Stop();
    CHECK(one.api.asked() == "1 /first\n" && one.stage.core.Count("E ") == 1);
  }
}

// Neither while Orthanc answers a question, nor while the engine asks without end.
void CallsDoNotWaitForIt() {
  Standing held("stands-asks");
  held.api.Hold(true);
  held.api.Await("1 /first");
  for (int i = 0; i < 10; i++) CHECK(held.stage.Write().ending == Ending::Ok);
  held.api.Hold(false);
  Standing storm("stands-storms");
  storm.api.Await("1 /storm");
  for (int i = 0; i < 10; i++) CHECK(storm.stage.Write().ending == Ending::Ok);
}

void StopDoesNotWaitForIt() {
  for (const char* const scenario : {"stands-asks", "stands-storms", "stands-returns"}) {
    Standing one(scenario);
    one.api.Await("1 /first");
    const auto began = Clock::now();
    one.stage.engine->Drain();
    one.stage.engine->Stop();
    CHECK(Clock::now() < began + kGiveUp && one.stage.core.Count("E ") == 0);
  }
}

void NothingIsAskedOnceOrthancStops() {
  Standing one("stands-storms");
  one.api.Await("1 /storm");
  one.stage.engine->Drain();
  const std::string asked = one.api.asked();
  CHECK(one.stage.Write().ending == Ending::Ok);  // what Orthanc still has to do goes on
  CHECK(one.api.asked() == asked);
}

// Orthanc takes apart what answers the question as soon as the plugin lets it go on.
void StopWaitsForTheQuestionUnderWay() {
  Standing one("stands-asks");
  one.api.Hold(true);
  one.api.Await("1 /first");
  std::atomic<bool> drained{false};
  std::thread stop([&] {
    one.stage.engine->Drain();
    drained = true;
    CHECK(one.api.answered == 1);
  });
  std::this_thread::sleep_for(milliseconds(20));
  CHECK(!drained);
  one.api.Hold(false);
  stop.join();
}

void StopWaitsNotForEverForTheQuestionUnderWay() {
  AskedApi api;
  Stage stage("stands-asks");  // its drain time is short
  CHECK(stage.Start() == Engine::Started::On);
  api.Hold(true);
  stage.engine->Stand(api);
  api.Await("1 /first");
  stage.engine->Drain();
  CHECK(api.answered == 0);
  api.Hold(false);
}

void OrthancMayStopBeforeThereIsAConnection() {
  for (const char* const scenario : {"dies-always", "stands-asks", "then-refuses"}) {
    Standing one(scenario);
    one.stage.engine->Drain();
  }
}

}  // namespace

const std::vector<Test> kStandingTests = {TEST(EngineAsksWhileItLives),
                                          TEST(ItHasNoDeadline),
                                          TEST(EngineThatDoesNotWantItIsLeftAlone),
                                          TEST(NextEngineAsksAgain),
                                          TEST(EngineAfterOneThatWasDoneAsks),
                                          TEST(ConnectionThatIsCutIsReplaced),
                                          TEST(EngineThatIsDoneIsNotAskedAgain),
                                          TEST(FailureIsLoggedOnce),
                                          TEST(CallsDoNotWaitForIt),
                                          TEST(StopDoesNotWaitForIt),
                                          TEST(NothingIsAskedOnceOrthancStops),
                                          TEST(StopWaitsForTheQuestionUnderWay),
                                          TEST(StopWaitsNotForEverForTheQuestionUnderWay),
                                          TEST(OrthancMayStopBeforeThereIsAConnection)};
