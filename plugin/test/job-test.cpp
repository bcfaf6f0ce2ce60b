// Jobs, played by fake-engine.cpp: it counts to 3, and its text is the count.
#include "../job.h"

#include "fake-api.h"
#include "stage.h"

using namespace ocs;

namespace {

void RegistrationsAreMadeOnce() {
  Stage stage("dies-once");
  CHECK(stage.Start() == Engine::Started::On);
  CHECK(stage.Write().ending == Ending::Ok);
  CHECK(stage.core.Count("registration 1 /route") == 1 && stage.core.Count("registration 2+ Count") == 1);
  CHECK(stage.core.Count("registration 5 /probe") == 1);
  CHECK(stage.core.Count("registration 4 " + std::string(5000, 'j')) == 1);
}

void JobRunsToItsEnd() {
  Stage stage("works");
  CHECK(stage.Start() == Engine::Started::On);
  FakeApi api;
  Job job(*stage.engine, "{}", "0");
  CHECK(std::string(job.serialized()) == "0" && job.progress() == 0);
  CHECK(job.DoStep(api) == Job::Step::Continue && std::string(job.serialized()) == "1");
  CHECK(std::string(job.content()) == "content 1" && job.progress() > 0.32f && job.progress() < 0.34f);
  CHECK(job.DoStep(api) == Job::Step::Continue && job.DoStep(api) == Job::Step::Success);
  job.Stop();
  CHECK(std::string(job.content()) == "stopped" && job.progress() == 1);
  job.Reset();
  CHECK(std::string(job.serialized()) == "0" && job.progress() == 0);
}

void JobsStepIsRepeatedOnTheNextEngine() {
  Stage stage("dies-once");
  CHECK(stage.Start() == Engine::Started::On);
  FakeApi api;
  Job job(*stage.engine, "{}", "1");
  CHECK(job.DoStep(api) == Job::Step::Continue && std::string(job.serialized()) == "2");
}

void JobIsRestoredOrRefused() {
  Stage stage("works");
  CHECK(stage.Start() == Engine::Started::On);
  Job job(*stage.engine, "{}", "2"), unknown(*stage.engine, "{}", "nonsense");
  CHECK(job.Restore() && std::string(job.content()) == "content 2" && job.progress() > 0.6f);
  CHECK(!unknown.Restore());
}

void JobOutlivesItsEngine() {
  Stage stage("works");
  CHECK(stage.Start() == Engine::Started::On);
  FakeApi api;
  Job job(*stage.engine, "{}", "1");
  stage.engine->Stop();
  CHECK(job.DoStep(api) == Job::Step::Continue);  // Orthanc is stopping, the job is not done
  CHECK(std::string(job.serialized()) == "1" && job.Restore());
  job.Reset();
  CHECK(job.DoStep(api) == Job::Step::Failure);  // it must not go on from where it was
}

void JobGoesOnWhenAnEngineStartsAgain() {
  Stage stage("then-refuses");
  CHECK(stage.Start() == Engine::Started::On);
  FakeApi api;
  Job job(*stage.engine, "{}", "1");
  CHECK(job.DoStep(api) == Job::Step::Continue && std::string(job.serialized()) == "1");
  CHECK(stage.core.Said("E cannot run a job: the storage engine cannot start: Some.Option is wrong"));
  Job resubmitted(*stage.engine, "{}", "3");
  resubmitted.Reset();
  CHECK(resubmitted.DoStep(api) == Job::Step::Continue && std::string(resubmitted.serialized()) == "3");
  stage.Mend();
  stage.core.Await("runs again");
  CHECK(job.DoStep(api) == Job::Step::Continue && std::string(job.serialized()) == "2");
  CHECK(resubmitted.DoStep(api) == Job::Step::Continue && std::string(resubmitted.serialized()) == "1");
}

}  // namespace

const std::vector<Test> kJobTests = {
    TEST(RegistrationsAreMadeOnce), TEST(JobRunsToItsEnd),      TEST(JobsStepIsRepeatedOnTheNextEngine),
    TEST(JobIsRestoredOrRefused),   TEST(JobOutlivesItsEngine), TEST(JobGoesOnWhenAnEngineStartsAgain)};
