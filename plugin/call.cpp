#include "call.h"

#include <algorithm>
#include <cstring>

namespace ocs {

namespace {

constexpr size_t kMaxText = 4096;

Answer Ended(Io io) {
  Answer answer;
  answer.ending = io == Io::Closed ? Ending::Interrupted : io == Io::TimedOut ? Ending::TimedOut : Ending::Broken;
  return answer;
}

Io SendCall(Channel& channel, const Call& call, Deadline deadline) {
  Header header;
  header.kind = Kind::Call;
  header.flags = static_cast<uint8_t>(call.verb);
  header.status = call.type;
  if (call.verb == Verb::Create) {
    header.argument = call.size;
    const size_t sent_along = call.size <= kInlineBytes ? static_cast<size_t>(call.size) : 0;
    return channel.Send(header, {call.uuid, kUuidBytes}, {call.content, sent_along}, deadline);
  }
  uint8_t length[8];
  for (int i = 0; i < 8; i++) length[i] = static_cast<uint8_t>(call.size >> (8 * i));
  header.argument = call.start;
  const size_t tail = call.verb == Verb::ReadRange ? sizeof length : 0;
  return channel.Send(header, {call.uuid, kUuidBytes}, {length, tail}, deadline);
}

Io ServePull(Channel& channel, const Call& call, const Header& pull, Deadline deadline) {
  uint8_t bytes[4];
  if (call.verb != Verb::Create || pull.length != sizeof bytes) return Io::Broken;
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

}  // namespace

Io ReceiveText(Channel& channel, size_t size, std::string* text, Deadline deadline) {
  text->resize(std::min(size, kMaxText));
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

      case Kind::Return: {
        Answer answer;
        io = ReceiveText(channel, header.length, &answer.text, deadline);
        if (io != Io::Ok) return Ended(io);
        answer.fault = header.status;
        if (header.status != 0) {
          answer.ending = Ending::Fault;
        } else if (no_memory) {
          answer.ending = Ending::NoMemory;
        } else if (call.result == nullptr || (reserved && filled == size)) {
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
  if (answer.ending == Ending::Ok || answer.ending == Ending::Fault) return answer.text;
  const char* const verb = call.verb == Verb::Create ? "write" : call.verb == Verb::Remove ? "remove" : "read";
  const std::string what = std::string("cannot ") + verb + " '" + std::string(call.uuid, kUuidBytes) + "': ";
  switch (answer.ending) {
    case Ending::NoMemory: return what + "Orthanc has no memory for the file";
    case Ending::Interrupted:
      return what + "the storage engine died " + std::to_string(kAttempts) + " times while it was at it";
    case Ending::TimedOut: return what + "the storage engine did not finish in time";
    case Ending::Stopped: return what + "Orthanc is stopping";
    default: return what + "the storage engine broke the protocol";
  }
}

}  // namespace ocs
