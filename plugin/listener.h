// Where the engine connects: a socket in a private folder, which is made anew when somebody cleans it away.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "wire.h"

namespace ocs {

// Where the socket's folder may be, the best first: `temporary` is Orthanc's own TemporaryDirectory, "" if not set.
std::vector<std::string> SocketFolders(const std::string& temporary);

class Listener {
 public:
  explicit Listener(std::vector<std::string> bases) : bases_(std::move(bases)) {}
  ~Listener() { Close(); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Listens, and sees to it that the socket is still where it was. If it cannot be there, it is in the next folder.
  // Returns what is wrong, "" if nothing.
  std::string Ensure();

  // Whether the socket's file is where Ensure() left it.
  bool Present() const;

  const std::string& path() const { return path_; }
  int fd() const { return socket_.fd(); }

  // The next connection of our own user, others are sent away. TimedOut: there is none. Broken: see errno.
  Io Accept(Channel* channel);

  void Close();

 private:
  std::string Bind();
  static void Sweep(const std::string& base);

  const std::vector<std::string> bases_;
  std::string folder_;
  std::string path_;
  Channel socket_;
  Channel lock_;  // of the folder, as long as we live: who holds none is dead
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// A connection that has not said HELLO yet. Nobody waits for it: it is asked when there may be something to read.
class Greeting {
 public:
  Greeting(Channel channel, Deadline by) : by(by), channel_(std::move(channel)) {}

  // Ok: `hello` has come. TimedOut: not yet. Else it never will.
  Io Read(Header* hello);

  int fd() const { return channel_.fd(); }
  Channel Take() { return std::move(channel_); }

  Deadline by;

 private:
  Channel channel_;
  std::string bytes_;
};

}  // namespace ocs
