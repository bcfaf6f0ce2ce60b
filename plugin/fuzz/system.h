// The operating system as the fuzzer plays it: sockets, time and processes. The linker puts these in the place of the
// real calls (--wrap in the Makefile). So a run needs no kernel, does not depend on chance, and is fast.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace fuzz {

// One descriptor of the plugin's, seen from the other end.
struct Line {
  std::string inbox;    // what the plugin will read
  size_t at = 0;        // so much of it has been read
  bool closed = false;  // after it
  bool reset = false;   // likewise, by ECONNRESET
  bool silent = false;  // nothing more comes, ever
  int64_t pause = 0;    // ms that pass before the next byte
  int64_t rest = 0;     // likewise, once all of this has been read
  size_t left() const { return inbox.size() - at; }
  std::function<void(Line&)> more = [](Line& line) { line.silent = true; };    // asked when there is nothing to read
  std::function<void(const char*, size_t)> took = [](const char*, size_t) {};  // what the plugin has read
  std::function<void(const char*, size_t)> got = [](const char*, size_t) {};   // what the plugin has sent
};

class System {
 public:
  System();
  ~System();

  int Open(Line line);  // a descriptor

  uint64_t portion = 0;                             // most bytes that one call passes; 0: all
  uint64_t stutter = 0;                             // every so many calls one is interrupted or not ready; 0: never
  int64_t now = 1'000'000'000'000;                  // ns
  std::function<int()> accept = [] { return -1; };  // the next connection's descriptor; -1: there is none
  std::function<bool()> someone = [] { return false; };  // whether there is one
  std::function<void(Line&)> process = [](Line&) {};     // what a new process says
  std::function<bool()> turn = [] { return false; };     // what the supervisor does while a call waits; false: nothing

  std::map<int, Line> lines;
  uint64_t stutters = 0;
  uint64_t reads = 0;  // of pipes, since the plugin has looked at anything else
};

extern System* os;  // null: the real one

}  // namespace fuzz
