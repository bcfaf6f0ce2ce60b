#include "process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <thread>

extern char** environ;

namespace ocs {

namespace {

using std::chrono::milliseconds;
constexpr size_t kLongestLine = 4096;
constexpr size_t kPipe = 65'536;
constexpr milliseconds kAfterTerm{2'000};
constexpr size_t kLongestTail = 1024;
constexpr char kThreads[] = "UV_THREADPOOL_SIZE=16";
constexpr char kAuthorities[] = "NODE_EXTRA_CA_CERTS=";
// A person who can set Node's variables for Orthanc could make the engine write its memory, its traffic or the keys of
// its connections to a file or to its log, open a debugger to all users, or trust any certificate. Orthanc's variables
// are its options, with passwords of other plugins among them. Our options come over the socket.
constexpr const char* kLeftOut[] = {
    "NODE_", "ORTHANC_", "DEBUG=", "SSLKEYLOGFILE=", "AZURE_LOG_LEVEL=", "GOOGLE_SDK_NODE_LOGGING="};

bool Begins(const char* entry, const char* name) { return std::strncmp(entry, name, std::strlen(name)) == 0; }

std::vector<const char*> Environment() {
  // Node's own pool has 4 threads for files and names: four files that hang would stop every new connection to a store.
  std::vector<const char*> environment{kThreads};
  for (char** entry = environ; *entry != nullptr; entry++) {
    const bool left_out = std::any_of(std::begin(kLeftOut), std::end(kLeftOut),
                                      [entry](const char* name) { return Begins(*entry, name); });
    if (Begins(*entry, "UV_THREADPOOL_SIZE="))
      environment.front() = *entry;
    else if (!left_out || Begins(*entry, kAuthorities))
      environment.push_back(*entry);
  }
  environment.push_back(nullptr);
  return environment;
}

// Between fork and exec only async-signal-safe calls are allowed: any of Orthanc's many threads may hold a lock.
[[noreturn]] void BecomeEngine(pid_t parent, int output, const char* const* argv, const char* const* environment) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  setsid();  // Ctrl-C in Orthanc's terminal is for Orthanc, which then stops this process in order
  // Keys must not reach a core file. The limit is one byte, not zero: the kernel still pipes a core of limit 0 to a
  // handler, and drops one of limit 1.
  const rlimit none{1, 1};
  setrlimit(RLIMIT_CORE, &none);
  // In a container the limit may be 0 for good. Then the core that is piped has no memory in it.
  const int filter = open("/proc/self/coredump_filter", O_WRONLY);
  if (write(filter, "0", 1) == 1) close(filter);
  for (int signal_number = 1; signal_number < NSIG; signal_number++) signal(signal_number, SIG_DFL);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_UNBLOCK, &all, nullptr);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  if (syscall(SYS_close_range, 3u, ~0u, 0u) != 0)
    for (int fd = 3; fd < 4096; fd++) close(fd);
  execve(argv[0], const_cast<char* const*>(argv), const_cast<char* const*>(environment));
  const char* const reason = std::strerror(errno);
  for (const char* text : {"cannot run ", argv[0], ": ", reason, "\n"})
    if (write(STDERR_FILENO, text, std::strlen(text)) < 0) break;
  _exit(127);
}

}  // namespace

std::string Errno(const std::string& what) {
  const char* const remedy = errno == EMFILE ? ". Raise Orthanc's limit of open files (LimitNOFILE, ulimit -n)"
                             : errno == EAGAIN
                                 ? ". Raise Orthanc's limit of processes and threads (TasksMax, ulimit -u)"
                                 : "";
  return what + ": " + std::strerror(errno) + remedy;
}

std::string Process::Start(const std::vector<std::string>& command) {
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) return Errno("cannot make a pipe for the storage engine");
  std::vector<const char*> argv;
  for (const std::string& word : command) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  const std::vector<const char*> environment = Environment();
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) BecomeEngine(parent, output[1], argv.data(), environment.data());
  const std::string problem = pid_ < 0 ? Errno("cannot start the storage engine") : "";
  close(output[1]);
  output_ = Channel(output[0]);
  fcntl(output_.fd(), F_SETFL, O_NONBLOCK);
  line_.clear();
  tail_.clear();
  return problem;
}

// Takes no more than a pipe holds. The supervisor must not stay here when a process writes faster than it can log.
void Process::Pump(OrthancCore* core, LogLevel level) {
  char bytes[4096];
  ssize_t got = 0;
  for (size_t taken = 0; output_.open() && taken < kPipe; taken += static_cast<size_t>(got)) {
    got = read(output_.fd(), bytes, sizeof bytes);
    if (got == 0) {
      TakeLine(core, level);  // the last line may have no end
      output_.Close();
    }
    if (got <= 0) return;
    for (ssize_t i = 0; i < got; i++) {
      if (bytes[i] != '\n') line_ += bytes[i];
      if (bytes[i] == '\n' || line_.size() == kLongestLine) TakeLine(core, level);
    }
  }
}

void Process::TakeLine(OrthancCore* core, LogLevel level) {
  if (line_.empty()) return;
  if (core != nullptr) core->Log(level, "storage engine: " + line_);
  Keep(line_);
  line_.clear();
}

// Does not keep the frames of a stack, and not the version that Node writes after them.
void Process::Keep(const std::string& line) {
  if (line[0] == ' ' || line.compare(0, 9, "Node.js v") == 0) return;
  tail_ += (tail_.empty() ? "" : " | ") + line;
  if (tail_.size() > kLongestTail) tail_.erase(0, tail_.size() - kLongestTail);
}

void Process::Kill() {
  if (pid_ > 0) kill(pid_, SIGKILL);
}

std::string Process::End(milliseconds limit) {
  if (pid_ <= 0) return "";
  const auto began = Clock::now();
  int status = 0;
  for (bool asked = false; waitpid(pid_, &status, WNOHANG) == 0; std::this_thread::sleep_for(milliseconds(5))) {
    const auto waited = Clock::now() - began;
    if (!asked && waited > limit) asked = kill(pid_, SIGTERM) == 0;
    if (waited > limit + kAfterTerm) Kill();
  }
  pid_ = -1;
  return WIFSIGNALED(status) ? "was killed by signal " + std::to_string(WTERMSIG(status))
                             : "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace ocs
