#include "call.h"

#include <algorithm>
#include <cstring>

namespace ocs {

namespace {

constexpr uint16_t kTooLarge = 413;
constexpr uint64_t kPriorityZero = 1ull << 31;  // priorities are signed, the arguments of frames are not

Ending EndingOf(Io io) {
  switch (io) {
    case Io::Closed: return Ending::Interrupted;
    case Io::TimedOut: return Ending::TimedOut;
    case Io::TooLarge: return Ending::TooLarge;
    default: return Ending::Broken;
  }
}

bool IsRead(Verb verb) { return verb == Verb::Read || verb == Verb::ReadRange; }

// SUBMIT gives one id in a call, and BACKGROUND has no end.
bool Allows(Verb verb, Kind question) { return verb != Verb::Background || question == Kind::Upcall; }

bool IsJob(Verb verb) { return verb >= Verb::JobStep && verb <= Verb::JobRestore; }

bool BringsContent(Verb verb) { return !IsRead(verb) && verb != Verb::Remove; }

// Whether a RETURN ok is a valid answer to its verb. Otherwise Orthanc would see a success, and the client would get no
// answer.
bool Says(const Call& call, const Header& ok) {
  if (call.verb == Verb::JobStep) return ok.flags >= 1 && ok.flags <= 3;
  if (call.verb != Verb::Rest) return true;
  switch (static_cast<AnswerKind>(ok.flags)) {
    case AnswerKind::Body: return IsHttpStatus(ok.argument);
    case AnswerKind::Error: return ok.argument >= 1 && ok.argument <= INT32_MAX;
    case AnswerKind::MethodNotAllowed: return true;
  }
  return false;
}

// Small content travels with its call. The engine has the same rule (Conversation.split).
Io SendCall(Channel& channel, const Call& call, Deadline deadline) {
  const uint8_t verb = static_cast<uint8_t>(call.verb);
  if (BringsContent(call.verb)) {
    const size_t sent_along = call.size <= kInlineBytes ? static_cast<size_t>(call.size) : 0;
    const Slice head =
        call.verb == Verb::Create ? Slice{call.uuid, kUuidBytes} : Slice{call.envelope.data(), call.envelope.size()};
    return channel.Send(HeaderOf(Kind::Call, call.size, verb, call.type), head, {call.content, sent_along}, deadline);
  }
  const std::string length = call.verb == Verb::ReadRange ? Number(call.size, 8) : "";
  return channel.Send(HeaderOf(Kind::Call, call.start, verb, call.type), {call.uuid, kUuidBytes},
                      {length.data(), length.size()}, deadline);
}

Io ServePull(Channel& channel, const Call& call, const Header& pull, Deadline deadline) {
  uint8_t bytes[4];
  if (!BringsContent(call.verb) || pull.length != sizeof bytes) return Io::Broken;
  const Io io = channel.Receive(bytes, sizeof bytes, deadline);
  if (io != Io::Ok) return io;
  const uint32_t wanted = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24;
  if (wanted == 0 || wanted > kMaxPayload || pull.argument > call.size || wanted > call.size - pull.argument)
    return Io::Broken;
  const Slice slice{static_cast<const uint8_t*>(call.content) + pull.argument, wanted};
  return channel.Send(HeaderOf(Kind::Data, pull.argument), {nullptr, 0}, slice, deadline);
}

Io SendReply(Channel& channel, const Reply& reply, Deadline deadline) {
  const bool fits = reply.body.size() <= kMaxPayload;
  const Header header = HeaderOf(Kind::Reply, reply.error, reply.stopping ? 1 : 0, fits ? reply.http : kTooLarge);
  return channel.Send(header, {reply.body.data(), fits ? reply.body.size() : 0}, {nullptr, 0}, deadline);
}

// Upcall, Submit or Metric: what the engine wants of Orthanc in the middle of a call.
Io ServeUpcall(Channel& channel, const Call& call, const Header& header, Deadline deadline) {
  if (call.api == nullptr || !Allows(call.verb, header.kind)) return Io::Broken;
  std::string payload, first, second;
  const Io io = ReceiveText(channel, header.length, &payload, deadline, kMaxPayload);
  if (io != Io::Ok) return io;
  if (header.kind == Kind::Metric) {
    call.api->Metric(payload, static_cast<int64_t>(header.argument));
    return Io::Ok;
  }
  size_t at = 0;
  if (!Unpack(payload.data(), payload.size(), &at, &first) || !Unpack(payload.data(), payload.size(), &at, &second) ||
      at != payload.size())
    return Io::Broken;
  if (header.kind == Kind::Submit && header.argument > UINT32_MAX) return Io::Broken;  // Orthanc has no such priority
  return SendReply(
      channel,
      header.kind == Kind::Submit
          ? call.api->Submit(header.flags, static_cast<int32_t>(header.argument - kPriorityZero), first, second)
          : call.api->Rest(header.flags, first, second),
      deadline);
}

// What was tried, as the log says it.
std::string Attempt(const Call& call) {
  switch (call.verb) {
    case Verb::Rest: return "cannot answer a REST request: ";
    case Verb::Metrics: return "cannot refresh the metrics: ";
    case Verb::Background: return "cannot let the storage engine ask Orthanc: ";
    case Verb::JobStep:
    case Verb::JobStop:
    case Verb::JobReset:
    case Verb::JobRestore: return "cannot run a job: ";
    default: break;
  }
  const char* const verb = call.verb == Verb::Create ? "write" : call.verb == Verb::Remove ? "remove" : "read";
  return std::string("cannot ") + verb + " '" + std::string(call.uuid, kUuidBytes) + "': ";
}

}  // namespace

Io ReceiveText(Channel& channel, size_t size, std::string* text, Deadline deadline, size_t limit) {
  text->resize(std::min(size, limit));
  const Io io = channel.Receive(&(*text)[0], text->size(), deadline);
  return io == Io::Ok ? channel.Discard(size - text->size(), deadline) : io;
}

namespace {

// A result while it comes in. RESERVE begins it, or begins it again. FILLs follow one another to its end.
class Incoming {
 public:
  explicit Incoming(Result* result) : result_(result) {}

