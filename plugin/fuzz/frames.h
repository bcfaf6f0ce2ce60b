// Frames, read and written by other code than the plugin's own, so that the two can be compared (docs/protocol.md).
#pragma once
#include <cstdint>
#include <string>

namespace fuzz {

constexpr uint64_t kProtocolNumber = 6;

struct Frame {
  uint32_t length = 0;
  uint8_t kind = 0;
  uint8_t flags = 0;
  uint16_t status = 0;
  uint64_t argument = 0;
  std::string payload;
};

inline std::string Little(uint64_t value, int bytes) {
  std::string text;
  for (; bytes > 0; bytes--, value >>= 8) text += static_cast<char>(value & 0xff);
  return text;
}

inline uint64_t FromLittle(const std::string& bytes, size_t at, size_t count) {
  uint64_t value = 0;
  for (size_t i = count; i > 0; i--) value = value << 8 | static_cast<uint8_t>(bytes[at + i - 1]);
  return value;
}

inline std::string Packed(const std::string& text) { return Little(text.size(), 4) + text; }

// Both texts, if the payload is those and nothing else.
inline bool TwoTexts(const std::string& payload, std::string* first, std::string* second) {
  if (payload.size() < 4) return false;
  const uint64_t one = FromLittle(payload, 0, 4);
  if (payload.size() < 8 + one) return false;
  const uint64_t two = FromLittle(payload, 4 + one, 4);
  if (payload.size() != 8 + one + two) return false;
  *first = payload.substr(4, one);
  *second = payload.substr(8 + one);
  return true;
}

inline std::string BytesOf(uint8_t kind, uint8_t flags, uint16_t status, uint64_t argument,
                           const std::string& payload = "") {
  return Little(payload.size(), 4) + Little(kind, 1) + Little(flags, 1) + Little(status, 2) + Little(argument, 8) +
         payload;
}

// Takes bytes as they pass, and hands over whole frames.
class Frames {
 public:
  template <typename OnFrame>
  void Take(const char* bytes, size_t size, OnFrame on_frame) {
    while (size > 0 && !broken_) {
      const size_t wanted = pending_.size() < 16 ? 16 : 16 + frame_.length;
      const size_t part = size < wanted - pending_.size() ? size : wanted - pending_.size();
      pending_.append(bytes, part);
      bytes += part;
      size -= part;
      if (pending_.size() == 16 && wanted == 16) Header();
      if (broken_ || pending_.size() < 16 || pending_.size() != 16 + frame_.length) continue;
      frame_.payload = pending_.substr(16);
      pending_.clear();
      on_frame(frame_);
    }
  }

  bool broken() const { return broken_; }  // by a header that no frame has
  bool between() const { return pending_.empty(); }

 private:
  void Header() {
    frame_.length = static_cast<uint32_t>(FromLittle(pending_, 0, 4));
    frame_.kind = static_cast<uint8_t>(pending_[4]);
    frame_.flags = static_cast<uint8_t>(pending_[5]);
    frame_.status = static_cast<uint16_t>(FromLittle(pending_, 6, 2));
    frame_.argument = FromLittle(pending_, 8, 8);
    broken_ = frame_.length > 16777216 || frame_.kind < 1 || frame_.kind > 17 || frame_.argument > 9007199254740991;
  }

  std::string pending_;
  Frame frame_;
  bool broken_ = false;
};

}  // namespace fuzz
