// The settings that the plugin reads out of Orthanc's configuration: of any text, and of JSON that the fuzzer has
// written and so knows.
#include <initializer_list>

#include "../setting.h"
#include "input.h"

using fuzz::Input;

namespace {

constexpr int kDeepest = 6;

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const char* const escapes = "\"\"\\\\\nn\tt\rr\bb\ff";
    const std::string pairs(escapes);
    size_t at = 0;
    while (at < pairs.size() && pairs[at] != c) at += 2;
    if (at < pairs.size()) {
      quoted += std::string("\\") + pairs[at + 1];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      const char* const digits = "0123456789abcdef";
      quoted += std::string("\\u00") + digits[c >> 4] + digits[c & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

// Writes JSON as the input says.
class Writer {
 public:
  explicit Writer(Input& in) : in_(in) {}

  // Any value. `told` is the text of a string.
  void Value(int depth, std::string* told) {
    switch (in_.Byte() % (depth < kDeepest ? 8 : 6)) {
      case 0:
      case 1:
        *told = in_.Text(in_.Byte() % 12);
        json += Quoted(*told);
        return;
      case 2: json += "null"; return;
      case 3: json += "-1.5e+3"; return;
      case 4: json += "true"; return;
      case 5: json += "0"; return;
      case 6: {
        std::string other;
        json += "[";
        for (int i = in_.Byte() % 4; i > 0; i--) Space(), Value(depth + 1, &other), json += i > 1 ? "," : "";
        json += "]";
        return;
      }
      default:
        json += "{";
        Members(in_.Byte() % 4, depth + 1, false);
        json += "}";
    }
  }

  // An object that leads by these names to a value, with others before and after it.
  void Path(std::initializer_list<const char*> names, std::string* told) {
    for (const char* name : names) {
      json += "{";
      Members(in_.Byte() % 4, 0, true);
      Space();
      json += Quoted(name);
      Space();
      json += ":";
      Space();
    }
    Value(0, told);
    for (size_t i = names.size(); i > 0; i--) {
      Space();
      const int more = in_.Byte() % 3;
      if (more > 0) json += ",";
      Members(more, 0, false);
      json += "}";
    }
  }

  std::string json;

 private:
  void Space() { json += std::string(in_.Byte() % 3, ' '); }

  void Members(int count, int depth, bool goes_on) {
    std::string other;
    for (; count > 0; count--) {
      Space();
      json += Quoted(in_.Text(in_.Byte() % 4)) + ":";
      Value(depth, &other);
      if (count > 1 || goes_on) json += ",\n";
    }
  }

  Input& in_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  MUST(ocs::FindSetting(text, {"CloudStorage", "Engine"}).size() <= size);
  MUST(ocs::FindSetting(text, {"a"}).size() <= size);
  Input in(bytes, size);
  Writer writer(in);
  std::string wanted;
  writer.Path({"CloudStorage", "Engine"}, &wanted);
  MUST(ocs::FindSetting(writer.json, {"CloudStorage", "Engine"}) == wanted);
  MUST(ocs::FindSetting(writer.json, {"CloudStorage", "Nowhere"}).empty());
  return 0;
}
