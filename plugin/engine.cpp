#include "engine.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace ocs {

namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLongestBackoff{5'000};
constexpr milliseconds kGoodRun{60'000};
constexpr milliseconds kTurn{5'000};  // a frame that has begun, or a HELLO, comes within this time
constexpr size_t kMaxWish = 1u << 20;
constexpr milliseconds kLastWords{5'000};         // for an engine that was told to end
constexpr milliseconds kLastWordsOfTheDead{500};  // for one that ended by itself, or is deaf

}  // namespace

Engine::Engine(Host& host, EngineSettings settings) : host_(host), settings_(std::move(settings)) {}

Engine::Started Engine::Start() {
  std::unique_lock<std::mutex> lock(mutex_);
  state_ = State::Starting;
  supervisor_ = std::thread([this] { Supervise(); });
  changed_.wait(lock, [this] { return state_ != State::Starting; });
  const Started started = started_;
  lock.unlock();
  if (started != Started::On) Stop();
  return started;
}

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
    Reap(false);
    if (running && Clock::now() - began > kGoodRun) backoff = settings_.first_backoff;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wanted = !changed_.wait_for(lock, backoff, [this] { return state_ == State::Stopping; });
    }
    if (!wanted || StopRequested()) break;
    backoff = std::min(backoff * 2, kLongestBackoff);
    running = Launch() == Started::On;
    if (!running) continue;
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == State::Stopping) break;
    state_ = State::Ready;
    if (waiting_ > 0) AskForWorkers(waiting_);
    changed_.notify_all();
    host_.Log(Level::Warning, "the storage engine runs again; interrupted operations are repeated");
  }
  CloseAll();
}

Engine::Started Engine::Launch() {
  if (!OpenSocket()) return Started::Refused;
  std::vector<std::string> command{settings_.node};
  command.insert(command.end(), settings_.node_options.begin(), settings_.node_options.end());
  command.insert(command.end(), {settings_.script, path_});
  const std::string problem = process_.Start(command);
  if (problem.empty()) return Handshake();
  host_.Log(Level::Error, problem);
  return Started::Refused;
}

bool Engine::OpenSocket() {
  if (listener_.open()) return true;
  const char* base = std::getenv("TMPDIR");
  std::string folder = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/orthanc-cloud-storage-XXXXXX";
  if (mkdtemp(&folder[0]) == nullptr) {  // mkdtemp gives mode 0700
    host_.Log(Level::Error, Errno("cannot make a folder " + folder + " for the storage engine's socket") +
                                ". Set TMPDIR to a folder that can be written");
    return false;
  }
  folder_ = folder;
  path_ = folder + "/engine.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof address.sun_path) {
    host_.Log(Level::Error, "the socket's path " + path_ + " is too long. Set TMPDIR to a shorter folder");
    return false;
  }
  std::memcpy(address.sun_path, path_.c_str(), path_.size());
  Channel listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.open() || bind(listener.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener.fd(), 128) != 0 || pipe2(wake_, O_CLOEXEC | O_NONBLOCK) != 0) {
    host_.Log(Level::Error, Errno("cannot listen on " + path_));
    return false;
  }
  listener_ = std::move(listener);
  return true;
}

bool Engine::StopRequested() {
  std::lock_guard<std::mutex> lock(mutex_);
  return state_ == State::Stopping || Clock::now() >= stop_by_;
}

Engine::Started Engine::Refuse(const std::string& why) {
  process_.Pump(host_, Level::Error);
  host_.Log(Level::Error, why);
  return Started::Refused;
}