  bool Begin(const Header& reserve) {
    if (result_ == nullptr || reserve.length != 0 || !result_->Accepts(reserve.argument)) return false;
    result_->Drop();
    size_ = reserve.argument;
    filled_ = 0;
    begun_ = true;
    no_memory_ = !result_->Reserve(size_);
    return true;
  }

  Io Fill(Channel& channel, const Header& fill, Deadline deadline) {
    if (!begun_ || fill.argument != filled_ || fill.length > size_ - filled_) return Io::Broken;
    const uint64_t at = filled_;
    filled_ += fill.length;
    return no_memory_ ? channel.Discard(fill.length, deadline)
                      : channel.Receive(result_->data() + at, fill.length, deadline);
  }

  Ending End(Verb verb) const {
    if (filled_ != size_ || (!begun_ && IsRead(verb))) return Ending::Broken;  // bytes are missing
    if (no_memory_) return Ending::NoMemory;
    return !begun_ || !IsJob(verb) || AreTexts() ? Ending::Ok : Ending::Broken;
  }

 private:
  // A job leaves its content and its serialized text.
  bool AreTexts() const {
    const char* const bytes = reinterpret_cast<const char*>(result_->data());
    std::string content, serialized;
    size_t at = 0;
    return Unpack(bytes, size_, &at, &content) && Unpack(bytes, size_, &at, &serialized) && at == size_;
  }

  Result* const result_;
  bool begun_ = false;
  bool no_memory_ = false;
  uint64_t size_ = 0;
  uint64_t filled_ = 0;
};

Answer Converse(Channel& channel, const Call& call, Deadline deadline) {
  // Bytes that are there already belong to the call before. A RETURN in them would look like the answer to this call.
  if (!channel.Quiet()) return Answer::Ended(Ending::Interrupted);
  Incoming incoming(call.result);
  Io io = SendCall(channel, call, deadline);
  // If the first frame fits no turn, it is left over from the call before. Then only the connection is bad, not the
  // engine.
  for (Ending wrong = Ending::Interrupted; io == Io::Ok; wrong = Ending::Broken) {
    // Reads of an engine that is never silent do not wait, so they never time out. So the deadline is checked here,
    // too.
    if (Clock::now() >= deadline) return Answer::Ended(Ending::TimedOut);
    Header header;
    Answer answer;
    io = channel.ReceiveHeader(&header, deadline);
    if (io == Io::Ok) {
      switch (header.kind) {
        case Kind::Pull: io = ServePull(channel, call, header, deadline); break;
        case Kind::Reserve: io = incoming.Begin(header) ? Io::Ok : Io::Broken; break;
        case Kind::Fill: io = incoming.Fill(channel, header, deadline); break;
        case Kind::Upcall:
        case Kind::Submit:
        case Kind::Metric: io = ServeUpcall(channel, call, header, deadline); break;
        case Kind::Return:
          io = ReceiveText(channel, header.length, &answer.text, deadline);
          if (io != Io::Ok) break;
          answer.flags = header.flags;
          answer.argument = header.argument;
          answer.fault = header.status;
          answer.ending = header.status != 0   ? Ending::Fault
                          : Says(call, header) ? incoming.End(call.verb)
                                               : Ending::Broken;
          if (answer.ending != Ending::Broken) return answer;
          io = Io::Broken;
          break;
        default: io = Io::Broken;
      }
    }
    if (io == Io::Broken) return Answer::Ended(wrong);
  }
  return Answer::Ended(EndingOf(io));
}

}  // namespace

Answer Perform(Channel& channel, const Call& call, Deadline deadline) {
  const Answer answer = Converse(channel, call, deadline);
  if (answer.ending != Ending::Ok && call.result != nullptr) call.result->Drop();
  return answer;
}

std::string LineOf(const Call& call, const Answer& answer) {
  if (answer.ending == Ending::Ok && call.verb == Verb::Rest) return "";  // its text is part of the answer
  if (answer.ending == Ending::Ok || answer.ending == Ending::Fault) return answer.text;
  if (call.probe) return "";  // that the engine is away was logged once, and is not for each probe
  const std::string what = Attempt(call);
  switch (answer.ending) {
    case Ending::NoMemory: return what + "Orthanc has no memory for the result";
    case Ending::Interrupted:
      return what + "the storage engine died or was cut off " + std::to_string(kAttempts) +
             " times during this operation";
    case Ending::TimedOut: return what + "the storage engine did not finish in time";
    case Ending::Stopped: return what + "Orthanc is stopping";
    case Ending::Down: return what + "the storage engine cannot start: " + answer.text;
    case Ending::TooLarge: return what + "its address is larger than 16 MiB";
    default: return what + "the storage engine broke the protocol";
  }
}

}  // namespace ocs
