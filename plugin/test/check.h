// What the tests of the native half share: no framework, one macro.
#pragma once
#include <cstdio>
#include <string>
#include <vector>

#include "../call.h"

extern int failures;
extern std::string fake_engine;  // path of the program that plays the engine
extern std::string frames_file;  // test/vectors/frames.txt
constexpr char kUuid[] = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      std::printf("%s:%d: this does not hold: %s\n", __FILE__, __LINE__, #condition); \
      failures++;                                                                     \
    }                                                                                 \
  } while (false)

// This measures nothing. It only ends a broken run.
constexpr std::chrono::minutes kGiveUp{5};
inline ocs::Deadline Soon() { return ocs::Clock::now() + kGiveUp; }

struct Test {
  const char* name;
  void (*run)();
};
#define TEST(name) \
  { #name, name }

extern const std::vector<Test> kWireTests;
extern const std::vector<Test> kCallTests;
extern const std::vector<Test> kEngineTests;
extern const std::vector<Test> kStandingTests;
extern const std::vector<Test> kSocketTests;
extern const std::vector<Test> kServicesTests;
extern const std::vector<Test> kJobTests;
extern const std::vector<Test> kLibraryTests;

// The result of a read in these tests: memory that can be refused, or that has a fixed size.
class Buffer : public ocs::Result {
 public:
  explicit Buffer(bool memory = true, int64_t fixed = -1) : memory_(memory), fixed_(fixed) {}
  bool Reserve(uint64_t size) override {
    bytes.resize(size);
    reserved++;
    return memory_;
  }
  void Drop() override {
    bytes.clear();
    dropped++;
  }
  bool Accepts(uint64_t size) const override { return fixed_ < 0 || size == static_cast<uint64_t>(fixed_); }
  uint8_t* data() override { return reinterpret_cast<uint8_t*>(&bytes[0]); }
  std::string bytes;
  int reserved = 0;
  int dropped = 0;

 private:
  bool memory_;
  int64_t fixed_;
};

inline ocs::Call CreateOf(const std::string& content) {
  ocs::Call call{ocs::Verb::Create, kUuid};
  call.type = 1;
  call.content = content.data();
  call.size = content.size();
  return call;
}
