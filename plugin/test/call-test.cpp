// One call against a scripted peer.
#include "peer.h"

using namespace ocs;
using std::chrono::milliseconds;

namespace {

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; i++) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

void CreateSendsSmallContentAlong() {
  for (const size_t size : {size_t(0), size_t(1), kInlineBytes}) {
    const std::string content = Pattern(size);
    const Answer answer = Played(CreateOf(content), [&content](Peer& peer) {
      std::string payload;
      const Header header = peer.Receive(&payload);
      CHECK(header.kind == Kind::Call && header.flags == 2 && header.status == 1 && header.argument == content.size());
      CHECK(payload == kUuid + content);
      peer.Send(Kind::Return, 0, "stored");
    });
    CHECK(answer.ending == Ending::Ok && answer.text == "stored" && answer.reusable());
  }
}

void CreateServesPullsAnywhereAsOftenAsWanted() {
  const std::string content = Pattern(3'000'000);
  const Answer answer = Played(CreateOf(content), [&content](Peer& peer) {
    std::string payload;
    peer.Receive(&payload);
    CHECK(payload == kUuid);
    for (const uint64_t offset : {0ull, 2'999'999ull, 1'000ull, 1'000ull})
      CHECK(peer.Pull(offset, 1) == content.substr(offset, 1));
    CHECK(peer.Pull(0, 3'000'000) == content);
    peer.Send(Kind::Return);
  });
  CHECK(answer.ending == Ending::Ok);
}

