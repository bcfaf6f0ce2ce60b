// Orthanc as a plugin sees it. It notes what it is asked, checks that the engine has asked for it, and counts what it
// gives out.
#pragma once
#include <orthanc/OrthancCPlugin.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "../sdk.h"
#include "script.h"

namespace fuzz {

// Orthanc's configuration, with an engine and a Node.js that are looked for but never run.
std::string Configuration();

class Orthanc {
 public:
  Orthanc(Script& script, const char* version);
  ~Orthanc();

  // OrthancPluginInitialize(), with this configuration.
  int32_t Load(const std::string& configuration);
  // OrthancPluginFinalize(), after which nothing of the plugin's may be left.
  void Unload();

  void Free(void* memory);

  struct Answer {
    int count = 0;  // how many were given
    uint16_t status = 0;
    std::string body, type, details, methods;
  };

  _OrthancPluginRegisterStorageArea2 area2{};
  _OrthancPluginRegisterStorageArea area{};
  OrthancPluginOnChangeCallback on_change = nullptr;
  std::vector<std::pair<std::string, OrthancPluginRestCallback>> routes;
  OrthancPluginJobsUnserializer unserializer = nullptr;
  OrthancPluginRefreshMetricsCallback refresh = nullptr;
  std::vector<_OrthancPluginCreateJob> jobs;
  std::map<void*, std::pair<std::string, std::string>> texts;  // content and serialized, as they must be
  Answer answer;
  int registrations = 0;
  std::set<int> codes;  // of errors, that were registered
  bool loaded = false;  // Orthanc uses what was registered
  uint64_t most_memory = 0;
  int refusals = 0;                // 1: of jobs, 2: of submissions
  std::map<void*, size_t> memory;  // given out

 private:
  static Orthanc* current;
  OrthancPluginErrorCode Serve(_OrthancPluginService service, const void* params);
  void Register(_OrthancPluginService service, const void* params);
  OrthancPluginErrorCode CallRest(const _OrthancPluginCallRestApi& call);
  OrthancPluginErrorCode CreateJob(const _OrthancPluginCreateJob& job);
  OrthancPluginErrorCode SetMetric(const char* name, int64_t value, bool exact);
  OrthancPluginErrorCode SubmitJob(const _OrthancPluginSubmitJob& submission);
  Asked Next(uint8_t kind);
  void Reply(uint16_t status, uint64_t error, const std::string& body);
  char* Text(const std::string& text);

  bool IsNew() const { return std::string(context_.orthancVersion) == "1.13.0"; }

  Script& script_;
  OrthancPluginContext context_{};
  std::string configuration_;
};

}  // namespace fuzz