Engine::Started Engine::Handshake() {
  Deadline deadline = Clock::now() + settings_.start_time;
  for (;;) {  // the engine connects, or ends with a word on stderr
    if (StopRequested()) return Started::Refused;
    if (Clock::now() >= deadline) return Refuse("the storage engine did not connect in time");
    pollfd fds[2] = {{listener_.fd(), POLLIN, 0}, {process_.output(), POLLIN, 0}};
    poll(fds, 2, 100);
    if (fds[0].revents != 0) break;
    if (fds[1].revents != 0) process_.Pump(host_, Level::Error);
    if (process_.output() < 0)
      return Refuse("the storage engine (" + settings_.node + " " + settings_.script + ") ended before it connected");
  }
  Channel control;
  Header header;
  if (AcceptPeer(Clock::now() + kTurn, &control, &header) != Io::Ok || header.flags != 0)
    return Refuse("the storage engine does not greet as it should");
  if (header.argument != kProtocol)
    return Refuse("this plugin speaks protocol " + std::to_string(kProtocol) + ", the engine " + settings_.script +
                  " protocol " + std::to_string(header.argument) +
                  ". Install the .so and engine.mjs of the same release");
  Header start;
  start.kind = Kind::Call;
  start.flags = static_cast<uint8_t>(Verb::Start);
  start.status = static_cast<uint16_t>(std::min<uint64_t>(generation_, UINT16_MAX));
  start.argument = kProtocol;
  if (settings_.configuration.size() > kMaxPayload) return Refuse("Orthanc's configuration is larger than 16 MiB");
  Io io = control.Send(start, {settings_.configuration.data(), settings_.configuration.size()}, {nullptr, 0}, deadline);
  while (io == Io::Ok) {
    io = Await(control.fd(), POLLIN, std::min(deadline, Clock::now() + milliseconds(200)));
    process_.Pump(host_, Level::Error);
    if (StopRequested()) return Started::Refused;
    if (io == Io::TimedOut && Clock::now() < deadline) {
      io = Io::Ok;
      continue;
    }
    if (io == Io::Ok) io = control.ReceiveHeader(&header, deadline);
    std::string text;
    const size_t limit = header.kind == Kind::Register ? kMaxWish : kMaxText;
    if (io == Io::Ok) io = ReceiveText(control, header.length, &text, deadline, limit);
    if (io != Io::Ok) break;
    deadline = Clock::now() + settings_.start_time;  // it waits for its store, and says so now and then
    if (header.kind == Kind::Log) {
      host_.Log(static_cast<Level>(std::min<int>(header.flags, 2)), text);
    } else if (header.kind == Kind::ErrorCode) {
      if (!registered_) host_.RegisterError(header.status, static_cast<uint16_t>(header.argument), text);
    } else if (header.kind == Kind::Register) {
      if (!registered_) host_.Register(static_cast<Wish>(header.flags), text);
    } else if (header.kind == Kind::Return && header.status != 0) {
      return Refuse(text);
    } else if (header.kind == Kind::Return && (header.flags & 1) == 0) {
      host_.Log(Level::Warning, text);
      return Started::Off;
    } else if (header.kind == Kind::Return) {
      registered_ = true;
      std::lock_guard<std::mutex> lock(mutex_);
      description_ = text;
      ranges_ = (header.flags & 2) != 0;
      call_time_ = milliseconds(header.argument);
      control_ = std::move(control);
      generation_++;
      heard_ = Clock::now();
      return Started::On;
    } else {
      io = Io::Broken;
    }
  }
  return Refuse(io == Io::TimedOut ? "the storage engine did not finish its start in time"
                                   : "the storage engine ended during its start");
}

Io Engine::AcceptPeer(Deadline deadline, Channel* channel, Header* hello) {
  const int fd = accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return Io::Broken;
  Channel peer(fd);
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 || credentials.uid != geteuid())
    return Io::Broken;
  Io io = peer.ReceiveHeader(hello, deadline);
  std::string version;
  if (io == Io::Ok) io = ReceiveText(peer, hello->length, &version, deadline);
  if (io == Io::Ok && hello->kind != Kind::Hello) io = Io::Broken;
  if (io == Io::Ok) *channel = std::move(peer);
  return io;
}

void Engine::AcceptWorker() {
  Channel worker;
  Header hello;
  if (AcceptPeer(Clock::now() + kTurn, &worker, &hello) != Io::Ok || hello.flags != 1 || hello.argument != kProtocol)
    return;
  std::lock_guard<std::mutex> lock(mutex_);
  if (asked_ > 0) asked_--;
  idle_.push_back(std::move(worker));
  changed_.notify_all();
}

bool Engine::Serve() {
  auto next_ping = Clock::now() + settings_.ping_every;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(next_ping - Clock::now()).count();
    if (StopRequested()) return false;
    pollfd fds[4] = {
        {listener_.fd(), POLLIN, 0}, {control_.fd(), POLLIN, 0}, {wake_[0], POLLIN, 0}, {process_.output(), POLLIN, 0}};
    poll(fds, 4, static_cast<int>(std::max<long long>(left, 0)));
    if (char byte = 0; fds[2].revents != 0 && read(wake_[0], &byte, 1) == 1) continue;
    if (fds[3].revents != 0) process_.Pump(host_, Level::Warning);
    if (fds[0].revents != 0) AcceptWorker();
    if (fds[1].revents != 0 && !HandleControl()) return true;
    const auto now = Clock::now();
    if (now - heard_ > settings_.silence) {
      host_.Log(Level::Error, "the storage engine does not answer any more and is killed");
      process_.Kill();
      return true;
    }
    if (now < next_ping) continue;
    next_ping = now + settings_.ping_every;
    Header ping;
    ping.kind = Kind::Ping;
    std::lock_guard<std::mutex> lock(mutex_);
    if (control_.Send(ping, now + milliseconds(100)) == Io::Closed) return true;
  }
}

