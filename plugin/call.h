// One call over one worker connection: the engine drives, we serve, until RETURN.
#pragma once
#include <string>

#include "host.h"
#include "wire.h"

namespace ocs {

struct Call {
  Verb verb;
  const char* uuid;  // 36 characters
  uint16_t type = 0;
  const void* content = nullptr;  // Create: Orthanc's own buffer, valid until the callback returns
  uint64_t size = 0;              // Create: of the content; ReadRange: of the range
  uint64_t start = 0;             // ReadRange
  Result* result = nullptr;       // Read, ReadRange
};

enum class Ending {
  Ok,
  Fault,        // the engine said no; `fault` and `text` say why
  NoMemory,     // Orthanc had no room for the result
  Interrupted,  // the connection ended: the call may be repeated on another
  TimedOut,
  Stopped,  // Orthanc stops
  Broken,   // the engine broke the protocol
};

struct Answer {
  Ending ending = Ending::Broken;
  uint16_t fault = 0;
  std::string text;

  // Whether the connection may carry another call.
  bool reusable() const { return ending == Ending::Ok || ending == Ending::Fault || ending == Ending::NoMemory; }
};

Answer Perform(Channel& channel, const Call& call, Deadline deadline);

// How often a call is tried on engines that die of it.
constexpr int kAttempts = 5;

// What the log says of a call that has ended; may be empty on success.
std::string LineOf(const Call& call, const Answer& answer);

// Reads a payload that is text, cut to what a log line can bear.
Io ReceiveText(Channel& channel, size_t size, std::string* text, Deadline deadline);

}  // namespace ocs
