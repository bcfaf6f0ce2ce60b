// The engine as a process: started, supervised, started again, stopped; and the pool of connections to it.
#pragma once
#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "call.h"
#include "listener.h"
#include "orthanc.h"
#include "process.h"
#include "wire.h"

namespace ocs {

struct EngineSettings {
  std::string node;  // executable
  std::vector<std::string> node_options;
  std::string script;                // engine.mjs
  std::string configuration;         // Orthanc's, as JSON; holds secrets, so it never goes near argv, environ or a log
  std::vector<std::string> folders;  // where the socket may be, the best first
  std::chrono::milliseconds start_time{180'000};   // longer than an engine is silent while it waits for its store
  std::chrono::milliseconds restart_time{60'000};  // a later one does not wait for its store
  std::chrono::milliseconds drain_time{10'000};
  std::chrono::milliseconds ping_every{5'000};
  std::chrono::milliseconds silence{30'000};
  std::chrono::milliseconds first_backoff{100};
  std::chrono::milliseconds hello_time{5'000};  // a connection that does not say HELLO by then is none of ours
};

// Thread-safe. Calls come from any of Orthanc's threads and block; one supervisor thread does everything else. It alone
// forks, because PR_SET_PDEATHSIG watches the thread that forked, not the process.
class Engine {
 public:
  enum class Started { On, Off, Refused };

  Engine(OrthancCore& core, EngineSettings settings);
  ~Engine() { Stop(); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Blocks until the engine is ready, said that no storage of ours is configured, or refused; the last two have been
  // logged and the process is gone.
  Started Start();

  // What START answered: where files are stored.
  const std::string& description() const { return description_; }
  // And whether Orthanc may read ranges of them.
  bool ranges() const { return ranges_; }

  // Performs the call, on as many engines as it takes: one that died is started again and the call repeated. Everything
  // worth saying has been logged when it returns.
  Answer Run(const Call& call);

  // Orthanc begins to stop, and waits for its threads: those still in a call after the drain time are sent away with a
  // failure, however long their own deadline is. Returns at once.
  void Drain();

  // No new calls; waits for those under way, then ends the engine. Idempotent.
  void Stop();

 private:
  enum class State {
    Starting,
    Ready,
    Restarting,
    Down,  // several engines in a row did not start: calls fail at once, while it is tried again
    Stopping,
    Stopped
  };

  // engine.cpp: the threads of Orthanc
  bool StopRequested();
  void Wake();
  Ending Acquire(Deadline deadline, Channel* channel, uint64_t* generation);
  void Release(Channel channel, uint64_t generation);
  void AskForWorkers(uint64_t count);  // mutex_ held

  static constexpr int kRefusals = 3;  // so many launches in a row that fail are no accident

  static constexpr size_t kMostGreetings = 64;  // more wait in the socket's queue

  // supervisor.cpp: its thread
  void Supervise();
  bool Serve();  // true: restart, false: stop
  void CloseAll();

  // launch.cpp: what it does to start and end an engine
  Started Launch();
  bool StartAgain();
  Started Handshake();
  std::string AwaitControl(Channel* control, Header* hello, Deadline deadline);
  Io HearStart(Channel* control, Deadline deadline, std::chrono::milliseconds limit, Started* started);
  Started Refuse(const std::string& why);
  void Hear(LogLevel level);
  Io AcceptControl(Channel* channel, Header* hello);
  void Reap(bool quietly);

  // control.cpp: what it does while one runs
  void AcceptWorkers();
  void GreetWorkers();
  void AskAgain();
  void SeeToSocket();
  bool HandleControl();

  OrthancCore& core_;
  const EngineSettings settings_;
  pthread_t supervisor_{};
  bool supervised_ = false;
  int wake_[2] = {-1, -1};

  // The supervisor's.
  Listener listener_;
  std::vector<Greeting> greetings_;
  Deadline accept_again_ = Deadline::min();
  bool accept_failed_ = false;
  Process process_;
  bool registered_ = false;
  std::string description_;
  bool ranges_ = false;
  Clock::duration silent_{0};  // how long it was waited for a sign of life, not counting what it did meanwhile
  int refusals_ = 0;           // launches in a row that failed

  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  State state_ = State::Stopped;
  Started started_ = Started::Refused;
  std::string words_;        // why the last engine did not start
  std::string socket_path_;  // where the next worker connects
  uint64_t generation_ = 0;
  Channel control_;
  std::vector<Channel> idle_;
  uint64_t waiting_ = 0;
  uint64_t asked_ = 0;
  bool refused_ = false;  // the engine cannot open another connection: only the supervisor asks again, now and then
  uint64_t active_ = 0;
  Deadline stop_by_ = Deadline::max();
  std::chrono::milliseconds call_time_{0};
};

}  // namespace ocs
