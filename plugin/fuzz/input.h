// The fuzzer's bytes as decisions. When none are left, every decision is 0 and empty() ends each script.
// An expression must not make two decisions: compilers differ in their order, and so in what an input means.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace fuzz {

// What must hold for all bytes. The fuzzer keeps the bytes for which it does not hold.
#define MUST(condition)                                                                        \
  do {                                                                                         \
    if (!(condition)) {                                                                        \
      std::fprintf(stderr, "%s:%d: this does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                            \
    }                                                                                          \
  } while (false)

class Input {
 public:
  Input(const uint8_t* bytes, size_t size) : at_(bytes), end_(bytes + size) {}
  bool empty() const { return at_ == end_; }

  uint8_t Byte() { return empty() ? 0 : *at_++; }

  uint64_t Number(int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= static_cast<uint64_t>(Byte()) << (8 * i);
    return value;
  }

  // Small most of the time, but possibly any number.
  uint64_t Size() {
    const uint8_t kind = Byte();
    if (kind < 200) return kind % 100;
    return Number(kind < 230 ? 2 : kind < 245 ? 3 : kind < 250 ? 6 : 8);
  }

  uint64_t Below(uint64_t limit) { return limit == 0 ? 0 : Number(limit <= 256 ? 1 : limit <= 65536 ? 2 : 4) % limit; }

  // `size` bytes: those of the input, then a pattern.
  std::string Text(size_t size) {
    std::string text;
    text.reserve(size);
    while (text.size() < size && !empty()) text += static_cast<char>(*at_++);
    const char pattern[] = "abcdefghijklmnopqrstuvw";
    while (text.size() < size) text.append(pattern, size - text.size() < 23 ? size - text.size() : 23);
    return text;
  }

 private:
  const uint8_t* at_;
  const uint8_t* const end_;
};

}  // namespace fuzz
