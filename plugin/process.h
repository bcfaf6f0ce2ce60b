// The engine as a process of the operating system: forked, heard, ended. Used by one thread only: PR_SET_PDEATHSIG
// watches the thread that forked, not the process.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "orthanc.h"
#include "wire.h"

namespace ocs {

// What failed, in the words of the operating system (errno), and what to do where a limit was reached.
std::string Errno(const std::string& what);

class Process {
 public:
  // Runs an executable with its arguments and our environment, without what could make it betray secrets. Returns "",
  // or why there is no process.
  std::string Start(const std::vector<std::string>& command);

  // Readable when the process said something on stdout or stderr; below 0 once it has closed both.
  int output() const { return output_.fd(); }

  // Takes the lines that it said, and logs them where there is a core.
  void Pump(OrthancCore* core, LogLevel level);

  // The last of them that tell something.
  std::string words() const { return words_; }

  void Kill();

  // Waits for its end, at first patiently, then with SIGTERM, then with SIGKILL. Returns how it ended, "" if there was
  // none.
  std::string End(std::chrono::milliseconds patience);

 private:
  pid_t pid_ = -1;
  Channel output_;
  std::string line_;
  std::string words_;

  void Tell(OrthancCore* core, LogLevel level);
  void Keep(const std::string& line);
};

}  // namespace ocs
