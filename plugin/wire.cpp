#include "wire.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace ocs {

namespace {

void Put(uint8_t* bytes, uint64_t value, int count) {
  for (int i = 0; i < count; i++) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
}

uint64_t Get(const uint8_t* bytes, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; i++) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

}  // namespace

void Encode(const Header& header, uint8_t* bytes) {
  Put(bytes, header.length, 4);
  bytes[4] = static_cast<uint8_t>(header.kind);
  bytes[5] = header.flags;
  Put(bytes + 6, header.status, 2);
  Put(bytes + 8, header.argument, 8);
}

bool Decode(const uint8_t* bytes, Header* header) {
  header->length = static_cast<uint32_t>(Get(bytes, 4));
  header->kind = static_cast<Kind>(bytes[4]);
  header->flags = bytes[5];
  header->status = static_cast<uint16_t>(Get(bytes + 6, 2));
  header->argument = Get(bytes + 8, 8);
  return header->length <= kMaxPayload && header->kind >= Kind::Hello && header->kind <= Kind::Metric &&
         header->argument < (1ull << 53);
}

std::string Number(uint64_t value, int bytes) {
  uint8_t little[8];
  Put(little, value, bytes);
  return std::string(reinterpret_cast<const char*>(little), static_cast<size_t>(bytes));
}

void Pack(std::string* payload, const char* text, size_t size) {
  *payload += Number(size, 4);
  payload->append(text, size);
}

bool Unpack(const char* payload, size_t size, size_t* at, std::string* text) {
  if (size - *at < 4) return false;
  const uint64_t length = Get(reinterpret_cast<const uint8_t*>(payload) + *at, 4);
  if (length > size - *at - 4) return false;
  text->assign(payload + *at + 4, length);
  *at += 4 + length;
  return true;
}

Io Await(int fd, short events, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return Io::TimedOut;
    pollfd poll_fd{fd, events, 0};
    const int ready = poll(&poll_fd, 1, static_cast<int>(std::min<long long>(left, 1 << 30)));
    if (ready > 0) return Io::Ok;  // the next read or write reports an error or a hang-up
    if (ready < 0 && errno != EINTR) return Io::Broken;
  }
}

Channel& Channel::operator=(Channel&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = other.fd_;
    other.fd_ = -1;
  }
  return *this;
}

void Channel::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Io Channel::Send(Header header, Slice head, Slice body, Deadline deadline) {
  if (head.size > kMaxPayload || body.size > kMaxPayload - head.size) return Io::TooLarge;
  header.length = static_cast<uint32_t>(head.size + body.size);
  uint8_t bytes[kHeaderBytes];
  Encode(header, bytes);
  iovec parts[3] = {
      {bytes, kHeaderBytes}, {const_cast<void*>(head.data), head.size}, {const_cast<void*>(body.data), body.size}};
  size_t first = 0;
  while (first < 3) {
    msghdr message{};
    message.msg_iov = parts + first;
    message.msg_iovlen = 3 - first;
    const ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        return errno == EPIPE || errno == ECONNRESET ? Io::Closed : Io::Broken;
      const Io io = Await(fd_, POLLOUT, deadline);
      if (io != Io::Ok) return io;
      continue;
    }
    size_t left = static_cast<size_t>(sent);
    while (first < 3 && left >= parts[first].iov_len) left -= parts[first++].iov_len;
    if (first < 3) {
      parts[first].iov_base = static_cast<uint8_t*>(parts[first].iov_base) + left;
      parts[first].iov_len -= left;
    }
  }
  return Io::Ok;
}

Io Channel::Receive(void* bytes, size_t size, Deadline deadline) {
  auto* at = static_cast<uint8_t*>(bytes);
  while (size > 0) {
    const ssize_t got = recv(fd_, at, size, 0);
    if (got == 0) return Io::Closed;
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return errno == ECONNRESET ? Io::Closed : Io::Broken;
      const Io io = Await(fd_, POLLIN, deadline);
      if (io != Io::Ok) return io;
      continue;
    }
    at += got;
    size -= static_cast<size_t>(got);
  }
  return Io::Ok;
}

Io Channel::Discard(size_t size, Deadline deadline) {
  uint8_t scrap[16384];
  Io io = Io::Ok;
  for (; size > 0 && io == Io::Ok; size -= std::min(size, sizeof scrap)) {
    io = Receive(scrap, std::min(size, sizeof scrap), deadline);
  }
  return io;
}

bool Channel::Quiet() const {
  char byte = 0;
  ssize_t got = 0;
  do got = recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

Io Channel::ReceiveHeader(Header* header, Deadline deadline) {
  uint8_t bytes[kHeaderBytes];
  const Io io = Receive(bytes, kHeaderBytes, deadline);
  if (io != Io::Ok) return io;
  return Decode(bytes, header) ? Io::Ok : Io::Broken;
}

}  // namespace ocs
