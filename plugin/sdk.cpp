#include "sdk.h"

#include <cstddef>
#include <cstring>

#include "plugin.h"

namespace ocs {

#if ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 12, 4)
static_assert(kSetMetricsIntegerValue == _OrthancPluginService_SetMetricsIntegerValue);
static_assert(sizeof(SetMetricsIntegerValue) == sizeof(_OrthancPluginSetMetricsIntegerValue));
static_assert(kLogMessage == _OrthancPluginService_LogMessage);
static_assert(kCategoryPlugins == OrthancPluginLogCategory_Plugins);
static_assert(sizeof(LogMessage) == sizeof(_OrthancPluginLogMessage));
static_assert(offsetof(LogMessage, level) == offsetof(_OrthancPluginLogMessage, level));
static_assert(kSetCurrentThreadName == _OrthancPluginService_SetCurrentThreadName);
#endif
#if ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 13, 0)
static_assert(kClearCurrentThreadName == _OrthancPluginService_ClearCurrentThreadName);
#endif

namespace {

bool Has(int major, int minor, int revision) {
  return OrthancPluginCheckVersionAdvanced(context, major, minor, revision) != 0;
}

// OrthancPluginSetDescription2() and OrthancPluginExtendOrthancExplorer2() of 1.12.4 are this service, which every
// Orthanc has. What is new is that they are told the name, and do not ask a symbol that each plugin exports.
OrthancPluginErrorCode SetProperty(_OrthancPluginProperty property, const std::string& value) {
  const _OrthancPluginSetPluginProperty params{kName, property, value.c_str()};
  return context->InvokeService(context, _OrthancPluginService_SetPluginProperty, &params);
}

const char* NameOf(const char* file) {
  const char* const slash = std::strrchr(file, '/');
  return slash != nullptr ? slash + 1 : file;
}

}  // namespace

void LogLine(LogLevel level, const std::string& text, const char* file, int line) {
  if (Has(1, 12, 4)) {
    const LogMessage message{
        text.c_str(), kName, NameOf(file), static_cast<uint32_t>(line), kCategoryPlugins, static_cast<int32_t>(level)};
    context->InvokeService(context, kLogMessage, &message);
    return;
  }
  switch (level) {
    case LogLevel::Error: return OrthancPluginLogError(context, text.c_str());
    case LogLevel::Warning: return OrthancPluginLogWarning(context, text.c_str());
    case LogLevel::Info: return OrthancPluginLogInfo(context, text.c_str());
  }
}

void NameThread(const char* name) {
  if (name != nullptr && Has(1, 12, 2)) context->InvokeService(context, kSetCurrentThreadName, name);
  if (name == nullptr && Has(1, 13, 0)) context->InvokeService(context, kClearCurrentThreadName, nullptr);
}

void DescribePlugin(const std::string& description) { SetProperty(_OrthancPluginProperty_Description, description); }

OrthancPluginErrorCode ExtendExplorer(const std::string& script) {
  return SetProperty(_OrthancPluginProperty_OrthancExplorer, script);
}

void SetMetric(const std::string& name, int64_t value) {
  if (Has(1, 12, 1)) {
    const SetMetricsIntegerValue params{name.c_str(), value, OrthancPluginMetricsType_Default};
    context->InvokeService(context, kSetMetricsIntegerValue, &params);
    return;
  }
  // A float has seven digits.
  OrthancPluginSetMetricsValue(context, name.c_str(), static_cast<float>(value), OrthancPluginMetricsType_Default);
}

OrthancPluginJob* CreateJob(_OrthancPluginCreateJob job) {
  OrthancPluginJob* made = nullptr;
  job.target = &made;
  const OrthancPluginErrorCode code = context->InvokeService(context, _OrthancPluginService_CreateJob, &job);
  return code == OrthancPluginErrorCode_Success ? made : nullptr;
}

}  // namespace ocs
