// What the plugin needs of Orthanc. Everything but plugin.cpp, services.cpp and sdk.cpp can be tested without it.
#pragma once
#include <cstdint>
#include <memory>
#include <new>
#include <string>

namespace ocs {

enum class LogLevel : uint8_t { Error, Warning, Info };

// What the engine registers with Orthanc besides the storage area. A text says more.
enum class Registration : uint8_t {
  Route = 1,  // a regular expression that the whole URI matches
  JobType,
  Metrics,   // no text: Orthanc asks for values
  Explorer,  // JavaScript for Orthanc Explorer
  // On the socket this is a route with a bit. As Route, but monitors ask: it answers 503 when the engine is silent.
  Probe,
};

// Orthanc itself: it logs and registers.
class OrthancCore {
 public:
  virtual ~OrthancCore() = default;
  // By default the place in our source is that of the caller.
  virtual void Log(LogLevel level, const std::string& text, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) = 0;
  // Names this thread in the log. nullptr: the thread ends.
  virtual void NameThread(const char* name) = 0;
  // Registers the HTTP status and the message of a fault of the engine.
  virtual void RegisterError(uint16_t fault, uint16_t http, const std::string& message) = 0;
  // `asks`: what is registered sends upcalls, that is, it asks Orthanc's REST API in turn.
  virtual void Register(Registration kind, bool asks, const std::string& text) = 0;
};

// Where the bytes of a result go. They reach Orthanc only if the call succeeds.
class Result {
 public:
  virtual ~Result() = default;
  // Allocates exactly `size` bytes, at first or after Drop(). False: there is no memory for them.
  virtual bool Reserve(uint64_t size) = 0;
  // Frees that memory. The result begins again, or does not come at all.
  virtual void Drop() = 0;
  // Whether the result may have this size: that of a range is fixed.
  virtual bool Accepts(uint64_t size) const = 0;
  virtual uint8_t* data() = 0;
};

// A result in memory of our own: an answer, or the texts of a job.
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
  bool stopping = false;  // Orthanc stops and answers no more
  uint16_t http = 0;      // the HTTP status; 0: there is none, see `error`
  uint32_t error = 0;     // Orthanc's error code, 0 = none
  std::string body;
};

// What the engine may ask of Orthanc in the middle of a call. Never in a storage callback: Orthanc may hold locks.
class OrthancApi {
 public:
  virtual ~OrthancApi() = default;
  virtual Reply Rest(uint8_t method, const std::string& uri, const std::string& body) = 0;
  // The body of the reply is the job's id. A call submits one job: asked again, by the next engine, this gives the same
  // id.
  // `type`: the number of a registered job type, from 0 on.
  virtual Reply Submit(uint8_t type, int32_t priority, const std::string& content, const std::string& serialized) = 0;
  virtual void Metric(const std::string& name, int64_t value) = 0;
};

}  // namespace ocs
