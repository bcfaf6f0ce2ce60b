#include "call.h"

#include <algorithm>
#include <cstring>

namespace ocs {

namespace {

constexpr uint16_t kTooLarge = 413;
constexpr uint64_t kPriorityZero = 1ull << 31;  // priorities are signed, arguments are not

Answer Ended(Io io) {
  Answer answer;
  answer.ending = io == Io::Closed ? Ending::Interrupted : io == Io::TimedOut ? Ending::TimedOut : Ending::Broken;
  return answer;
}

bool IsRead(Verb verb) { return verb == Verb::Read || verb == Verb::ReadRange; }

bool BringsContent(Verb verb) { return !IsRead(verb) && verb != Verb::Remove; }

Io SendCall(Channel& channel, const Call& call, Deadline deadline) {
  Header header;
  header.kind = Kind::Call;
  header.flags = static_cast<uint8_t>(call.verb);
  header.status = call.type;
  if (BringsContent(call.verb)) {
    header.argument = call.size;
    const size_t sent_along = call.size <= kInlineBytes ? static_cast<size_t>(call.size) : 0;
    const Slice head =
        call.verb == Verb::Create ? Slice{call.uuid, kUuidBytes} : Slice{call.envelope.data(), call.envelope.size()};
    return channel.Send(header, head, {call.content, sent_along}, deadline);
  }
  uint8_t length[8];
  for (int i = 0; i < 8; i++) length[i] = static_cast<uint8_t>(call.size >> (8 * i));
  header.argument = call.start;
  const size_t tail = call.verb == Verb::ReadRange ? sizeof length : 0;
  return channel.Send(header, {call.uuid, kUuidBytes}, {length, tail}, deadline);
}

Io ServePull(Channel& channel, const Call& call, const Header& pull, Deadline deadline) {
  uint8_t bytes[4];
  if (!BringsContent(call.verb) || pull.length != sizeof bytes) return Io::Broken;
  const Io io = channel.Receive(bytes, sizeof bytes, deadline);
  if (io != Io::Ok) return io;
  const uint32_t wanted = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24;
  if (wanted == 0 || wanted > kMaxPayload || pull.argument > call.size || wanted > call.size - pull.argument)
    return Io::Broken;
  Header data;
  data.kind = Kind::Data;
  data.argument = pull.argument;
  return channel.Send(data, {nullptr, 0}, {static_cast<const uint8_t*>(call.content) + pull.argument, wanted},
                      deadline);
}

Io SendReply(Channel& channel, const Reply& reply, Deadline deadline) {
  Header header;
  header.kind = Kind::Reply;
  header.flags = reply.stopping ? 1 : 0;
  const bool fits = reply.body.size() <= kMaxPayload;
  header.status = fits ? reply.http : kTooLarge;
  header.argument = reply.error;
  return channel.Send(header, {reply.body.data(), fits ? reply.body.size() : 0}, {nullptr, 0}, deadline);
}

// Upcall, Submit or Metric: what the engine asks of Orthanc in the middle of a call.
Io ServeUpcall(Channel& channel, const Call& call, const Header& header, Deadline deadline) {
  if (call.upcalls == nullptr) return Io::Broken;
  std::string payload, first, second;
  const Io io = ReceiveText(channel, header.length, &payload, deadline, kMaxPayload);
  if (io != Io::Ok) return io;
  size_t at = 0;
  if (!Unpack(payload.data(), payload.size(), &at, &first)) return Io::Broken;
  if (header.kind == Kind::Metric) {
    float value = 0;
    if (payload.size() - at != sizeof value) return Io::Broken;
    std::memcpy(&value, payload.data() + at, sizeof value);
    call.upcalls->Metric(first, value);
    return Io::Ok;
  }
  if (!Unpack(payload.data(), payload.size(), &at, &second) || at != payload.size()) return Io::Broken;
  return SendReply(channel,
                   header.kind == Kind::Submit
                       ? call.upcalls->Submit(static_cast<int32_t>(header.argument - kPriorityZero), first, second)
                       : call.upcalls->Rest(header.flags, (header.status & 1) != 0, first, second),
                   deadline);
}

// What was tried, for the log.
std::string Attempt(const Call& call) {
  switch (call.verb) {
    case Verb::Rest: return "cannot answer a REST request: ";
    case Verb::Metrics: return "cannot refresh the metrics: ";
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

Answer Perform(Channel& channel, const Call& call, Deadline deadline) {
  Io io = SendCall(channel, call, deadline);
  bool reserved = false;
  bool no_memory = false;
  uint64_t size = 0;
  uint64_t filled = 0;
  while (io == Io::Ok) {
    Header header;
    io = channel.ReceiveHeader(&header, deadline);
    if (io != Io::Ok) break;
    switch (header.kind) {
      case Kind::Pull: io = ServePull(channel, call, header, deadline); break;

      case Kind::Reserve:
        if (reserved || call.result == nullptr || header.length != 0 || !call.result->Accepts(header.argument))
          return Ended(Io::Broken);
        reserved = true;
        size = header.argument;
        no_memory = !call.result->Reserve(size);
        break;

      case Kind::Fill:
        if (!reserved || header.argument != filled || header.length > size - filled) return Ended(Io::Broken);
        io = no_memory ? channel.Discard(header.length, deadline)
                       : channel.Receive(call.result->data() + filled, header.length, deadline);
        filled += header.length;
        break;

      case Kind::Upcall:
      case Kind::Submit:
      case Kind::Metric: io = ServeUpcall(channel, call, header, deadline); break;

      case Kind::Return: {
        Answer answer;
        answer.flags = header.flags;
        answer.argument = header.argument;
        io = ReceiveText(channel, header.length, &answer.text, deadline);
        if (io != Io::Ok) return Ended(io);
        answer.fault = header.status;
        if (header.status != 0) {
          answer.ending = Ending::Fault;
        } else if (no_memory) {
          answer.ending = Ending::NoMemory;
        } else if (call.result == nullptr || (filled == size && (reserved || !IsRead(call.verb)))) {
          answer.ending = Ending::Ok;
        }  // else Broken: "ok", but bytes are missing
        return answer;
      }

      default: io = Io::Broken;
    }
  }
  return Ended(io);
}

std::string LineOf(const Call& call, const Answer& answer) {
  if (answer.ending == Ending::Ok && call.verb == Verb::Rest) return "";  // its text is part of the answer
  if (answer.ending == Ending::Ok || answer.ending == Ending::Fault) return answer.text;
  const std::string what = Attempt(call);
  switch (answer.ending) {
    case Ending::NoMemory: return what + "Orthanc has no memory for the result";
    case Ending::Interrupted:
      return what + "the storage engine died " + std::to_string(kAttempts) + " times while it was at it";
    case Ending::TimedOut: return what + "the storage engine did not finish in time";
    case Ending::Stopped: return what + "Orthanc is stopping";
    default: return what + "the storage engine broke the protocol";
  }
}

}  // namespace ocs
