// Everything but the storage area and jobs: REST calls, and what the engine asks of Orthanc meanwhile.
#include "fake-api.h"
#include "peer.h"

using namespace ocs;

namespace {

std::string Packed(const std::string& first, const std::string& second) {
  std::string payload;
  Pack(&payload, first);
  Pack(&payload, second);
  return payload;
}

void PackedTextIsUnpackedOrRefused() {
  const std::string payload = Packed("one", std::string(300, 'x'));
  size_t at = 0;
  std::string first, second, third;
  CHECK(Unpack(payload.data(), payload.size(), &at, &first) && first == "one");
  CHECK(Unpack(payload.data(), payload.size(), &at, &second) && second.size() == 300 && at == payload.size());
  CHECK(!Unpack(payload.data(), payload.size(), &at, &third));
  for (size_t size = 0; size < payload.size(); size++) {
    at = 0;
    CHECK(!Unpack(payload.data(), size, &at, &first) || !Unpack(payload.data(), size, &at, &second));
  }
}

Call RestOf(const std::string& content, Bytes* body, FakeApi* api) {
  Call call{Verb::Rest};
  call.type = 2;
  call.envelope = "envelope";
  call.content = content.data();
  call.size = content.size();
  call.result = body;
  call.api = api;
  return call;
}

void RestCallAsksOrthancAndAnswers() {
  for (const size_t size : {size_t(0), size_t(7), kInlineBytes + 1}) {
    const std::string content(size, 'c');
    Bytes body;
    FakeApi api;
    api.reply.http = 200;
    api.reply.body = std::string(1'000'000, 'r');
    const Answer answer = Played(RestOf(content, &body, &api), [&](Peer& peer) {
      std::string payload;
      const Header call = peer.Receive(&payload);
      CHECK(call.flags == 7 && call.status == 2 && call.argument == size);
      CHECK(payload == "envelope" + (size <= kInlineBytes ? content : ""));
      if (size > 0) CHECK(peer.Pull(size - 1, 1) == "c");
      peer.Send(Kind::Upcall, 0, Packed("/studies", ""), 0, 1);
      const Header reply = peer.Receive(&payload);
      CHECK(reply.kind == Kind::Reply && reply.status == 200 && reply.argument == 0 && reply.flags == 0);
      CHECK(payload == api.reply.body);
      peer.Send(Kind::Submit, (1ull << 31) - 5, Packed("{}", "{\"a\":1}"), 0, 1);
      CHECK(peer.Receive().kind == Kind::Reply);
      peer.Send(Kind::Reserve, 4);
      peer.Send(Kind::Fill, 0, "body");
      peer.Send(Kind::Return, 201, "text/plain");
    });
    CHECK(answer.ending == Ending::Ok && answer.argument == 201 && answer.text == "text/plain");
    CHECK(std::string(body.text(), body.size()) == "body");
    CHECK(api.asked == "1 /studies \nsubmit 1 -5 {} {\"a\":1}\n");
    CHECK(LineOf(RestOf(content, &body, &api), answer).empty());
  }
}

void RestCallMayHaveNoBody() {
  Bytes body;
  FakeApi api;
  const Answer answer = Played(RestOf("", &body, &api), [](Peer& peer) {
    peer.Receive();
    peer.Send(Kind::Return, 0, "POST", 0, 2);
  });
  CHECK(answer.ending == Ending::Ok && answer.flags == 2 && answer.text == "POST" && body.size() == 0);
}

void ReplyTellsErrorsStopAndTooMuch() {
  Reply error, stopping, large;
  error.error = 17;
  stopping.stopping = true;
  large.http = 200;
  large.body = std::string(kMaxPayload + 1, 'x');
  for (const Reply& reply : {error, stopping, large}) {
    Bytes body;
    FakeApi api;
    api.reply = reply;
    const Answer answer = Played(RestOf("", &body, &api), [&reply](Peer& peer) {
      peer.Receive();
      peer.Send(Kind::Upcall, 0, Packed("/", ""), 0, 1);
      const Header header = peer.Receive();
      CHECK(header.argument == reply.error && header.flags == (reply.stopping ? 1 : 0) && header.length == 0);
      CHECK(header.status == (reply.body.empty() ? 0 : 413));
      peer.Send(Kind::Return, 200);
    });
    CHECK(answer.ending == Ending::Ok);
  }
}

// Orthanc would take it for a success: the client would get no answer, or the job no end.
void SuccessThatSaysNothingIsNone() {
  struct Said {
    uint8_t flags;
    uint64_t argument;
  };
  const auto ending = [](Verb verb, const Said& said, const std::string& result) {
    Bytes body;
    FakeApi api;
    Call call = RestOf("", &body, &api);
    call.verb = verb;
    return Played(call,
                  [&](Peer& peer) {
                    peer.Receive();
                    peer.Send(Kind::Reserve, result.size()), peer.Send(Kind::Fill, 0, result);
                    peer.Send(Kind::Return, said.argument, "", 0, said.flags);
                  })
        .ending;
  };
  for (const Said& said : {Said{0, 200}, Said{0, 599}, Said{1, 1}, Said{1, INT32_MAX}, Said{2, 0}})
    CHECK(ending(Verb::Rest, said, "body") == Ending::Ok);
  for (const Said& said : {Said{0, 0}, Said{0, 99}, Said{0, 600}, Said{0, 65'736}, Said{1, 0}, Said{1, 1ull << 31},
                           Said{1, 1ull << 32}, Said{3, 200}, Said{255, 200}})
    CHECK(ending(Verb::Rest, said, "body") == Ending::Broken);
  const std::string texts = Packed("{}", "{}");
  for (const uint8_t flags : {1, 2, 3}) CHECK(ending(Verb::JobStep, {flags, 0}, texts) == Ending::Ok);
  for (const uint8_t flags : {0, 4, 255}) CHECK(ending(Verb::JobStep, {flags, 0}, texts) == Ending::Broken);
  for (const Verb verb : {Verb::JobStep, Verb::JobStop, Verb::JobReset, Verb::JobRestore})
    for (const std::string& wrong : {std::string(), std::string("{}"), texts + "x", texts.substr(1)})
      CHECK(ending(verb, {3, 0}, wrong) == Ending::Broken);
}

void UpcallsOutOfPlaceBreakTheConnection() {
  const std::string content(10, 'c');
  const std::pair<Kind, std::string> wrong[] = {
      {Kind::Upcall, Packed("/", "")}, {Kind::Submit, Packed("{}", "{}")}, {Kind::Metric, "a"}};
  for (const auto& frame : wrong) {  // in a storage callback
    const Answer answer = Played(CreateOf(content), [&frame](Peer& peer) {
      peer.Receive();
      peer.Pull(0, 1);
      peer.Send(frame.first, 0, frame.second);
      peer.Receive();
    });
    CHECK(answer.ending == Ending::Broken);
  }
  for (const std::string& payload : {std::string(), std::string("\5\0\0\0abc", 7), Packed("a", "b") + "c"}) {
    for (const Kind kind : {Kind::Upcall, Kind::Submit}) {
      Bytes body;
      FakeApi api;
      const Answer answer = Played(RestOf("x", &body, &api), [kind, &payload](Peer& peer) {
        peer.Receive();
        peer.Pull(0, 1);
        peer.Send(kind, 0, payload);
        peer.Receive();
      });
      CHECK(answer.ending == Ending::Broken && api.asked.empty());
    }
  }
}

void PriorityIsOneOfOrthancs() {
  for (const uint64_t priority : {uint64_t(0), uint64_t(UINT32_MAX), uint64_t(1) << 32, (uint64_t(1) << 53) - 1}) {
    Bytes body;
    FakeApi api;
    const Answer answer = Played(RestOf("x", &body, &api), [priority](Peer& peer) {
      peer.Receive();
      peer.Pull(0, 1);
      peer.Send(Kind::Submit, priority, Packed("{}", "{}"));
      peer.Receive();
      peer.Send(Kind::Return, 200);
    });
    CHECK((answer.ending == Ending::Ok) == (priority <= UINT32_MAX));
    CHECK(api.asked.empty() == (priority > UINT32_MAX));
  }
}

void MetricsReachOrthanc() {
  FakeApi api;
  Call call{Verb::Metrics};
  call.api = &api;
  const Answer answer = Played(call, [](Peer& peer) {
    const Header header = peer.Receive();
    CHECK(header.flags == 12 && header.length == 0);
    peer.Send(Kind::Metric, (1ull << 53) - 1, "m");
    peer.Send(Kind::Return);
  });
  CHECK(answer.ending == Ending::Ok && api.asked == "m 9007199254740991\n");
}

void ResultsOfOurOwnAreBounded() {
  Bytes bytes;
  CHECK(bytes.Reserve(0) && bytes.size() == 0 && bytes.Reserve(5) && bytes.size() == 5);
  CHECK(!bytes.Reserve(uint64_t(1) << 40) && bytes.size() == 0);
}

}  // namespace

const std::vector<Test> kServicesTests = {
    TEST(PackedTextIsUnpackedOrRefused), TEST(RestCallAsksOrthancAndAnswers),
    TEST(RestCallMayHaveNoBody),         TEST(ReplyTellsErrorsStopAndTooMuch),
    TEST(SuccessThatSaysNothingIsNone),  TEST(UpcallsOutOfPlaceBreakTheConnection),
    TEST(PriorityIsOneOfOrthancs),       TEST(MetricsReachOrthanc),
    TEST(ResultsOfOurOwnAreBounded)};