bool Engine::HandleControl() {
  Header header;
  std::string text;
  if (control_.ReceiveHeader(&header, Clock::now() + kTurn) != Io::Ok) return false;
  if (ReceiveText(control_, header.length, &text, Clock::now() + kTurn) != Io::Ok) return false;
  heard_ = Clock::now();
  if (header.kind == Kind::Log) host_.Log(static_cast<Level>(std::min<int>(header.flags, 2)), text);
  return header.kind == Kind::Log || header.kind == Kind::Pong;
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
  }
  control.Close();
  idle.clear();
  const std::string how = process_.End(quietly ? kLastWords : kLastWordsOfTheDead);
  process_.Pump(host_, quietly ? Level::Info : Level::Warning);
  // Connections that it opened and we never accepted: the next engine's first one must not queue up behind them.
  for (int fd = 0; listener_.open() && fd >= 0;) {
    fd = accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) close(fd);
  }
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
  if (!path_.empty()) unlink(path_.c_str());
  if (!folder_.empty()) rmdir(folder_.c_str());
}

void Engine::AskForWorkers(uint64_t count) {
  Header grow;
  grow.kind = Kind::Grow;
  grow.argument = count;
  if (control_.open() && control_.Send(grow, Clock::now() + kTurn) == Io::Ok) asked_ += count;
}

bool Engine::Acquire(Deadline deadline, Channel* channel, uint64_t* generation) {
  std::unique_lock<std::mutex> lock(mutex_);
  waiting_++;
  bool got = false;
  while (state_ != State::Stopping && state_ != State::Stopped) {
    if (state_ == State::Ready && !idle_.empty()) {
      *channel = std::move(idle_.back());
      idle_.pop_back();
      *generation = generation_;
      got = true;
      break;
    }
    if (state_ == State::Ready && asked_ < waiting_) AskForWorkers(1);
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) break;
  }
  waiting_--;
  return got;
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
    if (state_ == State::Stopping || state_ == State::Stopped) return Answer::Stopped();
    deadline = Clock::now() + (call.time.count() > 0 ? call.time : call_time_);
    active_++;
  }
  Answer answer;
  for (int attempt = 1; attempt <= kAttempts; attempt++) {
    Channel channel;
    uint64_t generation = 0;
    answer = Answer();
    if (!Acquire(deadline, &channel, &generation)) {
      answer.ending = StopRequested() ? Ending::Stopped : Ending::TimedOut;
      break;
    }
    answer = Perform(channel, call, deadline);
    if (answer.reusable()) Release(std::move(channel), generation);
    if (answer.ending != Ending::Interrupted) break;
    std::lock_guard<std::mutex> lock(mutex_);
    if (generation == generation_)
      idle_.clear();  // they led to the same process; it may be dead though we have not noticed yet
  }
  const std::string line = LineOf(call, answer);
  if (!line.empty()) host_.Log(answer.ending == Ending::Ok ? Level::Info : Level::Error, line);
  std::lock_guard<std::mutex> lock(mutex_);
  active_--;
  changed_.notify_all();
  return answer;
}

void Engine::Wake() {
  const char byte = 0;
  if (wake_[1] >= 0 && write(wake_[1], &byte, 1) < 0) host_.Log(Level::Warning, Errno("cannot wake the supervisor"));
}

void Engine::Drain() {
  std::lock_guard<std::mutex> lock(mutex_);
  stop_by_ = Clock::now() + settings_.drain_time;
}

void Engine::Stop() {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, settings_.drain_time, [this] { return active_ == 0; });
    state_ = State::Stopping;
    changed_.notify_all();
  }
  Wake();
  if (supervisor_.joinable()) supervisor_.join();
  for (int& fd : wake_) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  state_ = State::Stopped;
  changed_.wait(lock, [this] { return active_ == 0; });  // their connections are closed: they end at once
}

}  // namespace ocs
