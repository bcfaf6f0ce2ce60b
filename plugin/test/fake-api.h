// An Orthanc that notes what the engine asks of it.
#pragma once
#include <string>

#include "../orthanc.h"

namespace ocs {

class FakeApi : public OrthancApi {
 public:
  Reply Rest(uint8_t method, const std::string& uri, const std::string& body) override {
    asked += std::to_string(method) + " " + uri + " " + body + "\n";
    return reply;
  }
  Reply Submit(uint8_t type, int32_t priority, const std::string& content, const std::string& serialized) override {
    asked +=
        "submit " + std::to_string(type) + " " + std::to_string(priority) + " " + content + " " + serialized + "\n";
    return reply;
  }
  void Metric(const std::string& name, int64_t value) override { asked += name + " " + std::to_string(value) + "\n"; }
  std::string asked;
  Reply reply;
};

}  // namespace ocs
