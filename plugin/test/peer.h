// The engine's side of one call, as a script.
#pragma once
#include <sys/socket.h>

#include <functional>
#include <thread>

#include "check.h"

namespace ocs {

// The engine's end of a connection, as a script of what it sends and reads.
class Peer {
 public:
  explicit Peer(Channel channel) : channel_(std::move(channel)) {}
  Header Receive(std::string* payload = nullptr) {
    Header header;
    if (channel_.ReceiveHeader(&header, Soon()) != Io::Ok) return header;
    std::string bytes(header.length, '\0');
    channel_.Receive(&bytes[0], bytes.size(), Soon());
    if (payload != nullptr) *payload = bytes;
    return header;
  }
  void Send(Kind kind, uint64_t argument = 0, const std::string& payload = "", uint16_t status = 0, uint8_t flags = 0) {
    Header header;
    header.kind = kind;
    header.flags = flags;
    header.argument = argument;
    header.status = status;
    channel_.Send(header, {payload.data(), payload.size()}, {nullptr, 0}, Soon());
  }
  std::string Pull(uint64_t offset, uint32_t length) {
    std::string wanted(4, '\0'), bytes;
    for (int i = 0; i < 4; i++) wanted[i] = static_cast<char>(length >> (8 * i));
    Send(Kind::Pull, offset, wanted);
    CHECK(Receive(&bytes).kind == Kind::Data);
    return bytes;
  }
  void PullInVain(uint64_t offset, uint32_t length) {
    std::string wanted(4, '\0');
    for (int i = 0; i < 4; i++) wanted[i] = static_cast<char>(length >> (8 * i));
    Send(Kind::Pull, offset, wanted);
  }
  // Sends until nobody reads any more.
  void SendWithoutEnd(Kind kind, uint64_t argument, const std::string& payload) {
    Header header;
    header.kind = kind;
    header.argument = argument;
    while (channel_.Send(header, {payload.data(), payload.size()}, {nullptr, 0}, Soon()) == Io::Ok) continue;
  }
  void SendRaw(const std::string& bytes) { CHECK(send(channel_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0); }

 private:
  Channel channel_;
};

inline Answer Played(const Call& call, const std::function<void(Peer&)>& script,
                     std::chrono::milliseconds time = kGiveUp) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) return Answer();
  Channel channel(fds[0]);
  std::thread engine([&script, fd = fds[1]] {
    Peer peer{Channel(fd)};
    script(peer);
  });
  const Answer answer = Perform(channel, call, Clock::now() + time);
  channel.Close();
  engine.join();
  return answer;
}

}  // namespace ocs
