// The engine as a process: started, supervised, started again, stopped; and the pool of connections to it.
#pragma once
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "call.h"
#include "host.h"
#include "process.h"
#include "wire.h"

namespace ocs {

struct EngineSettings {
  std::string node;  // executable
  std::vector<std::string> node_options;
  std::string script;         // engine.mjs
  std::string configuration;  // Orthanc's, as JSON; holds secrets, so it never goes near argv, environ or a log
  std::chrono::milliseconds start_time{180'000};  // longer than the engine's own start-up check may take
  std::chrono::milliseconds drain_time{10'000};
  std::chrono::milliseconds ping_every{5'000};
  std::chrono::milliseconds silence{30'000};
  std::chrono::milliseconds first_backoff{100};
};

// Thread-safe. Calls come from any of Orthanc's threads and block; one supervisor thread does everything else. It alone
// forks, because PR_SET_PDEATHSIG watches the thread that forked, not the process.
class Engine {
 public:
  enum class Started { On, Off, Refused };

  Engine(Host& host, EngineSettings settings);
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
  enum class State { Starting, Ready, Restarting, Stopping, Stopped };

  void Supervise();
  Started Launch();
  bool OpenSocket();
  Started Handshake();
  bool StopRequested();
  void Wake();
  Started Refuse(const std::string& why);
  bool Serve();  // true: restart, false: stop
  Io AcceptPeer(Deadline deadline, Channel* channel, Header* hello);
  void AcceptWorker();
  bool HandleControl();
  void Reap(bool quietly);
  void CloseAll();
  bool Acquire(Deadline deadline, Channel* channel, uint64_t* generation);
  void Release(Channel channel, uint64_t generation);
  void AskForWorkers(uint64_t count);  // mutex_ held

  Host& host_;
  const EngineSettings settings_;
  std::thread supervisor_;
  std::string folder_;
  std::string path_;
  Channel listener_;
  Process process_;
  int wake_[2] = {-1, -1};
  bool registered_ = false;
  std::string description_;
  bool ranges_ = false;
  Clock::time_point heard_;

  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  State state_ = State::Stopped;
  Started started_ = Started::Refused;
  uint64_t generation_ = 0;
  Channel control_;
  std::vector<Channel> idle_;
  uint64_t waiting_ = 0;
  uint64_t asked_ = 0;
  uint64_t active_ = 0;
  Deadline stop_by_ = Deadline::max();
  std::chrono::milliseconds call_time_{0};
};

}  // namespace ocs
