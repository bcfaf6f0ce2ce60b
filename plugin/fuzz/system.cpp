#include "system.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>

#include "input.h"

namespace fuzz {

namespace {

constexpr int kFirst = 1'000'000;  // above every descriptor of the kernel's
constexpr pid_t kProcess = 2'000'000'000;
constexpr uint64_t kMostReads = 5'000;  // of a pipe without a look at anything else: there would be no end to it
int next = kFirst;

// Whether this call is one that the system disturbs.
bool Disturbed() {
  if (os->stutter == 0 || ++os->stutters % os->stutter != 0) return false;
  errno = os->stutters / os->stutter % 2 == 0 ? EINTR : EAGAIN;
  return true;
}

// Of a large message it is larger: what a boundary can break, 64 of them break.
size_t Portion(size_t size) {
  return os->portion == 0 ? size : std::min<size_t>(size, std::max<size_t>(os->portion, size / 64));
}

Line* Find(int fd) {
  if (os == nullptr || fd < kFirst) return nullptr;
  const auto found = os->lines.find(fd);
  MUST(found != os->lines.end());  // else a descriptor is used that was closed
  return &found->second;
}

ssize_t Read(Line& line, void* bytes, size_t size, int flags) {
  if (Disturbed()) {
    if ((flags & MSG_DONTWAIT) != 0) errno = EINTR;  // a read that does not wait gets this, not EAGAIN
    return -1;
  }
  if (line.at == line.inbox.size()) line.inbox.clear(), line.at = 0;
  if ((flags & MSG_PEEK) == 0 && line.inbox.empty() && !line.closed && !line.reset && !line.silent && line.pause == 0)
    line.more(line);
  if (line.inbox.empty() || line.pause > 0) {
    errno = line.reset ? ECONNRESET : EAGAIN;
    return line.closed && line.pause == 0 ? 0 : -1;
  }
  const size_t part = std::min(Portion(size), line.left());
  std::memcpy(bytes, line.inbox.data() + line.at, part);
  if ((flags & MSG_PEEK) != 0) return static_cast<ssize_t>(part);
  line.at += part;
  if (line.left() == 0) std::swap(line.pause, line.rest);
  line.took(static_cast<const char*>(bytes), part);
  return static_cast<ssize_t>(part);
}

}  // namespace

System* os = nullptr;

System::System() {
  os = this;
  next = kFirst;
}

System::~System() {
  os = nullptr;
  MUST(lines.empty());  // else a descriptor was never closed
}

int System::Open(Line line) {
  lines.emplace(next, std::move(line));
  return next++;
}

}  // namespace fuzz

using fuzz::Find;
using fuzz::Line;
using fuzz::os;

extern "C" {

ssize_t __real_recv(int, void*, size_t, int);
ssize_t __wrap_recv(int fd, void* bytes, size_t size, int flags) {
  Line* const line = Find(fd);
  return line != nullptr ? fuzz::Read(*line, bytes, size, flags) : __real_recv(fd, bytes, size, flags);
}

ssize_t __real_read(int, void*, size_t);
ssize_t __wrap_read(int fd, void* bytes, size_t size) {
  Line* const line = Find(fd);
  if (line == nullptr) return __real_read(fd, bytes, size);
  MUST(++os->reads < fuzz::kMostReads);
  return fuzz::Read(*line, bytes, size, 0);
}

ssize_t __real_sendmsg(int, const msghdr*, int);
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
  Line* const line = Find(fd);
  if (line == nullptr) return __real_sendmsg(fd, message, flags);
  if (fuzz::Disturbed()) return -1;
  if (line->closed || line->reset) {
    errno = line->closed ? EPIPE : ECONNRESET;
    return -1;
  }
  size_t size = 0;
  for (size_t i = 0; i < message->msg_iovlen; i++) size += message->msg_iov[i].iov_len;
  const size_t part = fuzz::Portion(size);
  std::string bytes;
  for (size_t i = 0; bytes.size() < part; i++)
    bytes.append(static_cast<const char*>(message->msg_iov[i].iov_base),
                 std::min(message->msg_iov[i].iov_len, part - bytes.size()));
  line->got(bytes.data(), part);
  return static_cast<ssize_t>(part);
}

