// Where the engine connects, and what happens when that place is cleaned away, cannot be used or accepts nobody.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <ctime>

#include "../listener.h"
#include "stage.h"

using namespace ocs;
using std::chrono::milliseconds;

namespace {

// What a cleaner of /tmp does.
void Clean(const Folder& folder) {
  for (const std::string& name : folder.Names()) {
    const std::string place = folder.path() + "/" + name;
    unlink((place + "/engine.sock").c_str());
    rmdir(place.c_str());
  }
}

bool CanConnect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  Channel channel(socket(AF_UNIX, SOCK_STREAM, 0));
  return connect(channel.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

void TakesTheFirstFolderThatCanBeUsed() {
  Folder folder;
  const std::string too_long = folder.path() + std::string(100, 'x');
  Listener listener({"/nowhere", too_long, folder.path(), "/tmp"});
  CHECK(listener.Ensure().empty() && listener.path().rfind(folder.path() + "/orthanc-cloud-storage-", 0) == 0);
  struct stat status {};
  CHECK(stat((folder.path() + "/" + folder.Names().at(0)).c_str(), &status) == 0 && (status.st_mode & 0777) == 0700);
  CHECK(CanConnect(listener.path()));

  const std::string problem = Listener({"/nowhere", too_long}).Ensure();
  CHECK(problem.find("/nowhere: No such file or directory; " + too_long + ": its name is too long") !=
        std::string::npos);
  CHECK(problem.find("Set TemporaryDirectory") != std::string::npos && problem.find('\n') == std::string::npos);
}

void VanishedSocketIsMadeAnewInItsPlaceOrTheNext() {
  Folder folder, next;
  {
    const std::string gone = folder.path() + "/gone";
    CHECK(mkdir(gone.c_str(), 0700) == 0);
    Listener listener({gone, next.path()});
    CHECK(listener.Ensure().empty() && listener.Present());
    const std::string first = listener.path();
    CHECK(unlink(first.c_str()) == 0 && !listener.Present());
    CHECK(listener.Ensure().empty() && listener.path() == first && listener.Present() && CanConnect(first));
    unlink(first.c_str()), rmdir(first.substr(0, first.rfind('/')).c_str());
    CHECK(listener.Ensure().empty() && listener.path() == first && CanConnect(first));
    // Another file in its place is not ours.
    unlink(first.c_str());
    CHECK(mknod(first.c_str(), S_IFREG | 0600, 0) == 0 && !listener.Present());
    CHECK(listener.Ensure().empty() && CanConnect(first));
    unlink(first.c_str()), rmdir(first.substr(0, first.rfind('/')).c_str());
    CHECK(rmdir(gone.c_str()) == 0);
    CHECK(listener.Ensure().empty() && listener.path().rfind(next.path(), 0) == 0 && CanConnect(listener.path()));
  }
  CHECK(next.Names().empty());
}

void FoldersAreThoseOfOrthancThenOfTheSystem() {
  Folder folder;
  setenv("RUNTIME_DIRECTORY", (folder.path() + ":/run/other").c_str(), 1);
  setenv("XDG_RUNTIME_DIR", "/nowhere", 1);
  setenv("TMPDIR", "/tmp/x", 1);
  CHECK((SocketFolders("/orthancs") ==
         std::vector<std::string>{"/orthancs", folder.path(), "/tmp/x", "/tmp", "/dev/shm"}));
  for (const char* name : {"RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "TMPDIR"}) unsetenv(name);
  CHECK((SocketFolders("relative") == std::vector<std::string>{"/tmp", "/dev/shm"}));
}

// The folder of a socket that its Orthanc left so long ago.
std::string Left(const Folder& in, const std::string& end, time_t seconds) {
  const std::string folder = in.path() + "/orthanc-cloud-storage-" + end;
  const timespec time{std::time(nullptr) - seconds, 0};
  const timespec both[2] = {time, time};
  mkdir(folder.c_str(), 0700);
  CHECK(mknod((folder + "/engine.sock").c_str(), S_IFREG | 0600, 0) == 0 || errno == EEXIST);
  CHECK(utimensat(AT_FDCWD, folder.c_str(), both, 0) == 0);
  return folder;
}

void RemovesWhatAKilledOrthancLeft() {
  Folder folder;
  {
    Listener other({folder.path()});
    CHECK(other.Ensure().empty());
    CHECK(unlink(other.path().c_str()) == 0 && other.Ensure().empty());  // in the same folder, whose lock stays
    const std::string name = other.path().substr(0, other.path().rfind('/'));
    Left(folder, name.substr(name.rfind('-') + 1), 1'000);  // it is old, but lives
    Left(folder, "killed", 1'000);
    const std::string starts = Left(folder, "starts", 5);
    const std::string strange = Left(folder, "strang", 1'000);
    const std::string something = strange + "/something";
    CHECK(mknod(something.c_str(), S_IFREG | 0600, 0) == 0);
    Left(folder, "strang", 1'000);
    CHECK(Left(folder, "link", 1'000) != "" &&
          rename((folder.path() + "/orthanc-cloud-storage-link").c_str(), (folder.path() + "/elsewhere").c_str()) == 0);
    CHECK(symlink("elsewhere", (folder.path() + "/orthanc-cloud-storage-link").c_str()) == 0);
    {
      Listener ours({folder.path()});
      CHECK(ours.Ensure().empty());
      CHECK(other.Present() && CanConnect(other.path()) && ours.Present());
      CHECK(folder.Names().size() == 6);  // two that live, one that starts, what is nobody's, and the link
      CHECK(access(something.c_str(), F_OK) == 0 &&
            access((folder.path() + "/elsewhere/engine.sock").c_str(), F_OK) == 0);
    }
    unlink(something.c_str()), unlink((folder.path() + "/orthanc-cloud-storage-link").c_str());
    for (const std::string& place : {starts, strange, folder.path() + "/elsewhere"}) {
      unlink((place + "/engine.sock").c_str());
      CHECK(rmdir(place.c_str()) == 0);
    }
  }
  CHECK(folder.Names().empty());
}

void CallsGoOnWhenTheSocketHasVanished() {
  Folder next;
  for (const bool noticed_in_time : {false, true}) {
    Stage stage("works");
    const std::string first = stage.folder.path() + "/first";
    CHECK(mkdir(first.c_str(), 0700) == 0);
    stage.settings.folders = {first, next.path()};
    if (!noticed_in_time) stage.settings.ping_every = std::chrono::hours(1);  // a call is the first to notice
    CHECK(stage.Start() == Engine::Started::On);
    {
      DIR* const folder = opendir(first.c_str());
      while (const dirent* const entry = readdir(folder)) {
        const std::string place = first + "/" + entry->d_name;
        if (entry->d_name[0] == '.') continue;
        CHECK(unlink((place + "/engine.sock").c_str()) == 0 && rmdir(place.c_str()) == 0);
      }
      closedir(folder);
    }
    if (noticed_in_time)
      stage.core.Await("W the storage engine's socket was removed");
    else
      CHECK(rmdir(first.c_str()) == 0);  // not even its place is left
    CHECK(stage.Write().ending == Ending::Ok);
    CHECK(stage.core.Count("W the storage engine's socket was removed") == 1);
    CHECK(!stage.core.Said("started again") && stage.core.Count("E ") == 0);
    CHECK(next.Names().empty() == noticed_in_time);
    stage.engine.reset();
    rmdir(first.c_str());
  }
}

void NextEngineConnectsThoughTheSocketHadVanished() {
  Stage stage("dies-once");
  stage.settings.ping_every = std::chrono::hours(1);
  CHECK(stage.Start() == Engine::Started::On);
  Buffer buffer;
  std::atomic<bool> cleaned{false};
  stage.core.on_log = [&stage, &cleaned](const std::string& line) {
    if (line.find("is started again") != std::string::npos && !cleaned.exchange(true)) Clean(stage.folder);
  };
  CHECK(stage.Write().ending == Ending::Ok && cleaned);
}

void NoDescriptorsLeftIsSaidOnceAndEnds() {
  Stage stage("works");
  CHECK(stage.Start() == Engine::Started::On);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const int highest = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const rlimit none{static_cast<rlim_t>(highest), before.rlim_max};
  close(highest);
  setrlimit(RLIMIT_NOFILE, &none);
  std::thread caller([&stage] { CHECK(stage.Write().ending == Ending::Ok); });
  stage.core.Await("E a connection of the storage engine cannot be accepted: Too many open files");
  std::this_thread::sleep_for(milliseconds(50));  // long enough for a loop without a pause to say it a thousand times
  CHECK(stage.core.Count("cannot be accepted") == 1);
  setrlimit(RLIMIT_NOFILE, &before);
  caller.join();
}

// Strangers of the same user: others are sent away at once.
std::vector<Channel> StrangersOf(const Stage& stage, int count) {
  const std::string path = stage.folder.path() + "/" + stage.folder.Names().at(0) + "/engine.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  std::vector<Channel> strangers;
  for (int i = 0; i < count; i++) {
    strangers.emplace_back(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK(connect(strangers.back().fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    CHECK(send(strangers.back().fd(), "\5\0\0\0\1", static_cast<size_t>(i % 6), MSG_NOSIGNAL) >= 0);
  }
  return strangers;
}

void StrangerWhoSaysNothingDelaysNobody() {
  Stage stage("works");
  stage.settings.hello_time = std::chrono::hours(1);
  CHECK(stage.Start() == Engine::Started::On);
  const std::vector<Channel> strangers = StrangersOf(stage, 10);
  CHECK(stage.Write().ending == Ending::Ok);
}

// More than are greeted at a time, so some wait in the queue. Each has its time to say HELLO, then the next ones come.
void FloodOfStrangersPasses() {
  Stage stage("works");
  stage.settings.hello_time = milliseconds(50);
  CHECK(stage.Start() == Engine::Started::On);
  const std::vector<Channel> strangers = StrangersOf(stage, 400);
  CHECK(stage.Write().ending == Ending::Ok);
}

}  // namespace

const std::vector<Test> kSocketTests = {TEST(TakesTheFirstFolderThatCanBeUsed),
                                        TEST(VanishedSocketIsMadeAnewInItsPlaceOrTheNext),
                                        TEST(FoldersAreThoseOfOrthancThenOfTheSystem),
                                        TEST(RemovesWhatAKilledOrthancLeft),
                                        TEST(CallsGoOnWhenTheSocketHasVanished),
                                        TEST(NextEngineConnectsThoughTheSocketHadVanished),
                                        TEST(NoDescriptorsLeftIsSaidOnceAndEnds),
                                        TEST(StrangerWhoSaysNothingDelaysNobody),
                                        TEST(FloodOfStrangersPasses)};
