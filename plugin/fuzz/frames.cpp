// The decoder of frames reads arbitrary bytes in arbitrary portions, and is compared with another decoder. The first
// bytes of the input say how they are cut and how much of a text is kept.
#include "frames.h"

#include <memory>

#include "../call.h"
#include "../listener.h"
#include "script.h"

using namespace fuzz;
using namespace ocs;

namespace {

int OpenLine(Script& script, const std::string& bytes, bool ends) {
  Line line;
  line.inbox = bytes;
  line.closed = ends;
  line.more = [](Line& its) { its.silent = true; };
  return script.system.Open(std::move(line));
}

// The plugin's decoder and the other see the same frames and the same end.
void Decode(Script& script, const std::string& bytes, size_t limit, bool ends) {
  Frames frames;
  std::vector<fuzz::Frame> others;
  frames.Take(bytes.data(), bytes.size(), [&others](const fuzz::Frame& frame) { others.push_back(frame); });
  Channel channel(OpenLine(script, bytes, ends));
  const Deadline deadline = Clock::now() + std::chrono::seconds(1);
  size_t count = 0;
  Io io = Io::Ok;
  for (;;) {
    Header header;
    std::string text;
    io = channel.ReceiveHeader(&header, deadline);
    if (io == Io::Ok) io = ReceiveText(channel, header.length, &text, deadline, limit);
    if (io != Io::Ok) break;
    MUST(count < others.size());
    const fuzz::Frame& other = others[count++];
    MUST(header.length == other.length && static_cast<uint8_t>(header.kind) == other.kind);
    MUST(header.flags == other.flags && header.status == other.status && header.argument == other.argument);
    MUST(text == other.payload.substr(0, limit));
    uint8_t encoded[kHeaderBytes];
    Encode(header, encoded);
    MUST(std::string(encoded, encoded + kHeaderBytes) + other.payload ==
         BytesOf(other.kind, other.flags, other.status, other.argument, other.payload));
  }
  MUST(count == others.size());
  MUST(io == (frames.broken() ? Io::Broken : ends ? Io::Closed : Io::TimedOut));
}

// What is sent in pieces arrives as it was.
void Send(Script& script, const std::string& head, const std::string& body, uint8_t flags) {
  auto sent = std::make_shared<std::string>();
  Line line;
  line.got = [sent](const char* bytes, size_t size) { sent->append(bytes, size); };
  Channel channel(script.system.Open(std::move(line)));
  Header header;
  header.kind = ocs::Kind::Data;
  header.flags = flags;
  MUST(channel.Send(header, {head.data(), head.size()}, {body.data(), body.size()},
                    Clock::now() + std::chrono::seconds(1)) == Io::Ok);
  MUST(*sent == BytesOf(fuzz::kData, flags, 0, 0, head + body));
}

void Texts(const std::string& bytes) {
  size_t at = 0;
  std::string first, second, one, two;
  const bool both = Unpack(bytes.data(), bytes.size(), &at, &first) &&
                    Unpack(bytes.data(), bytes.size(), &at, &second) && at == bytes.size();
  MUST(both == TwoTexts(bytes, &one, &two));
  MUST(!both || (first == one && second == two));
  std::string packed;
  Pack(&packed, bytes);
  MUST(packed == Packed(bytes));
}

// A stranger, or a worker. Whatever it sends, only a HELLO is taken for one, and nothing after it is read.
void Hello(Script& script, const std::string& bytes, bool ends) {
  Frames frames;
  std::vector<fuzz::Frame> others;
  frames.Take(bytes.data(), bytes.size(), [&others](const fuzz::Frame& frame) { others.push_back(frame); });
  const bool first = !others.empty() && others[0].kind == fuzz::kHello && others[0].length <= 256;
  Greeting greeting(Channel(OpenLine(script, bytes, ends)), Clock::now());
  Header hello;
  Io io = Io::TimedOut;
  for (size_t i = 0; i < 4 * bytes.size() + 8 && io == Io::TimedOut; i++) io = greeting.Read(&hello);
  MUST((io == Io::Ok) == first);
  if (first) MUST(hello.flags == others[0].flags && hello.argument == others[0].argument);
  if (first) MUST(script.system.lines.at(greeting.fd()).at == 16 + others[0].length);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  Script script(input);
  const uint8_t how = input.Byte();
  const size_t limit = input.Byte();
  const std::string rest = input.Text(size > 4 ? size - 4 : 0);
  Decode(script, rest, limit, how % 2 == 0);
  Hello(script, rest, how % 2 == 0);
  Send(script, rest.substr(0, limit), rest, how);
  Texts(rest);
  return 0;
}
