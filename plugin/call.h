// One call over one worker connection: the engine drives, we serve, until RETURN.
#pragma once
#include <string>

#include "orthanc.h"
#include "wire.h"

namespace ocs {

struct Call {
  Verb verb;
  const char* uuid = nullptr;  // of a file, 36 characters
  uint16_t type = 0;           // of a file's content; Rest: the method
  const void* content =
      nullptr;                // Create, Rest: Orthanc's own buffer, valid until the callback returns; Job...: its text
  uint64_t size = 0;          // of the content; ReadRange: of the range
  uint64_t start = 0;         // ReadRange
  Result* result = nullptr;   // Read, ReadRange must fill it; Rest and Job... may
  std::string envelope{};     // Rest, Job...: comes before the content
  OrthancApi* api = nullptr;  // null: the engine may ask nothing of Orthanc
  std::chrono::milliseconds time{0};  // how long it may take; 0: as long as the engine said at its start
};

inline bool IsHttpStatus(uint64_t number) { return number >= 100 && number <= 599; }

// What kind of answer a REST call has: the flags of its RETURN.
enum class AnswerKind : uint8_t {
  Body = 0,              // argument: HTTP status; text: content type
  Error = 1,             // argument: Orthanc's error code; text: details for its JSON answer
  MethodNotAllowed = 2,  // text: the methods that are allowed
};

enum class Ending {
  Ok,
  Fault,        // the engine said no; `fault` and `text` say why
  NoMemory,     // Orthanc had no room for the result
  Interrupted,  // the connection ended, or was not free for this call: it may be repeated on another
  TimedOut,
  Stopped,   // Orthanc stops
  Down,      // the engine cannot start; `text` says why
  TooLarge,  // the request is larger than a frame
  Broken,    // the engine broke the protocol
};

struct Answer {
  Ending ending = Ending::Broken;
  uint16_t fault = 0;
  uint8_t flags = 0;      // of RETURN, by verb
  uint64_t argument = 0;  // likewise
  std::string text;

  static Answer Ended(Ending ending) {
    Answer answer;
    answer.ending = ending;
    return answer;
  }

  // Whether the connection may carry another call.
  bool reusable() const {
    return ending == Ending::Ok || ending == Ending::Fault || ending == Ending::NoMemory || ending == Ending::TooLarge;
  }
};

// Unless it ends with Ok, nothing of the result is left.
Answer Perform(Channel& channel, const Call& call, Deadline deadline);

// How often a call is tried on engines that die of it.
constexpr int kAttempts = 5;

// What the log says of a call that has ended; may be empty on success.
std::string LineOf(const Call& call, const Answer& answer);

constexpr size_t kMaxText = 4096;

// Reads a payload that is text, cut to what a log line can bear, or to `limit`.
Io ReceiveText(Channel& channel, size_t size, std::string* text, Deadline deadline, size_t limit = kMaxText);

}  // namespace ocs
