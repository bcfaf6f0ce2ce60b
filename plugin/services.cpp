// What the engine does for Orthanc besides the storage area: REST routes, jobs, metrics. And what it asks of Orthanc
// during these calls.
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "job.h"
#include "plugin.h"
#include "sdk.h"

namespace ocs {

namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLongestRequest{24 * 3'600'000};  // a request may wait for the end of a job
constexpr milliseconds kLongestProbe{5'000};             // monitors that probe give up soon
constexpr milliseconds kWhileStopping{50};
constexpr milliseconds kLongestRefresh{2'000};  // monitors do not wait longer
constexpr uint16_t kServiceUnavailable = 503;
const std::string kNotServing =
    "{\n   \"Ready\" : false,\n   \"Problem\" : \"Unavailable\",\n"
    "   \"Details\" : \"the storage engine does not answer: see Orthanc's log\"\n}\n";

std::atomic<bool> stopping{false};
std::vector<std::string> job_types;  // by their number

Reply Failed(OrthancPluginErrorCode code) {
  Reply reply;
  reply.error = static_cast<uint32_t>(code);
  return reply;
}

// The id of a submitted job, a string that Orthanc has made and we must free.
std::string Taken(char* text) {
  const std::string copy(text != nullptr ? text : "");
  if (text != nullptr) OrthancPluginFreeString(context, text);
  return copy;
}

extern "C" {
void JobFinalize(void* job) { delete static_cast<Job*>(job); }
float JobProgress(void* job) { return static_cast<Job*>(job)->progress(); }
const char* JobContent(void* job) { return static_cast<Job*>(job)->content(); }
const char* JobSerialized(void* job) { return static_cast<Job*>(job)->serialized(); }
OrthancPluginJobStepStatus JobStep(void* job);
OrthancPluginErrorCode JobStop(void* job, OrthancPluginJobStopReason) {
  static_cast<Job*>(job)->Stop();
  return OrthancPluginErrorCode_Success;
}
OrthancPluginErrorCode JobReset(void* job) {
  static_cast<Job*>(job)->Reset();
  return OrthancPluginErrorCode_Success;
}
}

// A job of a type that was not registered runs, but does not outlive Orthanc.
const std::string& TypeOf(uint8_t number) {
  static const std::string none;
  return number < job_types.size() ? job_types[number] : none;
}

OrthancPluginJob* Wrap(std::unique_ptr<Job> job, const std::string& type) {
  // From here on Orthanc owns it, and finalizes it even if this fails.
  return CreateJob({nullptr, job.release(), JobFinalize, type.c_str(), JobProgress, JobContent, JobSerialized, JobStep,
                    JobStop, JobReset});
}

class SdkApi : public OrthancApi {
 public:
  Reply Rest(uint8_t method, const std::string& uri, const std::string& body) override {
    Reply reply;
    reply.stopping = stopping;
    if (stopping) return reply;
    OrthancPluginMemoryBuffer answer{nullptr, 0};
    const OrthancPluginErrorCode code =
        OrthancPluginCallRestApi(context, &answer, nullptr, &reply.http, static_cast<OrthancPluginHttpMethod>(method),
                                 uri.c_str(), 0, nullptr, nullptr, body.data(), static_cast<uint32_t>(body.size()), 0);
    if (code != OrthancPluginErrorCode_Success) return Failed(code);
    if (answer.data == nullptr) return reply;
    reply.body.assign(static_cast<const char*>(answer.data), answer.size);
    OrthancPluginFreeMemoryBuffer(context, &answer);
    return reply;
  }

  Reply Submit(uint8_t type, int32_t priority, const std::string& content, const std::string& serialized) override {
    Reply reply;
    reply.stopping = stopping;
    if (stopping) return reply;
    if (submitted_.empty()) {
      OrthancPluginJob* const job = Wrap(std::make_unique<Job>(*engine, content, serialized), TypeOf(type));
      if (job == nullptr) return Failed(OrthancPluginErrorCode_Plugin);
      submitted_ = Taken(OrthancPluginSubmitJob(context, job, priority));
    }
    if (submitted_.empty()) return Failed(OrthancPluginErrorCode_Plugin);
    reply.http = 200;
    reply.body = submitted_;
    return reply;
  }

  void Metric(const std::string& name, int64_t value) override { SetMetric(name, value); }

 private:
  std::string submitted_;
};

OrthancPluginJobStepStatus JobStep(void* job) {
  if (stopping) {
    // Orthanc calls steps until it stops its jobs. It keeps them as they are, and goes on after its restart.
    std::this_thread::sleep_for(kWhileStopping);
    return OrthancPluginJobStepStatus_Continue;
  }
  SdkApi api;
  return static_cast<OrthancPluginJobStepStatus>(static_cast<Job*>(job)->DoStep(api));
}

OrthancPluginJob* Unserialize(const char* type, const char* serialized) {
  if (type == nullptr || serialized == nullptr) return nullptr;
  const auto known = std::find(job_types.begin(), job_types.end(), type);
  if (known == job_types.end()) return nullptr;
  auto job = std::make_unique<Job>(*engine, "{}", serialized);
  return job->Restore() ? Wrap(std::move(job), *known) : nullptr;
}

void Refresh() {
  SdkApi api;
  Call call{Verb::Metrics};
  call.api = &api;
  call.time = kLongestRefresh;
  engine->Run(call);
}

// Orthanc's answer with a status other than 200, for which the SDK takes no content type.
void SendStatus(OrthancPluginRestOutput* output, uint16_t status, const char* type, const char* text, size_t size) {
  OrthancPluginSetHttpHeader(context, output, "Content-Type", type);
  OrthancPluginSendHttpStatus(context, output, status, text, static_cast<uint32_t>(size));
}

Answer AnswerTo(const char* uri, const OrthancPluginHttpRequest* request, bool probe, Bytes* body) {
  SdkApi api;
  Call call{Verb::Rest};
  call.type = static_cast<uint16_t>(request->method);
  call.envelope = uri;  // but no headers: the engine must not see the credentials in them
  call.content = request->body;
  call.size = request->bodySize;
  call.result = body;
  call.api = &api;
  call.time = probe ? kLongestProbe : kLongestRequest;
  call.probe = probe;
  return engine->Run(call);
}

OrthancPluginErrorCode Send(OrthancPluginRestOutput* output, const Answer& answer, const Bytes& body) {
  if (answer.ending != Ending::Ok) return CodeOf(answer);
  switch (static_cast<AnswerKind>(answer.flags)) {
    case AnswerKind::Error:
      OrthancPluginSetHttpErrorDetails(context, output, answer.text.c_str(), 0);
      return static_cast<OrthancPluginErrorCode>(answer.argument);
    case AnswerKind::MethodNotAllowed: OrthancPluginSendMethodNotAllowed(context, output, answer.text.c_str()); break;
    case AnswerKind::Body:
      if (answer.argument == 200)
        OrthancPluginAnswerBuffer(context, output, body.text(), static_cast<uint32_t>(body.size()),
                                  answer.text.c_str());
      else
        SendStatus(output, static_cast<uint16_t>(answer.argument), answer.text.c_str(), body.text(), body.size());
  }
  return OrthancPluginErrorCode_Success;
}

OrthancPluginErrorCode Serve(OrthancPluginRestOutput* output, const char* uri,
                             const OrthancPluginHttpRequest* request) {
  Bytes body;
  const Answer answer = AnswerTo(uri, request, false, &body);
  return Send(output, answer, body);
}

OrthancPluginErrorCode ServeProbe(OrthancPluginRestOutput* output, const char* uri,
                                  const OrthancPluginHttpRequest* request) {
  Bytes body;
  const Answer answer = AnswerTo(uri, request, true, &body);
  if (answer.ending == Ending::Ok) return Send(output, answer, body);
  SendStatus(output, kServiceUnavailable, "application/json", kNotServing.data(), kNotServing.size());
  return OrthancPluginErrorCode_Success;
}

}  // namespace

void StartServices() {
  stopping = false;
  job_types.clear();
}

void RegisterService(Registration kind, const std::string& text) {
  switch (kind) {
    // Without the lock. With it, Orthanc gives a plugin only one request at a time, and a request may wait for a job
    // for hours.
    case Registration::Route: return OrthancPluginRegisterRestCallbackNoLock(context, text.c_str(), Serve);
    case Registration::Probe: return OrthancPluginRegisterRestCallbackNoLock(context, text.c_str(), ServeProbe);
    case Registration::JobType:
      job_types.push_back(text);
      if (job_types.size() == 1) OrthancPluginRegisterJobsUnserializer(context, Unserialize);
      return;
    case Registration::Metrics: return OrthancPluginRegisterRefreshMetricsCallback(context, Refresh);
    case Registration::Explorer: ExtendExplorer(text); return;
  }
}

void BeginBackground() {
  static SdkApi api;
  if (CanBeAsked()) engine->Stand(api);
}

bool CanBeAsked() { return OrthancPluginCheckVersionAdvanced(context, 1, 9, 2) != 0; }

void StopServices() { stopping = true; }

}  // namespace ocs
