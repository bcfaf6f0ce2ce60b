// The standing call: a thread of the plugin's own, in which the engine asks Orthanc when nobody has asked the engine.
// No call of Orthanc's ever waits for it.
#include <cerrno>

#include "engine.h"

namespace ocs {

void Engine::Stand(OrthancApi& api) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!wants_standing_ || stands_ || standing_over_) return;
  standing_api_ = &api;
  const auto stand = [](void* self) -> void* {
    static_cast<Engine*>(self)->StandBy();
    return nullptr;
  };
  const int problem = pthread_create(&standing_thread_, nullptr, stand, this);
  stands_ = standing_ = problem == 0;
  lock.unlock();
  errno = problem;
  if (problem != 0)
    core_.Log(LogLevel::Warning,
              Errno("cannot make a thread in which the storage engine asks Orthanc") + ". It works without");
}

void Engine::StandBy() {
  core_.NameThread("CLOUD-BACKGROUND");
  uint64_t last = 0;
  for (bool again = false; AwaitEngine(last, again);) again = KeepStanding(&last);
  core_.NameThread(nullptr);
  std::lock_guard<std::mutex> lock(mutex_);
  standing_ = false;
  standing_changed_.notify_all();
}

// Waits for another engine than the `last`. `again`: that one may be called again, but not at once, because it may be
// dead. False: Orthanc stops.
bool Engine::AwaitEngine(uint64_t last, bool again) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto next = [this, last] {
    return standing_over_ || (state_ == State::Ready && wants_standing_ && generation_ != last);
  };
  if (again)
    standing_changed_.wait_for(lock, settings_.stand_again, next);
  else
    standing_changed_.wait(lock, next);
  return !standing_over_;
}

}  // namespace ocs
