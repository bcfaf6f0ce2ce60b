// The life of the engine, on the one thread that starts it, listens to it and ends it.
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "engine.h"

namespace ocs {

namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLongestBackoff{5'000};
constexpr milliseconds kGoodRun{60'000};

}  // namespace

void Engine::Supervise() {
  core_.NameThread("CLOUD-STORAGE");
  const Started first = Launch();
  if (first != Started::On) Reap(true);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    started_ = first;
    state_ = first == Started::On ? State::Ready : State::Stopped;
    changed_.notify_all();
  }
  milliseconds backoff = settings_.first_backoff;
  bool running = first == Started::On;
  bool wanted = running;
  while (wanted) {
    const auto began = Clock::now();
    if (running && !Serve()) break;
    Reap(refusals_ >= kRefusals);
    if (running && Clock::now() - began > kGoodRun) backoff = settings_.first_backoff;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wanted = !changed_.wait_for(lock, backoff, [this] { return state_ == State::Stopping; });
    }
    if (!wanted || StopRequested()) break;
    backoff = std::min(backoff * 2, kLongestBackoff);
    running = StartAgain();
  }
  CloseAll();
  core_.NameThread(nullptr);
}

bool Engine::Serve() {
  auto next_ping = Clock::now() + settings_.ping_every;
  silent_ = Clock::duration(0);
  std::vector<pollfd> fds;
  for (;;) {
    if (StopRequested()) return false;
    const auto now = Clock::now();
    const bool accepting = now >= accept_again_ && greetings_.size() < kMostGreetings;
    Deadline until = accept_again_ > now ? std::min(next_ping, accept_again_) : next_ping;
    fds = {{control_.fd(), POLLIN, 0},
           {wake_[0], POLLIN, 0},
           {process_.output(), POLLIN, 0},
           {accepting ? listener_.fd() : -1, POLLIN, 0}};
    for (const Greeting& greeting : greetings_) {
      fds.push_back({greeting.fd(), POLLIN, 0});
      until = std::min(until, greeting.by);
    }
    const auto pause = std::max(std::chrono::ceil<milliseconds>(until - now), milliseconds(0));
    poll(fds.data(), fds.size(), static_cast<int>(pause.count()));
    // Counts only the time in which this thread waited. If Orthanc's log blocks, or the machine sleeps, the engine is
    // not silent.
    silent_ += std::min<Clock::duration>(Clock::now() - now, pause);
    if (char byte = 0; fds[1].revents != 0 && read(wake_[0], &byte, 1) == 1) continue;
    if (fds[2].revents != 0) LogOutput(LogLevel::Warning);
    if (fds[3].revents != 0) AcceptWorkers();
    if (!greetings_.empty()) GreetWorkers();
    if (fds[0].revents != 0 && !HandleControl()) return true;
    if (silent_ > settings_.silence) {
      core_.Log(LogLevel::Error, "the storage engine does not answer any more and is killed");
      process_.Kill();
      return true;
    }
    if (Clock::now() < next_ping) continue;
    next_ping = Clock::now() + settings_.ping_every;
    SeeToSocket();
    AskAgain();
    std::lock_guard<std::mutex> lock(mutex_);
    if (control_.Send(HeaderOf(Kind::Ping), Clock::now() + milliseconds(100)) == Io::Closed) return true;
  }
}

void Engine::CloseAll() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const Header stop = HeaderOf(Kind::Call, 0, static_cast<uint8_t>(Verb::Stop));
    if (state_ != State::Stopped) state_ = State::Stopping;
    changed_.notify_all();
    if (control_.open()) control_.Send(stop, Clock::now() + milliseconds(100));
  }
  Reap(true);
  listener_.Close();
}

}  // namespace ocs
