// Services of Orthanc's SDK that the oldest header which builds this does not have (1.10.1, of Debian 12). One library
// runs in every Orthanc, so each function here asks the running one for its version, and uses the older service of the
// same purpose only where the newer one is missing.
#pragma once
#include <orthanc/OrthancCPlugin.h>

#include <string>

#include "orthanc.h"

namespace ocs {

// What Orthanc expects, from the headers of the versions that are named. sdk.cpp compares these with the header that it
// is compiled with, where that is new enough.
constexpr auto kSetMetricsIntegerValue = static_cast<_OrthancPluginService>(43);  // 1.12.1
constexpr auto kSetCurrentThreadName = static_cast<_OrthancPluginService>(44);    // 1.12.2
constexpr auto kLogMessage = static_cast<_OrthancPluginService>(45);              // 1.12.4
constexpr auto kClearCurrentThreadName = static_cast<_OrthancPluginService>(64);  // 1.13.0
constexpr int32_t kCategoryPlugins = 1 << 1;

struct SetMetricsIntegerValue {
  const char* name;
  int64_t value;
  OrthancPluginMetricsType type;
};

struct LogMessage {
  const char* message;
  const char* plugin;
  const char* file;
  uint32_t line;
  int32_t category;
  int32_t level;  // as LogLevel
};

// `file`, `line`: of our source; an Orthanc before 1.12.4 logs a place of its own.
void LogLine(LogLevel level, const std::string& text, const char* file, int line);

// Names this thread of ours in the log, in at most 16 characters. nullptr: the thread ends.
void NameThread(const char* name);

void DescribePlugin(const std::string& description);
OrthancPluginErrorCode ExtendExplorer(const std::string& script);

void SetMetric(const std::string& name, int64_t value);

// By the service of all versions. OrthancPluginCreateJob2(), since 1.11.3, makes jobs that Orthanc does not save: it
// asks for their content in place of their serialized text, and takes the success of that for "cannot be saved". So
// moves did not go on after a restart of 1.13.0 (test/live/services.test.ts). nullptr: Orthanc has refused and
// finalized the job.
OrthancPluginJob* CreateJob(_OrthancPluginCreateJob job);

}  // namespace ocs
