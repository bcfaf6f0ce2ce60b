#include "listener.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "process.h"

namespace ocs {

namespace {

constexpr char kFolder[] = "/orthanc-cloud-storage-XXXXXX";
constexpr char kSocket[] = "/engine.sock";
constexpr size_t kMaxVersion = 256;
constexpr time_t kSurelyLocked = 60;  // seconds after which the folder of a living process has its lock

bool IsOurs(const std::string& folder) {
  struct stat status {};
  return stat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid();
}

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::vector<std::string> SocketFolders(const std::string& temporary) {
  std::vector<std::string> folders;
  if (!temporary.empty() && temporary[0] == '/') folders.push_back(temporary);
  // The first comes from systemd and may have several folders. The second comes from a login. Neither may belong to
  // another user.
  std::string runtime = Environment("RUNTIME_DIRECTORY");
  runtime = runtime.substr(0, runtime.find(':'));
  for (const std::string& folder : {runtime, Environment("XDG_RUNTIME_DIR")})
    if (!folder.empty() && IsOurs(folder)) folders.push_back(folder);
  const std::string usual = Environment("TMPDIR");
  if (!usual.empty()) folders.push_back(usual);
  folders.push_back("/tmp");
  folders.push_back("/dev/shm");  // in a container with a read-only root, often the only folder to write in
  return folders;
}

std::string Listener::Ensure() {
  if (socket_.open() && Present()) return "";
  if (!folder_.empty() && Bind().empty()) return "";
  Close();
  std::string problems;
  for (const std::string& base : bases_) {
    Sweep(base);
    std::string folder = base + kFolder;
    std::string problem;
    if (folder.size() + sizeof kSocket > sizeof(sockaddr_un::sun_path)) {
      problem = base + ": its name is too long for a socket";
    } else if (mkdtemp(&folder[0]) == nullptr) {  // of mode 0700
      problem = Errno(base);
    } else {
      folder_ = folder;
      path_ = folder + kSocket;
      problem = Bind();
      if (problem.empty()) return "";
      Close();
    }
    problems += (problems.empty() ? "" : "; ") + problem;
  }
  return "cannot listen for the storage engine in any folder (" + problems +
         "). Set TemporaryDirectory, or TMPDIR in the environment, to the absolute path of a folder in which Orthanc "
         "can write";
}

std::string Listener::Bind() {
  struct stat status {};
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) return Errno(folder_);
  if (lstat(folder_.c_str(), &status) != 0) return Errno(folder_);
  if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0)
    return folder_ + ": it belongs to another user, or others have access";
  lock_ = Channel(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  flock(lock_.fd(), LOCK_EX | LOCK_NB);  // on a file system without locks, Sweep() removes no folder either
  unlink(path_.c_str());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.c_str(), path_.size());
  Channel made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.open() || bind(made.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(made.fd(), 128) != 0 || stat(path_.c_str(), &status) != 0)
    return Errno(path_);
  socket_ = std::move(made);
  device_ = status.st_dev;
  inode_ = status.st_ino;
  return "";
}

// Removes the folders of Orthancs that were killed.
void Listener::Sweep(const std::string& base) {
  DIR* const entries = opendir(base.c_str());
  while (const dirent* const entry = entries != nullptr ? readdir(entries) : nullptr) {
    if (std::strncmp(entry->d_name, kFolder + 1, sizeof kFolder - 1 - sizeof "XXXXXX") != 0) continue;
    const Channel folder(openat(dirfd(entries), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!folder.open() || fstat(folder.fd(), &status) != 0 || status.st_uid != geteuid() ||
        std::time(nullptr) - status.st_mtime < kSurelyLocked || flock(folder.fd(), LOCK_EX | LOCK_NB) != 0)
      continue;
    unlinkat(folder.fd(), kSocket + 1, 0);
    unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
  }
  if (entries != nullptr) closedir(entries);
}

bool Listener::Present() const {
  struct stat status {};
  return stat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
}

Io Listener::Accept(Channel* channel) {
  for (;;) {
    Channel peer(accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer.open()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? Io::TimedOut : Io::Broken;
    }
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (getsockopt(peer.fd(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 || credentials.uid != geteuid())
      continue;
    *channel = std::move(peer);
    return Io::Ok;
  }
}

void Listener::Close() {
  socket_.Close();
  lock_.Close();
  if (folder_.empty()) return;
  unlink(path_.c_str());
  rmdir(folder_.c_str());
  folder_.clear();
  path_.clear();
}

Io Greeting::Read(Header* hello) {
  for (;;) {
    size_t wanted = kHeaderBytes;
    if (bytes_.size() >= kHeaderBytes) {
      if (!Decode(reinterpret_cast<const uint8_t*>(bytes_.data()), hello) || hello->kind != Kind::Hello ||
          hello->length > kMaxVersion)
        return Io::Broken;
      wanted += hello->length;
      if (bytes_.size() == wanted) return Io::Ok;
    }
    char more[kHeaderBytes + kMaxVersion];
    const ssize_t got = recv(channel_.fd(), more, wanted - bytes_.size(), MSG_DONTWAIT);
    if (got == 0) return Io::Closed;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Io::TimedOut : Io::Closed;
    bytes_.append(more, static_cast<size_t>(got));
  }
}

}  // namespace ocs
