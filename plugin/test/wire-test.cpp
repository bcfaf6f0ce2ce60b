// Frames, and the settings of Orthanc's that the plugin reads.
#include <fstream>
#include <sstream>

#include "../setting.h"
#include "check.h"

using namespace ocs;

namespace {

// ---- frames

std::string Unhex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; hex != "-" && i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

void FrameVectors() {
  std::ifstream file(frames_file);
  std::string line;
  int count = 0;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string verdict, name, payload, frame;
    uint64_t length = 0, kind = 0, flags = 0, status = 0, argument = 0;
    words >> verdict >> name >> length >> kind >> flags >> status >> argument >> payload >> frame;
    const std::string bytes = Unhex(frame);
    Header header;
    const bool good = Decode(reinterpret_cast<const uint8_t*>(bytes.data()), &header);
    CHECK(good == (verdict == "good"));
    count++;
    if (!good) continue;
    CHECK(header.length == length && static_cast<uint64_t>(header.kind) == kind && header.flags == flags);
    CHECK(header.status == status && header.argument == argument);
    uint8_t encoded[kHeaderBytes];
    Encode(header, encoded);
    CHECK(std::string(reinterpret_cast<char*>(encoded), kHeaderBytes) + Unhex(payload) == bytes);
  }
  CHECK(count == 49);
}

// ---- settings

void Settings() {
  const std::string json =
      "{\"A\":[1,{\"CloudStorage\":{\"Node\":\"no\"}},\"}\"],\"N\":null,\"X\":-1.5e3,\"T\":true,\"S\":"
      "\"\\\"CloudStorage\\\"\",\n"
      " \"CloudStorage\" : { \"Other\":{\"Node\":\"no\"}, \"Engine\":\"/a\\/b \\\"c\\\"\\u0041\", \"Node\" : \"/n\", "
      "\"Flag\":false } }";
  CHECK(FindSetting(json, {"CloudStorage", "Engine"}) == "/a/b \"c\"A");
  CHECK(FindSetting(json, {"CloudStorage", "Node"}) == "/n");
  CHECK(FindSetting(json, {"CloudStorage", "Flag"}).empty());
  CHECK(FindSetting(json, {"CloudStorage", "Absent"}).empty());
  CHECK(FindSetting(json, {"Absent", "Node"}).empty());
  CHECK(FindSetting(json, {"S"}) == "\"CloudStorage\"" && FindSetting(json, {"A"}).empty());
  CHECK(HasSetting(json, "CloudStorage") && !HasSetting(json, "Engine") && !HasSetting("[]", "CloudStorage"));
  for (size_t end = 0; end < json.size(); end++)
    FindSetting(json.substr(0, end), {"CloudStorage", "Nothing"});  // just ends
  for (const char* odd :
       {"", "[]", "{\"CloudStorage\":[]}", "{\"CloudStorage\":{\"Node\":3}}", "{\"CloudStorage\"", "nonsense"})
    CHECK(FindSetting(odd, {"CloudStorage", "Node"}).empty());
}

}  // namespace

const std::vector<Test> kWireTests = {TEST(FrameVectors), TEST(Settings)};