int __real_poll(pollfd*, nfds_t, int);
int __wrap_poll(pollfd* fds, nfds_t count, int timeout) {
  if (os == nullptr) return __real_poll(fds, count, timeout);
  os->reads = 0;
  int ready = 0;
  int64_t passed = timeout;
  for (nfds_t i = 0; i < count; i++) {
    fds[i].revents = 0;
    if (fds[i].fd < 0) continue;
    Line* const line = Find(fds[i].fd);
    bool is_ready = line == nullptr ? os->someone() : (fds[i].events & POLLOUT) != 0 || !line->silent;
    if (line != nullptr && line->pause > 0 && (fds[i].events & POLLOUT) == 0) {
      is_ready = line->pause <= timeout;
      passed = is_ready ? std::min(passed, line->pause) : passed;
      line->pause -= std::min<int64_t>(line->pause, timeout);
    }
    if (!is_ready) continue;
    fds[i].revents = fds[i].events;
    ready++;
  }
  if (ready == 0 || passed < timeout) os->now += std::max<int64_t>(passed, 1) * 1'000'000;
  return ready;
}

int __real_close(int);
int __wrap_close(int fd) {
  if (Find(fd) == nullptr) return __real_close(fd);
  os->lines.erase(fd);
  return 0;
}

int __real_accept4(int, sockaddr*, socklen_t*, int);
int __wrap_accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  if (os == nullptr) return __real_accept4(fd, address, size, flags);
  const int accepted = os->accept();
  if (accepted < 0) errno = accepted == -1 ? EAGAIN : EMFILE;
  return accepted < 0 ? -1 : accepted;
}

int __real_getsockopt(int, int, int, void*, socklen_t*);
int __wrap_getsockopt(int fd, int level, int name, void* value, socklen_t* size) {
  if (Find(fd) == nullptr) return __real_getsockopt(fd, level, name, value, size);
  MUST(name == SO_PEERCRED);
  static_cast<ucred*>(value)->uid = geteuid();
  return 0;
}

// The pipe from a process has no other options than this one.
int __real_pipe2(int*, int);
int __wrap_pipe2(int* ends, int flags) {
  if (os == nullptr || (flags & O_NONBLOCK) != 0) return __real_pipe2(ends, flags);
  Line line;
  os->process(line);
  ends[0] = os->Open(std::move(line));
  ends[1] = os->Open(Line());
  return 0;
}

pid_t __real_fork();
pid_t __wrap_fork() { return os == nullptr ? __real_fork() : fuzz::kProcess; }

pid_t __real_waitpid(pid_t, int*, int);
pid_t __wrap_waitpid(pid_t pid, int* status, int options) {
  if (pid != fuzz::kProcess) return __real_waitpid(pid, status, options);
  *status = 0;
  return pid;
}

int __real_kill(pid_t, int);
int __wrap_kill(pid_t pid, int signal) { return pid == fuzz::kProcess ? 0 : __real_kill(pid, signal); }

int __real_nanosleep(const timespec*, timespec*);
int __wrap_nanosleep(const timespec* time, timespec* left) {
  if (os == nullptr) return __real_nanosleep(time, left);
  os->now += time->tv_sec * 1'000'000'000 + time->tv_nsec;
  return 0;
}

// A thread that waits for what the supervisor does: it does it itself.
int __real_pthread_cond_clockwait(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*);
int __wrap_pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                                  const timespec* until) {
  if (os == nullptr) return __real_pthread_cond_clockwait(condition, mutex, clock, until);
  pthread_mutex_unlock(mutex);
  const bool busy = os->turn();
  pthread_mutex_lock(mutex);
  if (!busy) os->now = std::max<int64_t>(os->now, until->tv_sec * 1'000'000'000 + until->tv_nsec);
  return busy ? 0 : ETIMEDOUT;
}
}

// std::chrono::steady_clock::now(), which is no C.
using Now = std::chrono::steady_clock::time_point;
Now RealNow() asm("__real__ZNSt6chrono3_V212steady_clock3nowEv");
Now FuzzedNow() asm("__wrap__ZNSt6chrono3_V212steady_clock3nowEv");
Now FuzzedNow() { return os == nullptr ? RealNow() : Now(std::chrono::nanoseconds(os->now)); }
