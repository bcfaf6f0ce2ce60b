// What the plugin needs of Orthanc, so that everything but plugin.cpp can be tested without it.
#pragma once
#include <cstdint>
#include <memory>
#include <new>
#include <string>

namespace ocs {

enum class LogLevel : uint8_t { Error, Warning, Info };

// What the engine wants of Orthanc beside the storage area; the text says what exactly.
enum class Registration : uint8_t {
  Route = 1,  // a regular expression that the whole URI matches
  JobType,
  Metrics,   // to be asked for values; no text
  Explorer,  // JavaScript for Orthanc Explorer
};

class OrthancCore {
 public:
  virtual ~OrthancCore() = default;
  virtual void Log(LogLevel level, const std::string& line) = 0;
  // Tells Orthanc which HTTP status and message go with a fault number of the engine.
  virtual void RegisterError(uint16_t fault, uint16_t http, const std::string& message) = 0;
  // `asks`: what is registered asks Orthanc's REST API in turn.
  virtual void Register(Registration kind, bool asks, const std::string& text) = 0;
};

// Where the bytes of a read go. Nothing of it reaches Orthanc unless the call succeeds.
class Result {
 public:
  virtual ~Result() = default;
  // Makes room for exactly `size` bytes, when there is none yet. False: there is no memory for it.
  virtual bool Reserve(uint64_t size) = 0;
  // Gives the room back: what was to be there comes anew, or not at all.
  virtual void Drop() = 0;
  // Whether `size` may be reserved at all: a range has a fixed size.
  virtual bool Accepts(uint64_t size) const = 0;
  virtual uint8_t* data() = 0;
};

// A result in memory of our own, for answers and the texts of jobs.
class Bytes : public Result {
 public:
  bool Reserve(uint64_t size) override {
    bytes_.reset(size > kMost ? nullptr : new (std::nothrow) uint8_t[size]);
    size_ = bytes_ == nullptr ? 0 : size;
    return bytes_ != nullptr;
  }
  void Drop() override {
    bytes_.reset();
    size_ = 0;
  }
  bool Accepts(uint64_t) const override { return true; }
  uint8_t* data() override { return bytes_.get(); }
  const char* text() const { return reinterpret_cast<const char*>(bytes_.get()); }
  size_t size() const { return size_; }

 private:
  static constexpr uint64_t kMost = 256u << 20;
  std::unique_ptr<uint8_t[]> bytes_;
  size_t size_ = 0;
};

struct Reply {
  bool stopping = false;  // Orthanc stops and answers nothing any more
  uint16_t http = 0;      // 0: no HTTP status, see `error`
  uint32_t error = 0;     // Orthanc's error code, 0 = none
  std::string body;
};

// What the engine may ask of Orthanc in the middle of a call. Never in a storage callback: Orthanc may hold locks.
class OrthancApi {
 public:
  virtual ~OrthancApi() = default;
  virtual Reply Rest(uint8_t method, const std::string& uri, const std::string& body) = 0;
  // The body of the reply is the job's id. A call submits one job: asked again, after an engine died, it gives the
  // same.
  virtual Reply Submit(int32_t priority, const std::string& content, const std::string& serialized) = 0;
  virtual void Metric(const std::string& name, float value) = 0;
};

}  // namespace ocs
