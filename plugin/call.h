// One call over one worker connection. The engine drives and the plugin serves, until RETURN.
#pragma once
#include <string>

#include "orthanc.h"
#include "wire.h"

namespace ocs {

struct Call {
  Verb verb;
  const char* uuid = nullptr;  // of a file, 36 characters
  uint16_t type = 0;           // of a file's content; Rest: the method
  // Create, Rest: Orthanc's own buffer, valid until the callback returns. Job...: the serialized text.
  const void* content = nullptr;
  uint64_t size = 0;                  // of the content, or of the range
  uint64_t start = 0;                 // of the range
  Result* result = nullptr;           // Read and ReadRange must fill it, Rest and Job... may
  std::string envelope{};             // Rest: the URI; Job...: the job's number
  OrthancApi* api = nullptr;          // null: the engine may ask nothing of Orthanc
  std::chrono::milliseconds time{0};  // how long the call may take; 0: as long as the engine has said
  bool probe = false;                 // Rest: monitors ask it again and again
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
  Fault,        // the engine has refused; `fault` and `text` say why
  NoMemory,     // Orthanc had no room for the result
  Interrupted,  // the connection ended or was not free: the call may be repeated on another one
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

// Performs the call. If it does not end with Ok, nothing of the result is left.
Answer Perform(Channel& channel, const Call& call, Deadline deadline);

// A call is tried on so many engines if they die of it.
constexpr int kAttempts = 5;

// The log line of a call that has ended. It may be empty on success.
std::string LineOf(const Call& call, const Answer& answer);

constexpr size_t kMaxText = 4096;

// Reads a payload that is text, and cuts it to `limit`. More than kMaxText is too long for a log line.
Io ReceiveText(Channel& channel, size_t size, std::string* text, Deadline deadline, size_t limit = kMaxText);

}  // namespace ocs
