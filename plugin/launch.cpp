// The start of an engine, from the fork to the RETURN of START, and its end.
#include <poll.h>

#include <algorithm>

#include "engine.h"

namespace ocs {

namespace {

using std::chrono::milliseconds;
constexpr size_t kMaxRegistration = 1u << 20;
constexpr uint16_t kAsks = 1, kIsProbe = 2;               // the status of a REGISTER
constexpr uint8_t kOn = 1, kRanges = 2, kBackground = 4;  // the flags of the RETURN to START
constexpr size_t kMostRegistrations = 128;
constexpr uint64_t kLongestCall = 1ull << 32;  // ms, 49 days
constexpr milliseconds kAfterItsEnd{500};
constexpr milliseconds kEndOfStopped{13'000};  // for an engine that was asked to end: it may send removals for 10 s
constexpr milliseconds kEndOfDead{500};        // for an engine that has ended by itself, or does not answer

// What an engine registers with Orthanc. It is kept until the start has succeeded. Otherwise Orthanc would go on to
// call what an engine had registered that is off or has refused.
class Registrations {
 public:
  // False when no engine of ours can have sent this.
  bool Take(const Header& header, std::string text) {
    const bool means_something = header.kind == Kind::ErrorCode
                                     ? IsHttpStatus(header.argument)
                                     : header.length <= kMaxRegistration &&
                                           header.flags >= static_cast<int>(Registration::Route) &&
                                           header.flags <= static_cast<int>(Registration::Explorer);
    if (!means_something || registrations_.size() == kMostRegistrations) return false;
    registrations_.emplace_back(header, std::move(text));
    return true;
  }

  void Register(OrthancCore& core) const {
    for (const auto& [header, text] : registrations_) {
      if (header.kind == Kind::ErrorCode)
        core.RegisterError(header.status, static_cast<uint16_t>(header.argument), text);
      else
        core.Register(KindOf(header), (header.status & kAsks) != 0, text);
    }
  }

 private:
  static Registration KindOf(const Header& header) {
    const auto kind = static_cast<Registration>(header.flags);
    return kind == Registration::Route && (header.status & kIsProbe) != 0 ? Registration::Probe : kind;
  }

  std::vector<std::pair<Header, std::string>> registrations_;
};

}  // namespace

Engine::Started Engine::Launch() {
  const std::string no_socket = listener_.Ensure();
  if (!no_socket.empty()) return Refuse(no_socket);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    socket_path_ = listener_.path();
  }
  std::vector<std::string> command{settings_.node};
  command.insert(command.end(), settings_.node_options.begin(), settings_.node_options.end());
  command.insert(command.end(), {settings_.script, listener_.path()});
  const std::string problem = process_.Start(command);
  return problem.empty() ? Handshake() : Refuse(problem);
}

// Logs what the process says, unless the same was said too often.
void Engine::LogOutput(LogLevel level) { process_.Pump(refusals_ < kRefusals ? &core_ : nullptr, level); }

Engine::Started Engine::Refuse(const std::string& why) {
  LogOutput(LogLevel::Error);
  if (refusals_ < kRefusals) core_.Log(LogLevel::Error, why);
  const std::string said = process_.tail();
  std::lock_guard<std::mutex> lock(mutex_);
  refusal_ = said.empty() ? why : why + ": " + said;
  return Started::Refused;
}

Engine::Started Engine::Handshake() {
  const milliseconds limit = generation_ == 0 ? settings_.start_time : settings_.restart_time;
  const Deadline deadline = Clock::now() + limit;
  Channel control;
  Header hello;
  const std::string problem = AwaitControl(&control, &hello, deadline);
  if (!problem.empty()) return Refuse(problem);
  if (!control.open()) return Started::Refused;  // Orthanc stops
  if (hello.argument != kProtocol)
    return Refuse("this plugin speaks protocol " + std::to_string(kProtocol) + ", the engine " + settings_.script +
                  " protocol " + std::to_string(hello.argument) +
                  ". Install the .so and engine.mjs of the same release");
  const Header start = HeaderOf(Kind::Call, kProtocol, static_cast<uint8_t>(Verb::Start),
                                static_cast<uint16_t>(std::min<uint64_t>(generation_, UINT16_MAX)));
  std::string orthanc;
  Pack(&orthanc, settings_.orthanc);
  Io io = control.Send(start, {orthanc.data(), orthanc.size()},
                       {settings_.configuration.data(), settings_.configuration.size()}, deadline);
  Started started = Started::Refused;
  if (io == Io::Ok) io = AwaitStart(&control, deadline, limit, &started);
  if (io == Io::Ok) return started;
  if (io == Io::TooLarge) return Refuse("Orthanc's configuration is larger than 16 MiB");
  if (io == Io::TimedOut) return Refuse("the storage engine did not finish its start in time");
  if (io == Io::Broken) return Refuse("the storage engine broke the protocol during its start");
  process_.End(kAfterItsEnd);  // so that Refuse() gets all of its output
  return Refuse("the storage engine ended during its start");
}

// Waits until the engine has connected and said HELLO, or until Orthanc stops. Returns why the engine cannot come, or
// "".
std::string Engine::AwaitControl(Channel* control, Header* hello, Deadline deadline) {
  while (!control->open() && !StopRequested()) {
    if (Clock::now() >= deadline) return "the storage engine did not connect in time";
    pollfd fds[2] = {{listener_.fd(), POLLIN, 0}, {process_.output(), POLLIN, 0}};
    poll(fds, 2, 100);
    if (fds[1].revents != 0) LogOutput(LogLevel::Error);
    if (fds[0].revents != 0) {
      const Io io = AcceptControl(control, hello);
      if (io == Io::Broken) return Errno("the storage engine's connection cannot be accepted");
      if (io != Io::Ok) return "the storage engine connected, but sent no valid HELLO";
    } else if (process_.output() < 0) {
      return "the storage engine (" + settings_.node + " " + settings_.script + ") ended before it connected";
    }
  }
  return "";
}

// Listens until the engine has answered START. Ok: `started` is the answer.
Io Engine::AwaitStart(Channel* control, Deadline deadline, milliseconds limit, Started* started) {
  Registrations registrations;
  for (;;) {
    Io io = Await(control->fd(), POLLIN, std::min(deadline, Clock::now() + milliseconds(200)));
    LogOutput(LogLevel::Error);
    if (StopRequested()) return Io::Ok;
    if (io == Io::TimedOut && Clock::now() < deadline) continue;
    Header header;
    if (io == Io::Ok) io = control->ReceiveHeader(&header, deadline);
    std::string text;
    const size_t longest = header.kind == Kind::Register ? kMaxRegistration : kMaxText;
    if (io == Io::Ok) io = ReceiveText(*control, header.length, &text, deadline, longest);
    if (io != Io::Ok) return io;
    if (header.kind == Kind::Log) {
      if (refusals_ < kRefusals) core_.Log(static_cast<LogLevel>(std::min<int>(header.flags, 2)), text);
      deadline = Clock::now() + limit;  // it may wait for its store, and says so
    } else if (header.kind == Kind::ErrorCode || header.kind == Kind::Register) {
      if (!registrations.Take(header, std::move(text))) return Io::Broken;
    } else if (header.kind == Kind::Return && header.status != 0) {
      *started = Refuse(text);
      return Io::Ok;
    } else if (header.kind == Kind::Return && (header.flags & kOn) == 0) {
      core_.Log(LogLevel::Warning, text);
      *started = Started::Off;
      return Io::Ok;
    } else if (header.kind == Kind::Return && header.argument >= 1 && header.argument <= kLongestCall) {
      if (!registered_) registrations.Register(core_);
      registered_ = true;
      std::lock_guard<std::mutex> lock(mutex_);
      description_ = text;
      ranges_ = (header.flags & kRanges) != 0;
      wants_standing_ = (header.flags & kBackground) != 0;
      call_time_ = milliseconds(header.argument);
      control_ = std::move(*control);
      generation_++;
      *started = Started::On;
      return Io::Ok;
    } else {
      return Io::Broken;
    }
  }
}

// After some failed launches, calls fail with the engine's words until a launch succeeds.
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
    words = refusal_;
    changed_.notify_all();
    standing_changed_.notify_all();
  }
  if (runs) core_.Log(LogLevel::Warning, "the storage engine runs again; interrupted operations are repeated");
  if (hopeless)
    core_.Log(LogLevel::Error,
              "the storage engine cannot start. The plugin tries again; until then operations fail: " + words);
  return runs;
}

