// The engine as a process of the operating system. Only one thread may use it: PR_SET_PDEATHSIG watches the thread that
// has forked, not the process.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "orthanc.h"
#include "wire.h"

namespace ocs {

// A message: what failed, the operating system's reason (errno), and what to do if a limit was reached.
std::string Errno(const std::string& what);

class Process {
 public:
  // Runs an executable with its arguments and our environment, but without the variables that could make it reveal
  // secrets. Returns why there is no process, or "".
  std::string Start(const std::vector<std::string>& command);

  // Readable when the process has written to stdout or stderr. Below 0 once it has closed both.
  int output() const { return output_.fd(); }

  // Takes the lines that it has written, and logs them if `core` is not null.
  void Pump(OrthancCore* core, LogLevel level);

  // The last of these lines, without stacks.
  std::string tail() const { return tail_; }

  void Kill();

  // Waits for its end: up to `limit` without a signal, then with SIGTERM, then with SIGKILL. Returns how it ended, or
  // "" if there was no process.
  std::string End(std::chrono::milliseconds limit);

 private:
  pid_t pid_ = -1;
  Channel output_;
  std::string line_;
  std::string tail_;

  void TakeLine(OrthancCore* core, LogLevel level);
  void Keep(const std::string& line);
};

}  // namespace ocs
