// Frames and sockets (docs/protocol.md). Knows nothing of calls, engines or Orthanc.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace ocs {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

constexpr uint64_t kProtocol = 6;
constexpr size_t kHeaderBytes = 16;
constexpr uint32_t kMaxPayload = 16u << 20;
constexpr size_t kUuidBytes = 36;
constexpr size_t kInlineBytes = 256u << 10;

enum class Kind : uint8_t {
  Hello = 1,
  Call,
  Return,
  Pull,
  Data,
  Reserve,
  Fill,
  Log,
  ErrorCode,
  Grow,
  Ping,
  Pong,
  Upcall,
  Reply,
  Submit,
  Register,
  Metric
};
enum class Verb : uint8_t {
  Start = 1,
  Create,
  Read,
  ReadRange,
  Remove,
  Stop,
  Rest,
  JobStep,
  JobStop,
  JobReset,
  JobRestore,
  Metrics,
  Background
};

struct Header {
  uint32_t length = 0;
  Kind kind = Kind::Hello;
  uint8_t flags = 0;
  uint16_t status = 0;
  uint64_t argument = 0;
};

inline Header HeaderOf(Kind kind, uint64_t argument = 0, uint8_t flags = 0, uint16_t status = 0) {
  return {0, kind, flags, status, argument};
}

void Encode(const Header& header, uint8_t* bytes);

// False when no engine of ours can have sent this header. Then the connection must be closed.
bool Decode(const uint8_t* bytes, Header* header);

enum class Io {
  Ok,
  Closed,
  TimedOut,
  Broken,
  TooLarge,  // no frame holds it: nothing was sent, and the socket can still be used
};

struct Slice {
  const void* data;
  size_t size;
};

// Appends a packed text to a payload: a u32 length, then the bytes.
void Pack(std::string* payload, const char* text, size_t size);
inline void Pack(std::string* payload, const std::string& text) { Pack(payload, text.data(), text.size()); }

// Takes the packed text that begins at *at, and moves *at to its end. False when there is none.
bool Unpack(const char* payload, size_t size, size_t* at, std::string* text);

// A number as payloads hold it: little-endian.
std::string Number(uint64_t value, int bytes);

// Owns one non-blocking socket. After Closed, TimedOut or Broken it can only be destroyed.
class Channel {
 public:
  Channel() = default;
  explicit Channel(int fd) : fd_(fd) {}
  Channel(Channel&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Channel& operator=(Channel&& other) noexcept;
  ~Channel() { Close(); }

  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void Close();

  // Sends header, head and body in one system call where possible; header.length is set to the size of both.
  Io Send(Header header, Slice head, Slice body, Deadline deadline);
  Io Send(const Header& header, Deadline deadline) { return Send(header, {nullptr, 0}, {nullptr, 0}, deadline); }
  Io ReceiveHeader(Header* header, Deadline deadline);
  Io Receive(void* bytes, size_t size, Deadline deadline);
  Io Discard(size_t size, Deadline deadline);

  // Whether the peer is there and has sent nothing that was not read.
  bool Quiet() const;

 private:
  int fd_ = -1;
};

// Waits until `fd` is ready for `events`. EINTR does not prolong the wait.
Io Await(int fd, short events, Deadline deadline);

}  // namespace ocs
