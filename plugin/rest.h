// REST requests, as Orthanc hands them to a plugin and as the engine reads them.
#pragma once
#include <cstdint>
#include <string>

namespace ocs {

// Names and values, as Orthanc's structures hold them; all of it is Orthanc's.
struct Pairs {
  uint32_t count = 0;
  const char* const* keys = nullptr;
  const char* const* values = nullptr;
};

// The envelope of a REST call: the URI, the query, and of the headers those that an answer may depend on.
std::string EnvelopeOf(const char* uri, const Pairs& query, const Pairs& headers);

inline bool IsHttpStatus(uint64_t number) { return number >= 100 && number <= 599; }

// How RETURN's flags say what kind of answer a REST call has.
enum class AnswerKind : uint8_t {
  Body = 0,              // argument: HTTP status; text: content type
  Error = 1,             // argument: Orthanc's error code; text: details for its JSON answer
  MethodNotAllowed = 2,  // text: the methods that are
};

}  // namespace ocs
