#include "script.h"

#include <algorithm>

namespace fuzz {

namespace {

constexpr uint64_t kMost = 1 << 20;  // a result that there is always memory for
constexpr int64_t kResetTime = 5'000;

Frame FrameOf(uint8_t kind, uint64_t argument, std::string payload) {
  Frame frame;
  frame.kind = kind;
  frame.argument = argument;
  frame.payload = std::move(payload);
  return frame;
}

}  // namespace

std::string Two(Input& in) {
  std::string both = Packed(in.Text(in.Byte() % 16));
  both += Packed(in.Text(in.Byte() % 16));
  return both;
}

Script::Script(Input& input) : in(input) {
  const uint8_t portion = in.Byte();
  const uint8_t stutter = in.Byte();
  system.portion = portion < 128 ? 0 : portion - 127;
  system.stutter = stutter < 128 ? 0 : stutter - 126;
}

void Script::Begin(Calling call) {
  calling = std::move(call);
  outcome = Outcome();
  refused = false;
  submitted.clear();
  asked.clear();
  owed.clear();
}

int Script::OpenWorker(std::string hello) { return std::make_shared<Worker>(*this)->Open(std::move(hello)); }

int Worker::Open(std::string hello) {
  Line line;
  line.inbox = std::move(hello);
  line.more = [self = shared_from_this()](Line& its) { self->More(its); };
  line.took = [self = shared_from_this()](const char* bytes, size_t size) { self->Took(bytes, size); };
  line.got = [self = shared_from_this()](const char* bytes, size_t size) {
    self->from_plugin_.Take(bytes, size, [&self](const Frame& frame) { self->Got(frame); });
    MUST(!self->from_plugin_.broken());
  };
  return fd_ = script_.system.Open(std::move(line));
}

// ---- what the plugin sends

void Worker::Got(const Frame& frame) {
  if (frame.kind != kCall) {
    MUST(in_call_ && !script_.owed.empty());
    const Frame owed = script_.owed.front();
    script_.owed.pop_front();
    MUST(frame.kind == owed.kind && frame.flags == owed.flags && frame.status == owed.status);
    MUST(frame.argument == owed.argument && frame.payload == owed.payload);
    return;
  }
  MUST(greeted_);            // else it is a stranger's
  MUST(!in_call_ && !bad_);  // else the connection carries a call though the one before has not ended well
  call_ = script_.calling;
  if (call_.verb == kJobStep && frame.flags == kJobReset) {  // the reset that failed before, and is done now
    call_.verb = kJobReset;
    call_.asks = false;
    call_.time = kResetTime;
  }
  MUST(call_.verb != 0 && frame.flags == call_.verb && frame.status == call_.status &&
       frame.argument == call_.argument);
  MUST((IsJob(call_.verb) ? frame.payload.substr(8) : frame.payload) == call_.payload);
  in_call_ = true;
  calls_++;
  begun_ = false;
  result_.clear();
  size_ = 0;
  stale_ = script_.system.lines.at(fd_).left();
  until_ = call_.time == kEver ? INT64_MAX : script_.system.now + call_.time * 1'000'000;
  late_ = 0;
  script_.outcome = Outcome();
  script_.asked.clear();
  script_.owed.clear();
}

// ---- what the plugin reads

void Worker::Took(const char* bytes, size_t size) {
  if (in_call_ && stale_ > 0) bad_ = true;
  stale_ -= std::min(stale_, size);
  from_engine_.Take(bytes, size, [this](const Frame& frame) { calls_ == 0 && !in_call_ ? Greet(frame) : Read(frame); });
  bad_ = bad_ || from_engine_.broken();
}

void Worker::Greet(const Frame& frame) {
  greeted_ =
      !greeted_ && frame.kind == kHello && frame.flags == 1 && frame.argument == kProtocolNumber && frame.length <= 256;
}

void Worker::Read(const Frame& frame) {
  if (!in_call_ || bad_) return;
  if (script_.system.now > until_) MUST(++late_ < 3);  // else an engine that is never silent holds Orthanc for ever
  if (frame.kind == kReturn)
    Return(frame);
  else if (!Fits(frame))
    bad_ = true;
}

bool Worker::Fits(const Frame& frame) {
  switch (frame.kind) {
    case kPull: {
      if (frame.length != 4) return false;
      const uint64_t wanted = FromLittle(frame.payload, 0, 4);
      const uint64_t size = call_.content.size();
      if (wanted < 1 || wanted > 16777216 || frame.argument > size || wanted > size - frame.argument) return false;
      script_.owed.push_back(FrameOf(kData, frame.argument, call_.content.substr(frame.argument, wanted)));
      return true;
    }
    case kReserve:
      if (!call_.result || frame.length != 0) return false;
      if (call_.fixed >= 0 && frame.argument != static_cast<uint64_t>(call_.fixed)) return false;
      begun_ = true;
      size_ = frame.argument;
      result_.clear();
      return true;
    case kFill:
      if (!begun_ || frame.argument != result_.size() || frame.length > size_ - result_.size()) return false;
      result_ += frame.payload;
      return true;
    case kUpcall: return call_.asks && Ask(frame);
    case kSubmit:
    case kMetric: return call_.asks && call_.verb != kBackground && Ask(frame);
    default: return false;
  }
}

bool Worker::Ask(const Frame& frame) {
  Asked asked;
  asked.kind = frame.kind;
  if (frame.kind == kMetric) {
    asked.first = frame.payload;
    asked.value = static_cast<int64_t>(frame.argument);
    script_.asked.push_back(asked);
    return true;
  }
  if (!TwoTexts(frame.payload, &asked.first, &asked.second)) return false;
  asked.method = frame.flags;
  asked.priority = static_cast<int64_t>(frame.argument) - 2147483648;
  if (frame.kind == kSubmit && asked.priority > INT32_MAX) return false;
  Frame reply = FrameOf(kReply, 0, "");
  if (script_.stopping) {
    reply.flags = 1;
    script_.owed.push_back(reply);
  } else if (frame.kind == kSubmit && !script_.submitted.empty()) {
    reply.status = 200;
    reply.payload = script_.submitted;
    script_.owed.push_back(reply);
  } else {
    script_.asked.push_back(asked);
  }
  return true;
}

void Worker::Return(const Frame& frame) {
  Outcome& outcome = script_.outcome;
  outcome.verb = call_.verb;
  outcome.fault = frame.status;
  outcome.flags = frame.flags;
  outcome.argument = frame.argument;
  outcome.text = frame.payload.substr(0, 4096);
  if (frame.status == 0) {
    bool fits = result_.size() == size_ && (begun_ || !call_.demanded);
    if (call_.verb == kRest)
      fits = fits && (frame.flags == 0   ? frame.argument >= 100 && frame.argument <= 599
                      : frame.flags == 1 ? frame.argument >= 1 && frame.argument <= INT32_MAX
                                         : frame.flags == 2);
    if (call_.verb == kJobStep) fits = fits && frame.flags >= 1 && frame.flags <= 3;
    std::pair<std::string, std::string> texts;
    if (IsJob(call_.verb)) fits = fits && (!begun_ || TwoTexts(result_, &texts.first, &texts.second));
    if (!fits) {
      bad_ = true;
      return;
    }
    if (IsJob(call_.verb) && begun_) script_.texts = texts;
    if (call_.verb != script_.calling.verb) {  // the step comes next, with what the reset has left
      script_.calling.payload.clear();
      script_.calling.Bring(script_.texts.second);
    }
    outcome.ok = true;
    outcome.begun = begun_;
    outcome.result = result_;
    outcome.certain = !script_.refused && size_ <= kMost;
  }
  outcome.returned = true;
  in_call_ = false;
}

// ---- what the engine says next

void Worker::Send(uint8_t kind, uint64_t argument, const std::string& payload, uint16_t status, uint8_t flags) {
  script_.system.lines.at(fd_).inbox += BytesOf(kind, flags, status, argument, payload);
}

void Worker::SendOk(const std::string& text) {
  const uint8_t which = IsJob(call_.verb) || call_.verb == kRest ? script_.in.Byte() : 0;
  uint8_t flags = call_.verb == kJobStep ? 1 + which % 3 : call_.verb == kRest ? which % 3 : 0;
  const uint16_t statuses[] = {200, 404, 303};
  const uint64_t argument = call_.verb != kRest ? which * 4'000 : flags == 0 ? statuses[which / 3 % 3] : 1 + which;
  Send(kReturn, argument, text, 0, flags);
}

// Sends a whole result.
void Worker::Result(uint64_t size) {
  Input& in = script_.in;
  const std::string bytes =
      IsJob(call_.verb) ? Two(in) : in.Text(call_.fixed >= 0 ? static_cast<uint64_t>(call_.fixed) : size);
  Send(kReserve, bytes.size());
  const size_t first = bytes.empty() ? 0 : in.Byte() % (bytes.size() + 1);
  Send(kFill, 0, bytes.substr(0, first));
  Send(kFill, first, bytes.substr(first));
}

void Worker::More(Line& line) {
  Input& in = script_.in;
  if (in.empty() || !in_call_) {
    line.closed = in.empty();
    line.silent = !line.closed;
    return;
  }
  const uint8_t what = in.Byte() % 24;
  const uint8_t a = in.Byte();
  const uint8_t b = what < 15 ? 0 : in.Byte();
  const uint64_t size = what < 15 ? 0 : in.Size();
  const uint64_t left = begun_ && size_ > result_.size() ? size_ - result_.size() : 0;
  switch (what) {
    case 0: return SendOk("");
    case 1: Result(a); return SendOk(in.Text(a % 8));
    case 2: return Result(std::min(in.Size(), kMost / 4));
    case 3: return Send(kReserve, call_.fixed >= 0 ? static_cast<uint64_t>(call_.fixed) : a);
    case 4: return Send(kFill, result_.size(), in.Text(std::min<uint64_t>(left, a)));
    case 5: {
      const uint64_t at = in.Below(call_.content.size());
      return Send(kPull, at, Little(1 + in.Below(std::max<uint64_t>(call_.content.size() - at, 1)), 4));
    }
    case 6: return Send(kUpcall, 0, Two(in), 0, 1 + a / 2 % 4);
    case 7: return Send(kSubmit, (a < 250 ? 2147483648u : 4294967290u) + uint64_t(a), Two(in));
    case 8: {
      const std::string name = in.Text(a % 8);
      return Send(kMetric, in.Number(4), name);
    }
    case 9: return Send(kReturn, a, in.Text(a % 16), 1 + a % 40, a);
    case 10: script_.system.now += static_cast<int64_t>(in.Number(3)) * 1'000'000; return More(line);
    case 11: line.pause = static_cast<int64_t>(1 + in.Number(2)); return;
    case 12:  // nobody ends the wait for a silent engine but the supervisor, which is not here
      (call_.verb == kBackground ? line.closed : line.silent) = true;
      return;
    case 13: line.closed = true; return;
    case 14: line.reset = true; return;
    case 15: return Send(a, size, in.Text(b % 32), b, static_cast<uint8_t>(size));
    case 16: line.inbox += in.Text(1 + a % 64); return;
    case 17: return Send(kReturn, size, in.Text(a % 16), b % 4 == 0 ? a : 0, b / 4);
    case 18:  // a whole answer, and more than that
      Result(a);
      SendOk("");
      return b % 2 == 0 ? SendOk("") : Send(kPull, 0, Little(1, 4));
    case 19: return Send(kPull, size, Little(in.Size(), 4));
    case 20: return Send(kFill, size, in.Text(a));
    case 21: return Send(kReserve, size, in.Text(a % 2));
    case 22: return Send(kUpcall + a % 5, size, a < 128 ? Two(in) : in.Text(b % 64), b, b);
    case 23:  // a text of any length, which the plugin cuts
      return Send(kReturn, 200, std::string(size % 20'000, 't'), a % 2, call_.verb == kJobStep ? 3 : 0);
  }
}

}  // namespace fuzz