void ImpossiblePullsBreakTheConnection() {
  const std::string content = Pattern(300'000);
  const std::pair<uint64_t, uint32_t> impossible[] = {{0, 0},          {0, 300'001},   {300'000, 1},
                                                      {1ull << 52, 1}, {0, 17u << 20}, {299'999, 2}};
  for (const auto& pull : impossible) {
    const Answer answer = Played(CreateOf(content), [&pull](Peer& peer) {
      peer.Receive();
      peer.Pull(0, 1);
      peer.PullInVain(pull.first, pull.second);
      peer.Receive();
    });
    CHECK(answer.ending == Ending::Broken && !answer.reusable());
  }
}

// An Orthanc that is asked in vain.
class SilentApi : public OrthancApi {
 public:
  Reply Rest(uint8_t, const std::string&, const std::string&) override { return Reply(); }
  Reply Submit(uint8_t, int32_t, const std::string&, const std::string&) override { return Reply(); }
  void Metric(const std::string&, int64_t) override {}
};

Answer ReadWith(Buffer* buffer, const std::function<void(Peer&)>& script, milliseconds time = kGiveUp) {
  Call call{Verb::Read, kUuid};
  call.result = buffer;
  return Played(
      call,
      [&script](Peer& peer) {
        peer.Receive();
        script(peer);
      },
      time);
}

void ReadFillsTheResult() {
  const std::string content = Pattern(1'000'000);
  Buffer buffer;
  const Answer answer = ReadWith(&buffer, [&content](Peer& peer) {
    peer.Send(Kind::Reserve, content.size());
    for (size_t at = 0; at < content.size(); at += 123'456) peer.Send(Kind::Fill, at, content.substr(at, 123'456));
    peer.Send(Kind::Return);
  });
  CHECK(answer.ending == Ending::Ok && buffer.bytes == content);
  Buffer empty;
  CHECK(ReadWith(&empty, [](Peer& peer) {
          peer.Send(Kind::Reserve, 0);
          peer.Send(Kind::Return);
        }).ending == Ending::Ok);
}

void ReadIsNoSuccessUnlessEveryByteCame() {
  const std::function<void(Peer&)> wrong[] = {
      [](Peer& peer) { peer.Send(Kind::Reserve, 4), peer.Send(Kind::Return); },
      [](Peer& peer) { peer.Send(Kind::Reserve, 4), peer.Send(Kind::Fill, 0, "abc"), peer.Send(Kind::Return); },
      [](Peer& peer) { peer.Send(Kind::Reserve, 4), peer.Send(Kind::Fill, 0, "abcde"), peer.Send(Kind::Return); },
      [](Peer& peer) { peer.Send(Kind::Reserve, 4), peer.Send(Kind::Fill, 2, "ab"), peer.Send(Kind::Return); },
      [](Peer& peer) {
        peer.Send(Kind::Reserve, 4), peer.Send(Kind::Fill, 0, "abcd"), peer.Send(Kind::Reserve, 4);
        peer.Send(Kind::Return);  // what came before the second RESERVE does not count
      },
      [](Peer& peer) { peer.Send(Kind::Reserve, 4), peer.PullInVain(0, 1), peer.Receive(); },
      [](Peer& peer) { peer.Send(Kind::Reserve, 4), peer.Send(Kind::Grow, 1), peer.Receive(); },
      [](Peer& peer) { peer.Send(Kind::Reserve, 4), peer.SendRaw(std::string(16, '\xff')), peer.Receive(); },
  };
  for (const auto& script : wrong) {
    Buffer buffer;
    CHECK(ReadWith(&buffer, script).ending == Ending::Broken && buffer.bytes.empty());
  }
}

void ResultMayBeginAgain() {
  Buffer buffer;
  const Answer answer = ReadWith(&buffer, [](Peer& peer) {
    peer.Send(Kind::Reserve, 4), peer.Send(Kind::Fill, 0, "ab");
    peer.Send(Kind::Reserve, 4), peer.Send(Kind::Fill, 0, "abcd");
    peer.Send(Kind::Reserve, 6), peer.Send(Kind::Fill, 0, "righ"), peer.Send(Kind::Fill, 4, "t!");
    peer.Send(Kind::Return);
  });
  CHECK(answer.ending == Ending::Ok && buffer.bytes == "right!" && buffer.reserved == 3 && buffer.dropped == 3);
}

void WhatIsLeftOfTheCallBeforeInterruptsThisOne() {
  const std::function<void(Peer&)> stale[] = {
      [](Peer& peer) { peer.Send(Kind::Return); },
      [](Peer& peer) { peer.Send(Kind::Fill, 0, "ab"); },
      [](Peer& peer) { peer.PullInVain(0, 1), peer.Receive(); },
      [](Peer& peer) { peer.Send(Kind::Upcall, 0, std::string(8, '\0')), peer.Receive(); },
      [](Peer& peer) { peer.Send(Kind::Data, 0, "ab"), peer.Receive(); },
      [](Peer& peer) { peer.SendRaw(std::string(16, '\xff')), peer.Receive(); },
  };
  for (const auto& script : stale) {
    Buffer buffer;
    const Answer answer = ReadWith(&buffer, script);
    CHECK(answer.ending == Ending::Interrupted && !answer.reusable());
  }
}

void WhatLiesThereBeforeACallIsNoAnswerToIt() {
  for (const Kind kind : {Kind::Return, Kind::Pull, Kind::Log}) {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    Channel channel(fds[0]);
    Peer peer{Channel(fds[1])};
    peer.Send(kind);
    const Answer answer = Perform(channel, CreateOf("content"), Soon());
    CHECK(answer.ending == Ending::Interrupted && !answer.reusable());
  }
}

void EngineThatIsNeverSilentMeetsTheDeadline() {
  Buffer buffer;
  const Answer answer = ReadWith(
      &buffer, [](Peer& peer) { peer.Send(Kind::Reserve, 4), peer.SendWithoutEnd(Kind::Fill, 0, ""); },
      milliseconds(50));
  CHECK(answer.ending == Ending::TimedOut);
  std::string payload;
  Pack(&payload, "name");
  payload += "\1\2\3\4";
  SilentApi api;
  Call call{Verb::Metrics};
  call.api = &api;
  CHECK(Played(
            call, [&payload](Peer& peer) { peer.Receive(), peer.SendWithoutEnd(Kind::Metric, 0, payload); },
            milliseconds(50))
            .ending == Ending::TimedOut);
}

void RequestAboveAFrameIsRefusedAndSparesTheConnection() {
  int fds[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
  Channel channel(fds[0]), other(fds[1]);
  Call call{Verb::Rest};
  call.envelope = std::string(kMaxPayload + 1, 'q');
  const Answer answer = Perform(channel, call, Soon());
  CHECK(answer.ending == Ending::TooLarge && answer.reusable());
  char byte = 0;
  CHECK(recv(other.fd(), &byte, 1, MSG_DONTWAIT) < 0);
  CHECK(LineOf(call, answer) == "cannot answer a REST request: its address is larger than 16 MiB");
}

void RangeMustBeOfItsSize() {
  for (const uint64_t size : {99u, 100u, 101u}) {
    Buffer buffer(true, 100);
    Call call{Verb::ReadRange, kUuid};
    call.start = 5;
    call.size = 100;
    call.result = &buffer;
    const Answer answer = Played(call, [size](Peer& peer) {
      std::string payload;
      const Header header = peer.Receive(&payload);
      CHECK(header.flags == 4 && header.argument == 5 && payload == kUuid + std::string("\x64\0\0\0\0\0\0\0", 8));
      peer.Send(Kind::Reserve, size);
      peer.Send(Kind::Fill, 0, std::string(size, 'x'));
      peer.Send(Kind::Return);
    });
    CHECK(answer.ending == (size == 100 ? Ending::Ok : Ending::Interrupted));
  }
}

void NoMemoryFailsTheCallAndSparesTheConnection() {
  for (const size_t came : {40'000, 39'999}) {
    Buffer buffer(false);
    const Answer answer = ReadWith(&buffer, [came](Peer& peer) {
      peer.Send(Kind::Reserve, 40'000);
      peer.Send(Kind::Fill, 0, std::string(came, 'x'));
      peer.Send(Kind::Return);
    });
    CHECK(answer.ending == (came == 40'000 ? Ending::NoMemory : Ending::Broken));
    CHECK(answer.reusable() == (came == 40'000));
  }
}

void FaultBringsItsNumberAndText() {
  Buffer buffer;
  const std::string text(10'000, 't');
  const Answer answer = ReadWith(&buffer, [&text](Peer& peer) { peer.Send(Kind::Return, 0, text, 4); });
  CHECK(answer.ending == Ending::Fault && answer.fault == 4 && answer.reusable());
  CHECK(answer.text == text.substr(0, 4096));
}

void SilenceAndDeathEndTheCall() {
  Buffer buffer;
  CHECK(ReadWith(
            &buffer, [](Peer& peer) { peer.Receive(); }, milliseconds(50))
            .ending == Ending::TimedOut);
  CHECK(ReadWith(&buffer, [](Peer&) {}).ending == Ending::Interrupted);
  Buffer half;
  CHECK(ReadWith(&half, [](Peer& peer) { peer.Send(Kind::Reserve, 4), peer.Send(Kind::Fill, 0, "ab"); }).ending ==
        Ending::Interrupted);
}

}  // namespace

const std::vector<Test> kCallTests = {TEST(CreateSendsSmallContentAlong),
                                      TEST(CreateServesPullsAnywhereAsOftenAsWanted),
                                      TEST(ImpossiblePullsBreakTheConnection),
                                      TEST(ReadFillsTheResult),
                                      TEST(ReadIsNoSuccessUnlessEveryByteCame),
                                      TEST(ResultMayBeginAgain),
                                      TEST(WhatIsLeftOfTheCallBeforeInterruptsThisOne),
                                      TEST(WhatLiesThereBeforeACallIsNoAnswerToIt),
                                      TEST(EngineThatIsNeverSilentMeetsTheDeadline),
                                      TEST(RequestAboveAFrameIsRefusedAndSparesTheConnection),
                                      TEST(RangeMustBeOfItsSize),
                                      TEST(NoMemoryFailsTheCallAndSparesTheConnection),
                                      TEST(FaultBringsItsNumberAndText),
                                      TEST(SilenceAndDeathEndTheCall)};
