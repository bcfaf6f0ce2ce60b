// The engine's life, seen by the one thread that starts, hears, feeds and ends it.
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "engine.h"

namespace ocs {

namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLongestBackoff{5'000};
constexpr milliseconds kGoodRun{60'000};
constexpr milliseconds kTurn{5'000};              // a frame that has begun comes within this time
constexpr milliseconds kLastWords{5'000};         // for an engine that was told to end
constexpr milliseconds kLastWordsOfTheDead{500};  // for one that ended by itself, or is deaf
constexpr milliseconds kAcceptPause{1'000};
constexpr size_t kMostGreetings = 64;  // more wait in the socket's queue

}  // namespace

void Engine::Supervise() {
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
}

// After some launches that failed, calls fail as well, with the engine's words, until one succeeds.
bool Engine::StartAgain() {
  const auto began = Clock::now();
  const bool runs = Launch() == Started::On;
  const bool hopeless = !runs && (++refusals_ == kRefusals || Clock::now() - began > settings_.restart_time);
  if (runs) refusals_ = 0;
  std::string words;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == State::Stopping) return runs;
    if (runs) state_ = State::Ready;
    if (runs && waiting_ > 0) AskForWorkers(waiting_);
    if (hopeless) state_ = State::Down;
    words = words_;
    changed_.notify_all();
  }
  if (runs) host_.Log(Level::Warning, "the storage engine runs again; interrupted operations are repeated");
  if (hopeless)
    host_.Log(Level::Error,
              "the storage engine cannot start. This is tried again; until then operations fail: " + words);
  return runs;
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
    // Only what it waited counts: a log of Orthanc's that blocks, or a machine that sleeps, is not the engine's
    // silence.
    silent_ += std::min<Clock::duration>(Clock::now() - now, pause);
    if (char byte = 0; fds[1].revents != 0 && read(wake_[0], &byte, 1) == 1) continue;
    if (fds[2].revents != 0) Hear(Level::Warning);
    if (fds[3].revents != 0) AcceptWorkers();
    if (!greetings_.empty()) GreetWorkers();
    if (fds[0].revents != 0 && !HandleControl()) return true;
    if (silent_ > settings_.silence) {
      host_.Log(Level::Error, "the storage engine does not answer any more and is killed");
      process_.Kill();
      return true;
    }
    if (Clock::now() < next_ping) continue;
    next_ping = Clock::now() + settings_.ping_every;
    SeeToSocket();
    AskAgain();
    Header ping;
    ping.kind = Kind::Ping;
    std::lock_guard<std::mutex> lock(mutex_);
    if (control_.Send(ping, Clock::now() + milliseconds(100)) == Io::Closed) return true;
  }
}

void Engine::AcceptWorkers() {
  Channel channel;
  Io io = Io::Ok;
  while (io == Io::Ok && greetings_.size() < kMostGreetings) {
    io = listener_.Accept(&channel);
    if (io == Io::Ok) greetings_.emplace_back(std::move(channel), Clock::now() + settings_.hello_time);
  }
  if (io == Io::Broken && !accept_failed_)
    host_.Log(Level::Error,
              Errno("a connection of the storage engine cannot be accepted") + ". Operations wait for it");
  accept_failed_ = io == Io::Broken;
  if (accept_failed_) accept_again_ = Clock::now() + kAcceptPause;
}

// Takes the connections that have said HELLO into the pool, and leaves those that said it too late or wrong.
void Engine::GreetWorkers() {
  bool lost = false;
  for (size_t i = 0; i < greetings_.size();) {
    Header hello;
    const Io io = greetings_[i].Read(&hello);
    if (io == Io::TimedOut && Clock::now() < greetings_[i].by) {
      i++;
      continue;
    }
    Channel worker = greetings_[i].Take();
    greetings_.erase(greetings_.begin() + static_cast<std::ptrdiff_t>(i));
    std::lock_guard<std::mutex> lock(mutex_);
    if (asked_ > 0) asked_--;
    if (io == Io::Ok && hello.flags == 1 && hello.argument == kProtocol) {
      idle_.push_back(std::move(worker));
      changed_.notify_all();
    } else {
      lost = true;
    }
  }
  if (lost) AskAgain();
}

// For calls whose connection never came.
void Engine::AskAgain() {
  std::lock_guard<std::mutex> lock(mutex_);
  refused_ = false;
  if (waiting_ > asked_) AskForWorkers(waiting_ - asked_);
}

// Somebody may clean /tmp while Orthanc runs for months: then the engine could not connect any more.
void Engine::SeeToSocket() {
  if (listener_.Present()) return;
  if (listener_.fd() >= 0) AcceptWorkers();  // who came before
  const std::string problem = listener_.Ensure();
  if (!problem.empty()) return host_.Log(Level::Error, problem);
  host_.Log(Level::Warning, "the storage engine's socket had vanished; it is " + listener_.path() + " now");
  {
    std::lock_guard<std::mutex> lock(mutex_);
    socket_path_ = listener_.path();
  }
  AskAgain();
}

bool Engine::HandleControl() {
  Header header;
  std::string text;
  if (control_.ReceiveHeader(&header, Clock::now() + kTurn) != Io::Ok) return false;
  if (ReceiveText(control_, header.length, &text, Clock::now() + kTurn) != Io::Ok) return false;
  silent_ = Clock::duration(0);
  switch (header.kind) {
    case Kind::Pong: return true;
    case Kind::Log: host_.Log(static_cast<Level>(std::min<int>(header.flags, 2)), text); return true;
    case Kind::Grow:
      host_.Log(Level::Warning, "the storage engine cannot open another connection: " + text);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        asked_ -= std::min(asked_, header.argument);
        refused_ = true;
      }
      SeeToSocket();
      return true;
    default: return false;
  }
}

// Ends this engine for good, whatever state it is in, and takes its connections away from the pool.
void Engine::Reap(bool quietly) {
  Channel control;
  std::vector<Channel> idle;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == State::Ready) state_ = State::Restarting;
    quietly = quietly || state_ == State::Stopping;
    control = std::move(control_);
    idle.swap(idle_);
    asked_ = 0;
    refused_ = false;
  }
  control.Close();
  idle.clear();
  greetings_.clear();
  const std::string how = process_.End(quietly ? kLastWords : kLastWordsOfTheDead);
  Hear(quietly ? Level::Info : Level::Warning);
  // Connections that it opened and we never accepted: the next engine's first one must not queue up behind them.
  for (Channel left; listener_.fd() >= 0 && listener_.Accept(&left) == Io::Ok;) left.Close();
  if (!quietly && !how.empty()) host_.Log(Level::Warning, "the storage engine " + how + " and is started again");
}

void Engine::CloseAll() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    Header stop;
    stop.kind = Kind::Call;
    stop.flags = static_cast<uint8_t>(Verb::Stop);
    if (state_ != State::Stopped) state_ = State::Stopping;
    changed_.notify_all();
    if (control_.open()) control_.Send(stop, Clock::now() + milliseconds(100));
  }
  Reap(true);
  listener_.Close();
}

}  // namespace ocs
