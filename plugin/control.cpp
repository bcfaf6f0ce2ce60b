// What comes over the control connection and over new connections while an engine runs. On the supervisor's thread.
#include <algorithm>

#include "engine.h"

namespace ocs {

namespace {

using std::chrono::milliseconds;
constexpr milliseconds kTurn{5'000};  // a frame that has begun ends within this time
constexpr milliseconds kAcceptPause{1'000};

}  // namespace

void Engine::AcceptWorkers() {
  Channel channel;
  Io io = Io::Ok;
  while (io == Io::Ok && greetings_.size() < kMostGreetings) {
    io = listener_.Accept(&channel);
    if (io == Io::Ok) greetings_.emplace_back(std::move(channel), Clock::now() + settings_.hello_time);
  }
  if (io == Io::Broken && !accept_failed_)
    core_.Log(LogLevel::Error,
              Errno("a connection of the storage engine cannot be accepted") + ". Operations wait for it");
  accept_failed_ = io == Io::Broken;
  if (accept_failed_) accept_again_ = Clock::now() + kAcceptPause;
}

// Takes the connections that have said HELLO into the pool. Drops those that say it too late or wrong.
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

// For the calls whose connection never came.
void Engine::AskAgain() {
  std::lock_guard<std::mutex> lock(mutex_);
  refused_ = false;
  if (waiting_ > asked_) AskForWorkers(waiting_ - asked_);
}

// Orthanc runs for months, and somebody may clean /tmp in that time. Then the engine could not connect any more.
void Engine::SeeToSocket() {
  if (listener_.Present()) return;
  if (listener_.fd() >= 0) AcceptWorkers();  // those that came before
  const std::string problem = listener_.Ensure();
  if (!problem.empty()) return core_.Log(LogLevel::Error, problem);
  core_.Log(LogLevel::Warning, "the storage engine's socket was removed; the new one is " + listener_.path());
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
    case Kind::Log: core_.Log(static_cast<LogLevel>(std::min<int>(header.flags, 2)), text); return true;
    case Kind::Grow:
      core_.Log(LogLevel::Warning, "the storage engine cannot open another connection: " + text);
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

}  // namespace ocs
