// Where the engine connects: a socket in a private folder. If somebody cleans the folder away, it is made again.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "wire.h"

namespace ocs {

// Where the socket's folder may be, the best place first. `temporary`: Orthanc's TemporaryDirectory, "" if it is not
// set.
std::vector<std::string> SocketFolders(const std::string& temporary);

class Listener {
 public:
  explicit Listener(std::vector<std::string> bases) : bases_(std::move(bases)) {}
  ~Listener() { Close(); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Listens, and makes the socket again if it is gone. If that fails, tries the next folder. Returns what is wrong, or
  // "".
  std::string Ensure();

  // Whether the socket's file is where Ensure() left it.
  bool Present() const;

  const std::string& path() const { return path_; }
  int fd() const { return socket_.fd(); }

  // The next connection of our own user. Others are sent away. TimedOut: there is none. Broken: see errno.
  Io Accept(Channel* channel);

  void Close();

 private:
  std::string Bind();
  static void Sweep(const std::string& base);

  const std::vector<std::string> bases_;
  std::string folder_;
  std::string path_;
  Channel socket_;
  Channel lock_;  // on the folder, as long as this process lives: a folder without a lock belongs to a dead process
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// A connection that has not said HELLO yet. No thread waits for it: it is read when there may be something to read.
class Greeting {
 public:
  Greeting(Channel channel, Deadline by) : by(by), channel_(std::move(channel)) {}

  // Ok: `hello` has come. TimedOut: not yet. Anything else: it never will.
  Io Read(Header* hello);

  int fd() const { return channel_.fd(); }
  Channel Take() { return std::move(channel_); }

  Deadline by;

 private:
  Channel channel_;
  std::string bytes_;
};

}  // namespace ocs
