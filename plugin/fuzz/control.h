// The engine's side of the control connection, and what an engine says on stdout: its start, and its life after that.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "script.h"

namespace fuzz {

// What an engine has registered at its start, and whether the start is a good one.
struct Started {
  bool on = false;
  bool services = false;  // it has the usual ones besides the storage area
  bool good = true;       // it has sent nothing that the protocol does not allow
  std::vector<std::string> routes;
  uint64_t registrations = 0;
  int64_t call_time = 0;
};

class Control : public std::enable_shared_from_this<Control> {
 public:
  explicit Control(Script& script) : script_(script) {}
  int Open();

  Started started;
  int workers = 0;  // that the plugin has asked for and has not got

 private:
  void More(Line& line);
  void Hello(Line& line);
  void Start(Line& line);
  void Life(Line& line);
  void Sent(const Frame& frame);
  void Read(const Frame& frame);

  Script& script_;
  Frames from_engine_, from_plugin_;
  bool greeted_ = false, called_ = false, returned_ = false;
};

// A HELLO that is right most of the time.
std::string HelloOf(Input& in, uint8_t role);

// What a process says.
void Speak(Input& in, Line& line);

}  // namespace fuzz
