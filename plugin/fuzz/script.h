// The engine as the fuzzer plays it, at the other end of the plugin's connections, and what must come of that by
// docs/protocol.md.
#pragma once
#include <deque>
#include <memory>
#include <string>

#include "frames.h"
#include "input.h"
#include "system.h"

namespace fuzz {

enum Kind : uint8_t {
  kHello = 1,
  kCall,
  kReturn,
  kPull,
  kData,
  kReserve,
  kFill,
  kLog,
  kErrorCode,
  kGrow,
  kPing,
  kPong,
  kUpcall,
  kReply,
  kSubmit,
  kRegister,
  kMetric
};
enum Verb : uint8_t {
  kStart = 1,
  kCreate,
  kRead,
  kReadRange,
  kRemove,
  kStop,
  kRest,
  kJobStep,
  kJobStop,
  kJobReset,
  kJobRestore,
  kMetrics,
  kBackground
};

constexpr uint64_t kInline = 262'144;
constexpr int64_t kEver = INT64_MAX;

// Two packed texts.
std::string Two(Input& in);

inline bool IsJob(uint8_t verb) { return verb >= kJobStep && verb <= kJobRestore; }

// A call as Orthanc makes it.
struct Calling {
  uint8_t verb = 0;  // 0: nothing
  uint16_t status = 0;
  uint64_t argument = 0;
  std::string payload;     // of CALL; without the number of a job
  std::string content;     // what may be pulled
  bool result = false;     // the call may have one
  bool demanded = false;   // the call is no success without one
  int64_t fixed = -1;      // its only size
  bool asks = false;       // the engine may ask Orthanc
  int64_t time = 300'000;  // ms

  void Bring(const std::string& bytes) {
    content = bytes;
    argument = bytes.size();
    if (bytes.size() <= kInline) payload += bytes;
  }
};

// What the engine has answered, as the plugin has read it.
struct Outcome {
  bool returned = false;  // in order and complete
  bool ok = false;        // and with a success
  bool certain = false;   // and nothing stands in the way
  uint8_t verb = 0;
  uint16_t fault = 0;
  uint8_t flags = 0;
  uint64_t argument = 0;
  std::string text;
  bool begun = false;  // there is a result
  std::string result;
};

// What the engine asks of Orthanc.
struct Asked {
  uint8_t kind = 0;
  uint8_t method = 0;
  int64_t priority = 0;
  std::string first, second;
  int64_t value = 0;  // of a metric
};

class Script {
 public:
  explicit Script(Input& input);

  void Begin(Calling call);
  int OpenWorker(std::string hello);

  Input& in;
  System system;
  std::string start;  // what START must bring
  Calling calling;
  Outcome outcome;
  std::pair<std::string, std::string> texts;  // of the job that is called: content and serialized, as they must be
  bool refused = false;                       // Orthanc had no memory, in this call
  int64_t call_time = 300'000;                // ms, as START's RETURN said
  bool stopping = false;                      // Orthanc
  std::string submitted;                      // the id of the job that this call has submitted
  std::deque<Asked> asked;                    // not yet by the plugin
  std::deque<Frame> owed;                     // what the plugin must send next
};

// One worker connection.
class Worker : public std::enable_shared_from_this<Worker> {
 public:
  explicit Worker(Script& script) : script_(script) {}
  int Open(std::string hello);

 private:
  void More(Line& line);
  void Took(const char* bytes, size_t size);
  void Got(const Frame& frame);
  void Read(const Frame& frame);
  void Greet(const Frame& frame);
  bool Fits(const Frame& frame);
  bool Ask(const Frame& frame);
  void Return(const Frame& frame);
  void Result(uint64_t size);
  void Send(uint8_t kind, uint64_t argument = 0, const std::string& payload = "", uint16_t status = 0,
            uint8_t flags = 0);
  void SendOk(const std::string& text);

  Script& script_;
  int fd_ = -1;
  Frames from_engine_, from_plugin_;
  bool greeted_ = false;  // by the HELLO of a worker
  bool in_call_ = false;
  bool bad_ = false;   // the engine has broken the protocol
  size_t stale_ = 0;   // bytes that lay there before the call
  int64_t until_ = 0;  // the call's deadline, ns
  int calls_ = 0;
  int late_ = 0;  // frames after it
  Calling call_;  // the one that runs here
  bool begun_ = false;
  uint64_t size_ = 0;
  std::string result_;
};

}  // namespace fuzz
