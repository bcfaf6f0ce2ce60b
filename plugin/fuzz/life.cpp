// Takes the place of supervisor.cpp and standing.cpp. The thread that waits for the supervisor turns its loop, so that
// one thread runs at a time. All that the loop calls is the plugin's own.
#include "life.h"

#include "../engine.h"
#include "system.h"

namespace fuzz {
std::function<bool()> control_speaks;
std::function<void()> stand;
}  // namespace fuzz

namespace ocs {

void Engine::Supervise() {
  const Started first = Launch();
  if (first != Started::On) Reap(true);
  fuzz::os->turn = [this] {
    const bool came = fuzz::os->someone();
    if (came) AcceptWorkers();
    const size_t waiting = greetings_.size();
    GreetWorkers();
    const bool speaks = control_.open() && fuzz::control_speaks();
    if (speaks && !HandleControl()) {
      Reap(false);
      while (!StartAgain() && state_ != State::Down) Reap(true);
    }
    SeeToSocket();
    return came || speaks || greetings_.size() != waiting;
  };
  std::lock_guard<std::mutex> lock(mutex_);
  started_ = first;
  state_ = first == Started::On ? State::Ready : State::Stopped;
  changed_.notify_all();
}

void Engine::Stand(OrthancApi& api) {
  if (!wants_standing_) return;
  standing_api_ = &api;
  fuzz::stand = [this] {
    uint64_t generation = 0;
    KeepStanding(&generation);
  };
}

}  // namespace ocs
