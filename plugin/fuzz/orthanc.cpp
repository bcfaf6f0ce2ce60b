#include "orthanc.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "life.h"

extern "C" {
// The plugin may get sizes that no memory has.
const char* __asan_default_options() { return "allocator_may_return_null=1:quarantine_size_mb=16:abort_on_error=1"; }

int32_t OrthancPluginInitialize(OrthancPluginContext* orthanc);
void OrthancPluginFinalize();
}

namespace fuzz {

namespace {

constexpr size_t kLongestLine = 32'768;  // the words of the system and of the engine have bounds
constexpr size_t kLongestScript = 1 << 20;
constexpr int kMostRegistrations = 200;

// As C sees it.
std::string Cut(const std::string& text) { return text.c_str(); }

}  // namespace

std::string Configuration() {
  static const bool memory = access("/dev/shm", W_OK) == 0;  // the socket's folder costs nothing there
  return std::string("{\"TemporaryDirectory\":\"") + (memory ? "/dev/shm" : "/tmp") +
         "\",\"CloudStorage\":{\"Node\":\"/proc/self/exe\",\"Engine\":\"/proc/self/exe\"}}";
}

Orthanc* Orthanc::current = nullptr;

Orthanc::Orthanc(Script& script, const char* version) : script_(script) {
  current = this;
  context_.pluginsManager = this;
  context_.orthancVersion = version;
  context_.Free = [](void* memory) { current->Free(memory); };
  context_.InvokeService = [](OrthancPluginContext*, _OrthancPluginService service, const void* params) {
    return current->Serve(service, params);
  };
}

Orthanc::~Orthanc() {
  for (const auto& given : memory) std::free(given.first);
  current = nullptr;
}

int32_t Orthanc::Load(const std::string& configuration) {
  configuration_ = configuration;
  const int32_t code = OrthancPluginInitialize(&context_);
  loaded = code == 0;
  stand = nullptr;
  if (on_change != nullptr) on_change(OrthancPluginChangeType_OrthancStarted, OrthancPluginResourceType_None, nullptr);
  return code;
}

void Orthanc::Unload() {
  OrthancPluginFinalize();
  for (const _OrthancPluginCreateJob& job : jobs) job.finalize(job.job);
  jobs.clear();
  MUST(memory.empty());
}

void Orthanc::Free(void* freed) {
  if (freed == nullptr) return;
  MUST(memory.erase(freed) == 1);
  std::free(freed);
}

char* Orthanc::Text(const std::string& text) {
  auto* const copy = static_cast<char*>(std::malloc(text.size() + 1));
  std::memcpy(copy, text.c_str(), text.size() + 1);
  memory[copy] = text.size();
  return copy;
}

Asked Orthanc::Next(uint8_t kind) {
  MUST(!script_.asked.empty() && script_.asked.front().kind == kind);  // else the engine never asked for this
  const Asked asked = script_.asked.front();
  script_.asked.pop_front();
  return asked;
}

void Orthanc::Reply(uint16_t status, uint64_t error, const std::string& body) {
  Frame reply;
  reply.kind = kReply;
  reply.status = status;
  reply.argument = error;
  reply.payload = body;
  script_.owed.push_back(reply);
}

OrthancPluginErrorCode Orthanc::CallRest(const _OrthancPluginCallRestApi& call) {
  const Asked asked = Next(kUpcall);
  MUST(call.method == asked.method && Cut(asked.first) == call.uri && call.afterPlugins == 0);
  MUST(std::string(static_cast<const char*>(call.body), call.bodySize) == asked.second);
  const uint8_t how = script_.in.Byte();
  if (call.method < 1 || call.method > 4 || how % 4 == 3) {
    const auto code = how % 2 == 0 ? OrthancPluginErrorCode_InternalError : OrthancPluginErrorCode_UnknownResource;
    Reply(0, static_cast<uint32_t>(code), "");
    return code;
  }
  *call.httpStatus = how % 4 == 2 ? 404 : 200;
  const size_t size = how == 252 ? (16u << 20) + 1 : how % 40;
  if (how % 4 == 1 || size == 0) {
    Reply(*call.httpStatus, 0, "");
    return OrthancPluginErrorCode_Success;
  }
  const std::string body(size, 'r');
  call.answerBody->data = Text(body);
  call.answerBody->size = static_cast<uint32_t>(size);
  Reply(size > 16777216 ? 413 : *call.httpStatus, 0, size > 16777216 ? "" : body);
  return OrthancPluginErrorCode_Success;
}

OrthancPluginErrorCode Orthanc::SetMetric(const char* name, int64_t value, bool exact) {
  const Asked asked = Next(kMetric);
  MUST(IsNew() == exact && Cut(asked.first) == name);
  MUST(exact ? asked.value == value : static_cast<int64_t>(static_cast<float>(asked.value)) == value);
  return OrthancPluginErrorCode_Success;
}

OrthancPluginErrorCode Orthanc::CreateJob(const _OrthancPluginCreateJob& job) {
  MUST(std::strlen(job.type) < kLongestLine * 64);
  jobs.push_back(job);
  *job.target = reinterpret_cast<OrthancPluginJob*>(job.job);
  if (refusals != 1) return OrthancPluginErrorCode_Success;
  jobs.pop_back();
  job.finalize(job.job);
  if (script_.calling.verb != kJobRestore) {
    Next(kSubmit);
    Reply(0, OrthancPluginErrorCode_Plugin, "");
  }
  return OrthancPluginErrorCode_InternalError;
}

OrthancPluginErrorCode Orthanc::SubmitJob(const _OrthancPluginSubmitJob& submission) {
  const Asked asked = Next(kSubmit);
  const _OrthancPluginCreateJob job = jobs.back();
  MUST(job.job == submission.job && submission.priority == asked.priority);
  MUST(Cut(asked.first) == job.getContent(job.job) && Cut(asked.second) == job.getSerialized(job.job));
  texts[job.job] = {asked.first, asked.second};
  if (refusals == 2) {
    jobs.pop_back();
    job.finalize(job.job);
    Reply(0, OrthancPluginErrorCode_Plugin, "");
    return OrthancPluginErrorCode_InternalError;
  }
  script_.submitted = "job-" + std::to_string(jobs.size());
  *submission.resultId = Text(script_.submitted);
  Reply(200, 0, script_.submitted);
  return OrthancPluginErrorCode_Success;
}

OrthancPluginErrorCode Orthanc::Serve(_OrthancPluginService service, const void* params) {
  switch (static_cast<int>(service)) {
    case _OrthancPluginService_LogError:
    case _OrthancPluginService_LogWarning:
    case _OrthancPluginService_LogInfo:
      MUST(!IsNew() && std::strlen(static_cast<const char*>(params)) < kLongestLine);
      break;
    case ocs::kLogMessage: {
      const auto& logged = *static_cast<const ocs::LogMessage*>(params);
      MUST(IsNew() && std::strlen(logged.message) < kLongestLine);
      break;
    }
    case _OrthancPluginService_GetConfiguration:
      *static_cast<const _OrthancPluginRetrieveDynamicString*>(params)->result = Text(configuration_);
      break;
    case _OrthancPluginService_CreateMemoryBuffer64: {
      const auto& wanted = *static_cast<const _OrthancPluginCreateMemoryBuffer64*>(params);
      MUST(wanted.target->data == nullptr);  // else it is lost
      if (wanted.size > most_memory) {
        script_.refused = true;
        return OrthancPluginErrorCode_NotEnoughMemory;
      }
      wanted.target->size = wanted.size;
      wanted.target->data = wanted.size == 0 ? nullptr : std::malloc(wanted.size);
      if (wanted.size > 0) memory[wanted.target->data] = wanted.size;
      break;
    }
    case _OrthancPluginService_CallRestApi: return CallRest(*static_cast<const _OrthancPluginCallRestApi*>(params));
    case _OrthancPluginService_CreateJob: return CreateJob(*static_cast<const _OrthancPluginCreateJob*>(params));
    case _OrthancPluginService_SubmitJob: return SubmitJob(*static_cast<const _OrthancPluginSubmitJob*>(params));
    case _OrthancPluginService_SetMetricsValue: {
      const auto& metric = *static_cast<const _OrthancPluginSetMetricsValue*>(params);
      return SetMetric(metric.name, static_cast<int64_t>(metric.value), false);
    }
    case ocs::kSetMetricsIntegerValue: {
      const auto& metric = *static_cast<const ocs::SetMetricsIntegerValue*>(params);
      return SetMetric(metric.name, metric.value, true);
    }
    case _OrthancPluginService_AnswerBuffer: {
      const auto& given = *static_cast<const _OrthancPluginAnswerBuffer*>(params);
      answer.count++;
      answer.status = 200;
      answer.body.assign(static_cast<const char*>(given.answer), given.answerSize);
      answer.type = given.mimeType;
      break;
    }
    case _OrthancPluginService_SetHttpHeader: {
      const auto& given = *static_cast<const _OrthancPluginSetHttpHeader*>(params);
      MUST(std::strcmp(given.key, "Content-Type") == 0);
      answer.type = given.value;
      break;
    }
    case _OrthancPluginService_SendHttpStatus: {
      const auto& given = *static_cast<const _OrthancPluginSendHttpStatus*>(params);
      answer.count++;
      answer.status = given.status;
      answer.body.assign(static_cast<const char*>(given.body), given.bodySize);
      break;
    }
    case _OrthancPluginService_SendMethodNotAllowed:
      answer.count++;
      answer.methods = static_cast<const _OrthancPluginOutputPlusArgument*>(params)->argument;
      break;
    case _OrthancPluginService_SetHttpErrorDetails:
      answer.details = static_cast<const _OrthancPluginSetHttpErrorDetails*>(params)->details;
      break;
    default: Register(service, params);
  }
  return OrthancPluginErrorCode_Success;
}

// What Orthanc keeps of a plugin.
void Orthanc::Register(_OrthancPluginService service, const void* params) {
  switch (service) {
    case _OrthancPluginService_SetPluginProperty: {
      const auto& property = *static_cast<const _OrthancPluginSetPluginProperty*>(params);
      MUST(std::strlen(property.value) <= kLongestScript);
      if (property.property == _OrthancPluginProperty_OrthancExplorer) MUST(++registrations < kMostRegistrations);
      break;
    }
    case _OrthancPluginService_RegisterErrorCode: {
      const auto& code = *static_cast<const _OrthancPluginRegisterErrorCode*>(params);
      MUST(++registrations < kMostRegistrations && code.httpStatus >= 100 && code.httpStatus <= 599);
      codes.insert(code.code);
      *code.target = static_cast<OrthancPluginErrorCode>(1'000'000 + code.code);
      break;
    }
    case _OrthancPluginService_RegisterRestCallbackNoLock: {
      const auto& route = *static_cast<const _OrthancPluginRestCallback*>(params);
      MUST(++registrations < kMostRegistrations);
      routes.emplace_back(route.pathRegularExpression, route.callback);
      break;
    }
    case _OrthancPluginService_RegisterJobsUnserializer:
      MUST(++registrations < kMostRegistrations);
      unserializer = static_cast<const _OrthancPluginJobsUnserializer*>(params)->unserializer;
      break;
    case _OrthancPluginService_RegisterRefreshMetricsCallback:
      MUST(++registrations < kMostRegistrations);
      refresh = static_cast<const _OrthancPluginRegisterRefreshMetricsCallback*>(params)->callback;
      break;
    case _OrthancPluginService_RegisterOnChangeCallback:
      on_change = static_cast<const _OrthancPluginOnChangeCallback*>(params)->callback;
      break;
    case _OrthancPluginService_RegisterStorageArea2:
      area2 = *static_cast<const _OrthancPluginRegisterStorageArea2*>(params);
      break;
    case _OrthancPluginService_RegisterStorageArea:
      area = *static_cast<const _OrthancPluginRegisterStorageArea*>(params);
      break;
    default: MUST(!"a service that this Orthanc does not know");
  }
}

}  // namespace fuzz
