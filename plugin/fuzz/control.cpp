#include "control.h"

#include <algorithm>

namespace fuzz {

namespace {

constexpr uint64_t kMostRegistrations = 128;
constexpr uint32_t kMaxRegistration = 1 << 20;
constexpr int64_t kLongestCall = 1ll << 32;

}  // namespace

std::string HelloOf(Input& in, uint8_t role) {
  const uint8_t how = in.Byte();
  if (how < 200) return BytesOf(kHello, role, 0, kProtocolNumber, "1.0");
  const uint8_t other = in.Byte();
  if (how < 215) return BytesOf(kHello, role, 0, other, in.Text(other));
  if (how < 230) return BytesOf(other % 20, other / 20, 0, kProtocolNumber, std::string(in.Number(2) % 1'000, 'v'));
  if (how < 245) return in.Text(other % 40);
  return BytesOf(kHello, role, 0, kProtocolNumber, "1.0") + in.Text(other % 20);
}

void Speak(Input& in, Line& line) {
  const uint8_t how = in.Byte();
  if (how < 192) return;
  line.inbox = in.Text(how % 32);
  if (how < 224) line.inbox += std::string(in.Number(2) % 10'000, how % 2 == 0 ? 'w' : ' ') + "\n last words";
  line.silent = false;
  line.closed = how % 3 == 0;
  if (how < 250) return;
  line.closed = false;
  line.more = [](Line& its) { its.inbox.assign(4'000, 'f'); };  // without end
}

int Control::Open() {
  Line line;
  line.more = [self = shared_from_this()](Line& its) { self->More(its); };
  line.took = [self = shared_from_this()](const char* bytes, size_t size) {
    self->from_engine_.Take(bytes, size, [&self](const Frame& frame) { self->Read(frame); });
  };
  line.got = [self = shared_from_this()](const char* bytes, size_t size) {
    self->from_plugin_.Take(bytes, size, [&self](const Frame& frame) { self->Sent(frame); });
    MUST(!self->from_plugin_.broken());
  };
  return script_.system.Open(std::move(line));
}

// ---- what the plugin sends

void Control::Sent(const Frame& frame) {
  MUST(greeted_);  // else a stranger gets the configuration
  if (!called_) {
    MUST(frame.kind == kCall && frame.flags == kStart && frame.argument == kProtocolNumber &&
         frame.payload == script_.start);
    called_ = true;
    return;
  }
  MUST(returned_ && started.on && frame.kind == kGrow && frame.payload.rfind("/", 0) == 0);
  if (!script_.in.empty()) workers += static_cast<int>(frame.argument);
}

// ---- what the plugin reads

void Control::Read(const Frame& frame) {
  if (!greeted_) {
    greeted_ = frame.kind == kHello && frame.flags == 0 && frame.argument == kProtocolNumber && frame.length <= 256;
    started.good = greeted_;
    return;
  }
  if (returned_ || !started.good) return;
  switch (frame.kind) {
    case kLog: return;
    case kErrorCode:
      started.good = ++started.registrations <= kMostRegistrations && frame.argument >= 100 && frame.argument <= 599;
      return;
    case kRegister:
      started.good = ++started.registrations <= kMostRegistrations && frame.flags >= 1 && frame.flags <= 4 &&
                     frame.length <= kMaxRegistration;
      if (frame.flags == 2) started.services = frame.payload == "Count";
      if (frame.flags == 1) started.routes.push_back(frame.payload.c_str());
      return;
    case kReturn:
      returned_ = true;
      started.on = frame.status == 0 && frame.flags % 2 == 1;
      started.call_time = static_cast<int64_t>(frame.argument);
      started.good = !started.on || (frame.argument >= 1 && frame.argument <= kLongestCall);
      script_.call_time = started.call_time;
      return;
    default: started.good = false;
  }
}

// ---- what the engine says next

void Control::More(Line& line) {
  if (script_.in.empty()) {
    line.closed = true;
  } else if (!greeted_) {
    Hello(line);
  } else {
    returned_ ? Life(line) : Start(line);
  }
}

void Control::Hello(Line& line) {
  line.inbox = HelloOf(script_.in, 0);
  if (line.inbox.empty()) line.closed = true;
  if (script_.in.Byte() > 240) line.pause = static_cast<int64_t>(script_.in.Number(2));
}

void Control::Start(Line& line) {
  Input& in = script_.in;
  const uint8_t what = in.Byte() % 16;
  const uint8_t a = in.Byte();
  const uint8_t b = in.Byte();
  switch (what) {
    case 0:
    case 1: line.inbox = BytesOf(kReturn, 1 + a % 2 * 2, 0, 1 + b * 1'000, in.Text(a % 16)); return;
    case 2:
      line.inbox = BytesOf(kRegister, 3, 0, 0) + BytesOf(kRegister, 2, 0, 0, "Count") +
                   BytesOf(kRegister, 1, a % 2, 0, in.Text(b % 16));
      return;
    case 3: line.inbox = BytesOf(kRegister, a % 6, b, 0, in.Text(b % 16)); return;
    case 4: line.inbox = BytesOf(kErrorCode, 0, a % 40, 400 + b, in.Text(a % 16)); return;
    case 5:
      line.rest = a < 200 ? 0 : b * 10;
      line.inbox = BytesOf(kLog, a % 4, 0, 0, in.Text(b));
      return;
    case 6: line.inbox = BytesOf(kReturn, 0, 0, 0, "off"); return;
    case 7: line.inbox = BytesOf(kReturn, a, b % 3, in.Size()); return;
    case 8: line.pause = 1 + a * 1'000 + b; return;
    case 9: script_.system.now += static_cast<int64_t>(a * 1'000 + b) * 1'000'000; return More(line);
    case 10: line.silent = true; return;
    case 11: (a % 2 == 0 ? line.closed : line.reset) = true; return;
    case 12: {
      const uint64_t size = in.Size();
      line.inbox = BytesOf(a, b, b, size, in.Text(b % 32));
      return;
    }
    case 13: line.inbox = in.Text(1 + a % 64); return;
    case 14: {  // more registrations than an engine may send
      const std::string one =
          a % 2 == 0 ? BytesOf(kRegister, 1 + a / 2 % 4, 0, 0, "/r") : BytesOf(kErrorCode, 0, a % 32, 500, "x");
      for (int count = 1 + b * 2; count > 0; count--) line.inbox += one;
      return;
    }
    case 15:  // longer texts than an engine may send
      line.inbox = BytesOf(a % 2 == 0 ? kRegister : kReturn, a / 2 % 5, 0, 1, std::string(b * 5'000, 'l'));
      return;
  }
}

void Control::Life(Line& line) {
  Input& in = script_.in;
  const uint8_t what = in.Byte() % 8;
  const uint8_t a = in.Byte();
  switch (what) {
    case 0: line.inbox = BytesOf(kPong, 0, 0, a); return;
    case 1: line.inbox = BytesOf(kLog, a, 0, 0, in.Text(a % 16)); return;
    case 2:
    case 3: line.inbox = BytesOf(kGrow, 0, 0, a % 4, "no way"); return;
    case 4: line.inbox = BytesOf(a % 20, a, a, in.Size(), std::string(a * 30, 'x')); return;
    case 5: line.inbox = in.Text(1 + a % 64); return;
    case 6: line.closed = true; return;
    case 7: line.silent = true; return;
  }
}

}  // namespace fuzz
