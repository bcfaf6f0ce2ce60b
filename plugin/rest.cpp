#include "rest.h"

#include <cstring>

#include "wire.h"

namespace ocs {

namespace {

// Not among them: credentials, which are none of the engine's business.
constexpr const char* kHeaders[] = {"accept", "content-type", "host"};

void PackPair(std::string* envelope, const Pairs& pairs, uint32_t i) {
  for (const char* text : {pairs.keys[i], pairs.values[i]}) Pack(envelope, text, std::strlen(text));
}

}  // namespace

std::string EnvelopeOf(const char* uri, const Pairs& query, const Pairs& headers) {
  std::string envelope = Number(query.count, 4);
  Pack(&envelope, uri, std::strlen(uri));
  for (uint32_t i = 0; i < query.count; i++) PackPair(&envelope, query, i);
  for (uint32_t i = 0; i < headers.count; i++)
    for (const char* wanted : kHeaders)
      if (std::strcmp(headers.keys[i], wanted) == 0) PackPair(&envelope, headers, i);
  return envelope;
}

}  // namespace ocs