// Accepts a connection and its HELLO. Broken: see errno.
Io Engine::AcceptControl(Channel* channel, Header* hello) {
  Channel peer;
  Io io = listener_.Accept(&peer);
  if (io == Io::TimedOut) return Io::Ok;  // it was another user, who was sent away
  if (io != Io::Ok) return io;
  Greeting greeting(std::move(peer), Clock::now() + settings_.hello_time);
  while ((io = greeting.Read(hello)) == Io::TimedOut && Clock::now() < greeting.by)
    Await(greeting.fd(), POLLIN, greeting.by);
  if (io != Io::Ok || hello->flags != 0) return Io::Closed;
  *channel = greeting.Take();
  return Io::Ok;
}

// Ends this engine for good, in any state, and takes its connections out of the pool.
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
  const std::string how = process_.End(quietly ? kEndOfStopped : kEndOfDead);
  LogOutput(quietly ? LogLevel::Info : LogLevel::Warning);
  // Connections that it opened and that were not accepted: the first one of the next engine must not wait behind them.
  for (Channel left; listener_.fd() >= 0 && listener_.Accept(&left) == Io::Ok;) left.Close();
  if (!quietly && !how.empty()) core_.Log(LogLevel::Warning, "the storage engine " + how + " and is started again");
}

}  // namespace ocs
