#include "job.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace ocs {

namespace {

using std::chrono::milliseconds;
constexpr milliseconds kUnderLock{5'000};  // all jobs of Orthanc wait meanwhile
constexpr milliseconds kWhileDown{2'000};
constexpr float kProgressUnit = 1.0f / 1'000'000;

std::atomic<uint64_t> last_number{0};

}  // namespace

Job::Job(Engine& engine, std::string content, std::string serialized)
    : engine_(engine), number_(++last_number), content_(std::move(content)), serialized_(std::move(serialized)) {}

Answer Job::Run(Verb verb, OrthancApi* api, milliseconds time) {
  Bytes texts;
  Call call{verb};
  call.envelope = Number(number_, 8);
  call.content = serialized_.data();
  call.size = serialized_.size();
  call.result = &texts;
  call.api = api;
  call.time = time;
  Answer answer = engine_.Run(call);
  if (answer.ending != Ending::Ok) return answer;
  progress_ = std::min(1.0f, static_cast<float>(answer.argument) * kProgressUnit);
  std::string content, serialized;
  size_t at = 0;
  if (Unpack(texts.text(), texts.size(), &at, &content) && Unpack(texts.text(), texts.size(), &at, &serialized)) {
    content_ = std::move(content);
    serialized_ = std::move(serialized);
  }
  return answer;
}

bool Job::Restore() { return Run(Verb::JobRestore, nullptr, kUnderLock).ending != Ending::Fault; }

Job::Step Job::DoStep(OrthancApi& api) {
  if (reset_due_) {
    const Ending ending = Reset();
    if (ending == Ending::Down) std::this_thread::sleep_for(kWhileDown);
    if (ending == Ending::Down || ending == Ending::TimedOut) return Step::Continue;  // until an engine starts again
    if (ending != Ending::Ok) return Step::Failure;  // it must not go on from where it was
  }
  const Answer answer = Run(Verb::JobStep, &api, milliseconds(0));
  if (answer.ending == Ending::Stopped) return Step::Continue;  // no failure: Orthanc goes on after its restart
  if (answer.ending == Ending::Down) {                          // no failure either: it goes on when an engine starts
    std::this_thread::sleep_for(kWhileDown);
    return Step::Continue;
  }
  const bool known =
      answer.flags >= static_cast<int>(Step::Success) && answer.flags <= static_cast<int>(Step::Continue);
  return answer.ending == Ending::Ok && known ? static_cast<Step>(answer.flags) : Step::Failure;
}

void Job::Stop() { Run(Verb::JobStop, nullptr, milliseconds(0)); }

Ending Job::Reset() {
  const Ending ending = Run(Verb::JobReset, nullptr, kUnderLock).ending;
  reset_due_ = ending != Ending::Ok;
  return ending;
}

}  // namespace ocs
