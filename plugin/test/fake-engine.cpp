// Plays the engine in plugin-test. Run as `fake-engine SCENARIO SOCKET`, it plays one scenario. The text that START
// brings is the path of a file: it is there if this engine has lived before.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "../call.h"

using namespace ocs;

namespace {

std::string scenario;
std::string socket_path;
std::string memory;

Deadline Soon() { return Clock::now() + std::chrono::minutes(5); }

// Connects and says HELLO. The channel is closed if it cannot connect.
Channel Connect(uint8_t role, uint64_t protocol, bool hello_comes = true) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_path.c_str(), sizeof address.sun_path - 1);
  Channel channel(socket(AF_UNIX, SOCK_STREAM, 0));
  if (connect(channel.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return Channel();
  if (!hello_comes) return channel;
  Header hello;
  hello.flags = role;
  hello.argument = protocol;
  channel.Send(hello, {"fake", 4}, {nullptr, 0}, Soon());
  return channel;
}

void Return(Channel& channel, uint16_t status, uint8_t flags, uint64_t argument, const std::string& text) {
  Header header;
  header.kind = Kind::Return;
  header.status = status;
  header.flags = flags;
  header.argument = argument;
  channel.Send(header, {text.data(), text.size()}, {nullptr, 0}, Soon());
}

// True the first time that any process asks.
bool FirstLife() {
  FILE* file = std::fopen(memory.c_str(), "wx");
  if (file != nullptr) std::fclose(file);
  return file != nullptr;
}

void Refuse(Channel& control, uint64_t count) {
  Header header;
  header.kind = Kind::Grow;
  header.argument = count;
  control.Send(header, {"no way", 6}, {nullptr, 0}, Soon());
}

// A job that counts to 3. Its serialized text is the count.
void Count(Channel& channel, const Header& call, const std::string& text) {
  const bool stop = call.flags == static_cast<uint8_t>(Verb::JobStop);
  if (text.find_first_not_of("0123") != std::string::npos) return Return(channel, 7, 0, 0, "no job of ours");
  uint64_t count = std::strtoul(text.c_str(), nullptr, 10);
  if (call.flags == static_cast<uint8_t>(Verb::JobStep)) count++;
  if (call.flags == static_cast<uint8_t>(Verb::JobReset)) count = 0;
  std::string texts;
  Pack(&texts, stop ? "stopped" : "content " + std::to_string(count));
  Pack(&texts, std::to_string(count));
  Header header;
  header.kind = Kind::Reserve;
  header.argument = texts.size();
  channel.Send(header, Soon());
  header.kind = Kind::Fill;
  header.argument = 0;
  channel.Send(header, {texts.data(), texts.size()}, {nullptr, 0}, Soon());
  Return(channel, 0, count < 3 ? 3 : 1, count * 1'000'000 / 3, "");
}

// Asks Orthanc, and returns the reply.
Header Ask(Channel& channel, const std::string& uri) {
  Header upcall;
  upcall.kind = Kind::Upcall;
  upcall.flags = 1;
  std::string texts;
  Pack(&texts, uri);
  Pack(&texts, "");
  channel.Send(upcall, {texts.data(), texts.size()}, {nullptr, 0}, Soon());
  Header reply;
  std::string body;
  if (channel.ReceiveHeader(&reply, Soon()) != Io::Ok) return Header();
  ReceiveText(channel, reply.length, &body, Soon());
  return reply;
}

// The standing call, by a scenario "stands-...". False: the connection has ended.
bool Stand(Channel& channel) {
  const bool first = FirstLife();
  if (scenario == "stands-cuts" && first) return false;
  if (scenario == "stands-late") std::this_thread::sleep_for(std::chrono::milliseconds(300));
  if (Ask(channel, first ? "/first" : "/again").kind != Kind::Reply) return false;
  if (scenario == "stands-dies" && first) std::raise(SIGKILL);
  while (scenario == "stands-storms" && Ask(channel, "/storm").kind == Kind::Reply) continue;
  if (scenario == "stands-submits") channel.Send(HeaderOf(Kind::Submit), {"\0\0\0\0\0\0\0\0", 8}, {nullptr, 0}, Soon());
  if (scenario == "stands-returns") return Return(channel, 0, 0, 0, ""), true;
  if (scenario == "stands-faults") return Return(channel, 4, 0, 0, "cannot ask"), true;
  Header never;
  return channel.ReceiveHeader(&never, Soon()) == Io::Ok;
}

// Answers each call with ok; a read gives the four bytes "read".
void Work(Channel channel) {
  for (;;) {
    Header call;
    std::string payload;
    if (channel.ReceiveHeader(&call, Soon()) != Io::Ok) return;
    payload.resize(call.length);
    if (channel.Receive(&payload[0], payload.size(), Soon()) != Io::Ok) return;
    if (scenario == "dies-always" || (scenario == "dies-once" && FirstLife())) std::raise(SIGKILL);
    if (scenario == "dies-after-reserve" && FirstLife()) {
      Header reserve;
      reserve.kind = Kind::Reserve;
      reserve.argument = 1000;
      channel.Send(reserve, Soon());
      std::raise(SIGKILL);
    }
    if (scenario == "leaves-a-pull" && FirstLife()) {
      Return(channel, 2, 0, 0, "refused");
      Header pull;
      pull.kind = Kind::Pull;
      channel.Send(pull, {"\1\0\0\0", 4}, {nullptr, 0}, Soon());
      continue;
    }
    if (call.flags == static_cast<uint8_t>(Verb::Background)) {
      if (!Stand(channel)) return;
      continue;
    }
    if (scenario == "hangs" || scenario == "hangs-long") pause();
    if (scenario == "faults") {
      Return(channel, 3, 0, 0, "cannot do that");
      continue;
    }
    if (call.flags >= static_cast<uint8_t>(Verb::JobStep) && call.flags <= static_cast<uint8_t>(Verb::JobRestore)) {
      Count(channel, call, payload.substr(8));
      continue;
    }
    if (scenario == "asks" &&
        call.flags == static_cast<uint8_t>(Verb::Rest)) {  // the answer says whether Orthanc is stopping
      Return(channel, Ask(channel, "/system").flags, 0, 200, "");
      continue;
    }
    if (call.flags == static_cast<uint8_t>(Verb::Read)) {
      Header reserve;
      reserve.kind = Kind::Reserve;
      reserve.argument = 4;
      channel.Send(reserve, Soon());
      Header fill;
      fill.kind = Kind::Fill;
      channel.Send(fill, {"re", 2}, {nullptr, 0}, Soon());
      fill.argument = 2;
      channel.Send(fill, {"ad", 2}, {nullptr, 0}, Soon());
    }
    if (call.flags == static_cast<uint8_t>(Verb::Metrics))
      channel.Send(HeaderOf(Kind::Metric, 123'456'789'012), {"bytes", 5}, {nullptr, 0}, Soon());
    Return(channel, 0, 0, 0, "done");
  }
}

Header Warning() {
  Header log;
  log.kind = Kind::Log;
  log.flags = 1;
  return log;
}

// What comes before the RETURN of START. Some of it is wrong if the scenario says so.
void Register(Channel& control) {
  Header code;
  code.kind = Kind::ErrorCode;
  code.status = 3;
  code.argument = 502;
  control.Send(code, {"damaged", 7}, {nullptr, 0}, Soon());
  control.Send(Warning(), {"a warning", 9}, {nullptr, 0}, Soon());
  for (const std::string one : {"\1/route", "\1/probe", "\2Count", "\3", "\4"}) {
    Header registration;
    registration.kind = Kind::Register;
    registration.flags = static_cast<uint8_t>(one[0]);
    registration.status = one[0] == '\2' ? 1 : one == "\1/probe" ? 2 : 0;
    const std::string text = one == "\4" ? std::string(5000, 'j') : one.substr(1);
    control.Send(registration, {text.data(), text.size()}, {nullptr, 0}, Soon());
  }
  Header extra;
  extra.kind = Kind::Register;
  extra.flags = scenario == "registers-nonsense" ? 5 : 1;
  const std::string text(scenario == "registers-too-much" ? (1u << 20) + 1 : 1, '/');
  const int registrations = scenario == "registers-without-end" ? 1'000 : scenario.rfind("registers-", 0) == 0 ? 1 : 0;
  for (int i = 0; i < registrations; i++) control.Send(extra, {text.data(), text.size()}, {nullptr, 0}, Soon());
  code.argument = 65'536 + 500;
  if (scenario == "answers-no-status") control.Send(code, Soon());
  if (scenario == "gives-no-time") Return(control, 0, 1, 0, "");
  if (scenario == "gives-time-without-end") Return(control, 0, 1, (1ull << 53) - 1, "");
}

// The control connection after the start.
void Live(Channel& control) {
  const bool deaf = scenario == "deaf" && FirstLife();
  int cut = 0;
  Header header;
  for (;;) {
    if (control.ReceiveHeader(&header, Soon()) != Io::Ok) return;
    if (header.kind == Kind::Call) return;  // STOP
    if (header.kind == Kind::Ping && !deaf) {
      header.kind = Kind::Pong;
      control.Send(header, Soon());
    }
    std::string path;
    ReceiveText(control, header.length, &path, Soon());
    if (header.kind != Kind::Grow) continue;
    socket_path = path;
    if (scenario == "dies-connecting" && FirstLife()) {
      for (int i = 0; i < 8; i++) new Channel(Connect(1, kProtocol));
      std::raise(SIGKILL);
    }
    if (scenario == "greets-late" && FirstLife()) {
      new Channel(Connect(1, kProtocol, false));
      continue;
    }
    if (scenario == "is-full" && FirstLife()) {
      Refuse(control, header.argument);
      continue;
    }
    if (scenario == "says-much") {
      control.Send(Warning(), {"blocks", 6}, {nullptr, 0}, Soon());
    }
    for (uint64_t left = header.argument; left > 0; left--) {
      Channel worker = Connect(1, kProtocol);
      if (!worker.open()) {
        Refuse(control, left);
        break;
      }
      if (scenario == "cuts-many" && cut < 8) {
        cut++;
        std::thread(
            [](Channel dead) {
              Header call;
              dead.ReceiveHeader(&call, Soon());
            },
            std::move(worker))
            .detach();
        continue;
      }
      std::thread(Work, std::move(worker)).detach();
    }
  }
}

}  // namespace

int main(int count, char** argv) {
  scenario = argv[count - 2];
  socket_path = argv[count - 1];
  if (const size_t slash = scenario.rfind('/'); slash != std::string::npos) {  // in the library: a file in a folder
    memory = scenario.substr(0, slash) + "/memory";
    scenario = scenario.substr(slash + 1);
  }
  if (scenario == "says-threads") std::fprintf(stderr, "threads %s\n", std::getenv("UV_THREADPOOL_SIZE"));
  // then-X: it works and dies of its first call, then it plays X until it is mended. It finds its memory by the socket.
  if (scenario.rfind("then-", 0) == 0) {
    const std::string folder = socket_path.substr(0, socket_path.rfind("/orthanc-cloud-storage-"));
    memory = folder + "/memory";
    const bool mended = access((memory + ".mended").c_str(), F_OK) == 0;
    const bool first = access(memory.c_str(), F_OK) != 0;
    scenario = first ? "dies-once" : mended ? "works" : scenario.substr(5);
  }
  if (scenario == "says-and-exits") {
    std::fputs("words of the engine\n", stderr);
    return 3;
  }
  if (scenario == "says-half-a-line") {
    std::fputs("words without an end", stderr);
    return 3;
  }
  if (scenario == "floods") {
    std::thread([] {
      for (const std::string line(4'000, 'f');;) std::puts(line.c_str());
    }).detach();
  }
  Channel control = Connect(0, scenario == "other-protocol" ? 7 : kProtocol);
  Header header;
  if (control.ReceiveHeader(&header, Soon()) != Io::Ok) return 0;
  std::string start, orthanc;
  size_t at = 0;
  ReceiveText(control, header.length, &start, Soon());
  if (!Unpack(start.data(), start.size(), &at, &orthanc)) return 0;
  if (memory.empty()) memory = start.substr(at);
  if (scenario == "exits-in-start") return 4;
  Register(control);
  if (scenario == "refuses") return Return(control, 8, 0, 0, "Some.Option is wrong"), 0;
  if (scenario == "off") return Return(control, 0, 0, 0, "nothing to do: disabled"), pause();
  const bool library = count > 3;  // the real plugin gives options to Node, and wants ranges
  const uint8_t asks = scenario.rfind("stands-", 0) == 0 ? 4 : 0;
  Return(control, 0, asks | (library ? 3 : 1),
         scenario == "hangs"         ? 300
         : scenario == "stands-late" ? 30
                                     : 300'000,
         "stores files in memory");
  Live(control);
}
