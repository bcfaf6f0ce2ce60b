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
  std::string orthanc;               // its version
  std::string configuration;         // Orthanc's, as JSON. It holds secrets: never into argv, environ or a log
  std::vector<std::string> folders;  // where the socket may be, in this order
  std::chrono::milliseconds start_time{180'000};   // longer than an engine is silent while it waits for its store
  std::chrono::milliseconds restart_time{60'000};  // a later one does not wait for its store
  std::chrono::milliseconds drain_time{10'000};
  std::chrono::milliseconds ping_every{5'000};
  std::chrono::milliseconds silence{30'000};
  std::chrono::milliseconds first_backoff{100};
  std::chrono::milliseconds stand_again{5'000};  // before the same engine gets another standing call
  std::chrono::milliseconds hello_time{5'000};   // a connection that has not said HELLO by then is dropped
};

// Thread-safe. Calls come on any of Orthanc's threads, and block. One thread keeps the standing call, if the engine
// wants it. One supervisor thread does everything else. It alone forks, because PR_SET_PDEATHSIG watches the thread
// that has forked, not the process.
class Engine {
 public:
  enum class Started { On, Off, Refused };

  Engine(OrthancCore& core, EngineSettings settings);
  ~Engine() { Stop(); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Blocks until the engine is ready (On), has said that no storage of ours is configured (Off), or has refused. Off
  // and Refused have been logged, and the process is gone.
  Started Start();

  // From the answer to START: where files are stored.
  const std::string& description() const { return description_; }
  // Likewise: whether Orthanc may read ranges of them.
  bool ranges() const { return ranges_; }

  // Performs the call. If the engine dies, it is started again and the call is repeated. A failure has been logged when
  // this returns.
  Answer Run(const Call& call);

  // Orthanc can be asked from now on. If the engine wants it, a thread begins to keep the standing call: one BACKGROUND
  // at a time, for as long as an engine lives, and again on the next engine. `api` must live until Stop() has returned.
  void Stand(OrthancApi& api);

  // Orthanc begins to stop, and waits for its threads. Calls that still run after the drain time fail, even if their
  // own deadline is later. Ends the standing call, and waits for no more than the question that Orthanc is answering in
  // it: Orthanc takes apart what answers it.
  void Drain();

  // Takes no new calls, waits for those under way, then ends the engine. Idempotent.
  void Stop();

 private:
  enum class State {
    Starting,
    Ready,
    Restarting,
    Down,  // several engines in a row did not start: calls fail at once, and the next engine is tried
    Stopping,
    Stopped
  };

  // engine.cpp: on the threads of Orthanc
  bool StopRequested();
  void Wake();
  Ending Acquire(Deadline deadline, Channel* channel, uint64_t* generation, bool standing = false);
  void Release(Channel channel, uint64_t generation);
  void AskForWorkers(uint64_t count);  // under mutex_
  bool KeepStanding(uint64_t* generation);
  void EndStanding();  // under mutex_

  // standing.cpp: on a thread of its own
  void StandBy();
  bool AwaitEngine(uint64_t last, bool again);

  static constexpr int kRefusals = 3;  // after so many failed launches in a row, calls fail

  static constexpr size_t kMostGreetings = 64;  // more wait in the socket's queue

  // supervisor.cpp: on its thread
  void Supervise();
  bool Serve();  // true: restart, false: stop
  void CloseAll();

  // launch.cpp: the start and the end of an engine
  Started Launch();
  bool StartAgain();
  Started Handshake();
  std::string AwaitControl(Channel* control, Header* hello, Deadline deadline);
  Io AwaitStart(Channel* control, Deadline deadline, std::chrono::milliseconds limit, Started* started);
  Started Refuse(const std::string& why);
  void LogOutput(LogLevel level);
  Io AcceptControl(Channel* channel, Header* hello);
  void Reap(bool quietly);

  // control.cpp: while an engine runs
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
  pthread_t standing_thread_{};
  bool stands_ = false;  // that thread was made

  // Of the supervisor's thread.
  Listener listener_;
  std::vector<Greeting> greetings_;
  Deadline accept_again_ = Deadline::min();
  bool accept_failed_ = false;
  Process process_;
  bool registered_ = false;
  std::string description_;
  bool ranges_ = false;
  Clock::duration silent_{0};  // time spent waiting since the engine's last sign of life
  int refusals_ = 0;           // failed launches in a row

  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  State state_ = State::Stopped;
  Started started_ = Started::Refused;
  std::string refusal_;      // why the last engine did not start
  std::string socket_path_;  // where the next worker connects
  uint64_t generation_ = 0;
  Channel control_;
  std::vector<Channel> idle_;
  uint64_t waiting_ = 0;
  uint64_t asked_ = 0;
  bool refused_ = false;         // the engine cannot open another connection now: only the supervisor asks again
  uint64_t active_ = 0;          // without the standing call
  bool wants_standing_ = false;  // this engine
  OrthancApi* standing_api_ = nullptr;
  bool standing_ = false;  // its thread runs
  bool standing_over_ = false;
  int standing_fd_ = -1;  // the connection that it is kept on
  Deadline stop_by_ = Deadline::max();
  std::chrono::milliseconds call_time_{0};
};

}  // namespace ocs
