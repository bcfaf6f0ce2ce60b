#include "engine.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace ocs {

namespace {

constexpr std::chrono::milliseconds kAsking{5'000};
constexpr int kMostConnections = 256;         // one call tries no more than these
constexpr std::chrono::hours kConnection{1};  // the standing call begins to wait for one again after this time

}  // namespace

Engine::Engine(OrthancCore& core, EngineSettings settings)
    : core_(core), settings_(std::move(settings)), listener_(settings_.folders) {}

Engine::Started Engine::Start() {
  if (pipe2(wake_, O_CLOEXEC | O_NONBLOCK) != 0) {
    core_.Log(LogLevel::Error, Errno("cannot make a pipe"));
    return Started::Refused;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  state_ = State::Starting;
  // Not std::thread: it throws when there can be no more threads, and nobody in Orthanc would catch that.
  const auto supervise = [](void* self) -> void* {
    static_cast<Engine*>(self)->Supervise();
    return nullptr;
  };
  errno = pthread_create(&supervisor_, nullptr, supervise, this);
  supervised_ = errno == 0;
  if (!supervised_) {
    core_.Log(LogLevel::Error, Errno("cannot make a thread for the storage engine"));
    state_ = State::Stopped;
    return Started::Refused;
  }
  changed_.wait(lock, [this] { return state_ != State::Starting; });
  const Started started = started_;
  lock.unlock();
  if (started != Started::On) Stop();
  return started;
}

bool Engine::StopRequested() {
  std::lock_guard<std::mutex> lock(mutex_);
  return state_ == State::Stopping || Clock::now() >= stop_by_;
}

void Engine::AskForWorkers(uint64_t count) {
  const Header grow = HeaderOf(Kind::Grow, count);
  const Slice path{socket_path_.data(), socket_path_.size()};
  if (control_.open() && control_.Send(grow, path, {nullptr, 0}, Clock::now() + kAsking) == Io::Ok) asked_ += count;
}

// Gets a connection to the engine. Ok, or why there is none.
Ending Engine::Acquire(Deadline deadline, Channel* channel, uint64_t* generation, bool standing) {
  std::unique_lock<std::mutex> lock(mutex_);
  waiting_++;
  Ending ending = Ending::TimedOut;
  while (true) {
    if (state_ == State::Stopping || state_ == State::Stopped || (standing && standing_over_)) {
      ending = Ending::Stopped;
    } else if (state_ == State::Down) {
      ending = Ending::Down;
    } else if (state_ == State::Ready && !idle_.empty()) {
      *channel = std::move(idle_.back());
      idle_.pop_back();
      *generation = generation_;
      ending = Ending::Ok;
    }
    if (ending != Ending::TimedOut) break;
    if (state_ == State::Ready && asked_ < waiting_ && !refused_) AskForWorkers(1);
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) break;
  }
  waiting_--;
  return ending;
}

void Engine::Release(Channel channel, uint64_t generation) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (generation != generation_ || state_ != State::Ready) return;
  idle_.push_back(std::move(channel));
  changed_.notify_one();
}

Answer Engine::Run(const Call& call) {
  Deadline deadline;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == State::Stopping || state_ == State::Stopped) return Answer::Ended(Ending::Stopped);
    deadline = Clock::now() + (call.time.count() > 0 ? call.time : call_time_);
    active_++;
  }
  Answer answer;
  // A dead engine may have left several connections. The call may try each of them before the supervisor notices.
  int engines = 0;
  uint64_t last = 0;
  for (int attempt = 1; attempt <= kMostConnections && engines < kAttempts; attempt++) {
    Channel channel;
    uint64_t generation = 0;
    answer = Answer();
    answer.ending = Acquire(deadline, &channel, &generation);
    if (answer.ending == Ending::TimedOut && StopRequested()) answer.ending = Ending::Stopped;
    if (answer.ending != Ending::Ok) break;
    answer = Perform(channel, call, deadline);
    if (answer.reusable()) Release(std::move(channel), generation);
    if (answer.ending != Ending::Interrupted) break;
    if (generation != last) engines++;
    last = generation;
    std::lock_guard<std::mutex> lock(mutex_);
    if (generation == generation_)
      idle_.clear();  // they lead to the same process, which may be dead before the supervisor notices
  }
  if (answer.ending == Ending::Down) {
    std::lock_guard<std::mutex> lock(mutex_);
    answer.text = refusal_;
  }
  const std::string line = LineOf(call, answer);
  if (!line.empty()) core_.Log(answer.ending == Ending::Ok ? LogLevel::Info : LogLevel::Error, line);
  std::lock_guard<std::mutex> lock(mutex_);
  active_--;
  changed_.notify_all();
  return answer;
}

// Keeps the standing call on one connection, until it ends. True: if this engine still runs, it may be called again.
bool Engine::KeepStanding(uint64_t* generation) {
  Call call{Verb::Background};
  Channel channel;
  const Ending ending = Acquire(Clock::now() + kConnection, &channel, generation, true);
  if (ending != Ending::Ok) return ending == Ending::TimedOut;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (standing_over_) return false;
    call.api = standing_api_;
    standing_fd_ = channel.fd();
  }
  const Answer answer = Perform(channel, call, Deadline::max());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    standing_fd_ = -1;
    if (standing_over_) return false;
  }
  if (answer.reusable()) Release(std::move(channel), *generation);
  // That an engine died is logged once, by the supervisor.
  const std::string line = answer.ending == Ending::Interrupted ? "" : LineOf(call, answer);
  if (!line.empty()) core_.Log(answer.ending == Ending::Ok ? LogLevel::Info : LogLevel::Error, line);
  return answer.ending == Ending::Interrupted;
}

void Engine::EndStanding() {
  standing_over_ = true;
  if (standing_fd_ >= 0) shutdown(standing_fd_, SHUT_RDWR);  // whoever reads or writes it now sees its end
  changed_.notify_all();
  standing_changed_.notify_all();
}

void Engine::Wake() {
  const char byte = 0;
  if (wake_[1] >= 0 && write(wake_[1], &byte, 1) < 0) core_.Log(LogLevel::Warning, Errno("cannot wake the supervisor"));
}

void Engine::Drain() {
  std::unique_lock<std::mutex> lock(mutex_);
  stop_by_ = Clock::now() + settings_.drain_time;
  EndStanding();
  // Not for ever, if Orthanc does not answer any more. What it asks of the engine meanwhile ends after the drain time.
  standing_changed_.wait_for(lock, 2 * settings_.drain_time, [this] { return !standing_; });
}

void Engine::Stop() {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    EndStanding();
    changed_.wait_for(lock, settings_.drain_time, [this] { return active_ == 0; });
    state_ = State::Stopping;
    changed_.notify_all();
  }
  Wake();
  if (supervised_) pthread_join(supervisor_, nullptr);
  supervised_ = false;
  if (stands_) pthread_join(standing_thread_, nullptr);
  stands_ = false;
  for (int& fd : wake_) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  state_ = State::Stopped;
  changed_.wait(lock, [this] { return active_ == 0; });  // their connections are closed: they end at once
}

}  // namespace ocs
