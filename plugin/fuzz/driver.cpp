#include "driver.h"

#include <cstring>

#include "life.h"

namespace fuzz {

namespace {

constexpr char kUuid[] = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
constexpr int64_t kDay = 24 * 3'600'000;

}  // namespace

void Driver::Call() {
  switch (in_.Byte() % 12) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: return Storage();
    case 5:
    case 6: return Rest();
    case 7:
    case 8: return Step();
    case 9: return in_.Byte() % 2 == 0 ? Stop() : Reset();
    case 10: return Restore();
    case 11: {
      const uint8_t which = in_.Byte();
      return which < 200 ? Metrics() : which < 250 ? Background() : StopOrthanc();
    }
  }
}

void Driver::Storage() {
  switch (in_.Byte() % 4) {
    case 0: return Create();
    case 1: return Read();
    case 2: return Range();
    case 3: return Remove();
  }
}

// A call succeeds if the engine has said so, and only then.
void Driver::Check(OrthancPluginErrorCode code) {
  const Outcome& outcome = script_.outcome;
  if (code == OrthancPluginErrorCode_Success) MUST(outcome.ok);
  if (outcome.certain) MUST(code == OrthancPluginErrorCode_Success);
  if (outcome.returned && !outcome.ok && outcome.fault < 32)
    MUST(code == (orthanc_.codes.count(outcome.fault) != 0 ? 1'000'000 + outcome.fault
                                                           : OrthancPluginErrorCode_StorageAreaPlugin));
  MUST(orthanc_.memory.empty() || code == OrthancPluginErrorCode_Success);
  script_.calling = Calling();
}

std::string Driver::Content() {
  const size_t sizes[] = {0, 1, 1'000, 262'144, 262'145, 300'000};
  const uint8_t which = in_.Byte();
  return in_.Text(which < 200 ? which % 32 : sizes[which % 6]);
}

Calling Driver::Of(uint8_t verb) {
  Calling calling;
  calling.verb = verb;
  calling.payload = kUuid;
  calling.time = script_.call_time;
  return calling;
}

void Driver::Create() {
  const std::string content = Content();
  Calling calling = Of(kCreate);
  calling.Bring(content);
  calling.status = in_.Byte() % 4;
  script_.Begin(calling);
  // In a copy of its own, so that a read of one byte beyond it is found.
  char* const copy = static_cast<char*>(std::malloc(content.size()));
  std::memcpy(copy, content.data(), content.size());
  const auto create = orthanc_.area2.create != nullptr ? orthanc_.area2.create : orthanc_.area.create;
  Check(
      create(kUuid, copy, static_cast<int64_t>(content.size()), static_cast<OrthancPluginContentType>(calling.status)));
  std::free(copy);
}

void Driver::Read() {
  Calling calling = Of(kRead);
  calling.status = 1;
  calling.result = calling.demanded = true;
  script_.Begin(calling);
  if (orthanc_.area2.readWhole == nullptr) {
    void* content = nullptr;
    int64_t size = -1;
    const OrthancPluginErrorCode code = orthanc_.area.read(&content, &size, kUuid, OrthancPluginContentType_Dicom);
    if (code == OrthancPluginErrorCode_Success)
      MUST(std::string(static_cast<char*>(content), static_cast<size_t>(size)) == script_.outcome.result);
    else
      MUST(content == nullptr && size == -1);
    Check(code);
    orthanc_.area.free(content);
    return;
  }
  OrthancPluginMemoryBuffer64 buffer{};
  const OrthancPluginErrorCode code = orthanc_.area2.readWhole(&buffer, kUuid, OrthancPluginContentType_Dicom);
  const std::string& result = script_.outcome.result;
  if (code == OrthancPluginErrorCode_Success)
    MUST(buffer.size == result.size() &&
         (result.empty() || std::memcmp(buffer.data, result.data(), result.size()) == 0));
  else
    MUST(buffer.data == nullptr && buffer.size == 0);
  Check(code);
  orthanc_.Free(buffer.data);
}

void Driver::Range() {
  if (orthanc_.area2.readRange == nullptr) return Read();
  Calling calling = Of(kReadRange);
  const uint64_t size = in_.Byte() % 100;
  calling.status = 1;
  calling.argument = in_.Size() & ((1ull << 53) - 1);
  calling.payload += Little(size, 8);
  calling.result = calling.demanded = true;
  calling.fixed = static_cast<int64_t>(size);
  script_.Begin(calling);
  OrthancPluginMemoryBuffer64 buffer{std::malloc(size), size};
  const OrthancPluginErrorCode code =
      orthanc_.area2.readRange(&buffer, kUuid, OrthancPluginContentType_Dicom, calling.argument);
  MUST(buffer.size == size);
  if (code == OrthancPluginErrorCode_Success) MUST(std::memcmp(buffer.data, script_.outcome.result.data(), size) == 0);
  Check(code);
  std::free(buffer.data);
}

void Driver::Remove() {
  Calling calling = Of(kRemove);
  calling.status = 1;
  script_.Begin(calling);
  const auto remove = orthanc_.area2.remove != nullptr ? orthanc_.area2.remove : orthanc_.area.remove;
  Check(remove(kUuid, OrthancPluginContentType_Dicom));
}

void Driver::Rest() {
  const std::string body = Content(), value = in_.Text(in_.Byte() % 16).c_str();
  const char* const keys[] = {"name", "authorization", "accept"};
  const char* const values[] = {value.c_str(), "secret", "*/*"};
  OrthancPluginHttpRequest request{};
  request.method = static_cast<OrthancPluginHttpMethod>(1 + in_.Byte() % 4);
  request.getCount = in_.Byte() % 3;
  request.getKeys = keys;
  request.getValues = values;
  request.headersCount = in_.Byte() % 4;
  request.headersKeys = keys;
  request.headersValues = values;
  request.body = body.data();
  request.bodySize = static_cast<uint32_t>(body.size());
  Calling calling;
  calling.verb = kRest;
  calling.status = static_cast<uint16_t>(request.method);
  calling.payload = "/route";  // nothing of query and headers reaches the engine
  calling.result = calling.asks = true;
  calling.time = kDay;
  calling.Bring(body);
  script_.Begin(calling);
  orthanc_.answer = Orthanc::Answer();
  const OrthancPluginErrorCode code = orthanc_.routes.front().second(nullptr, "/route", &request);
  const Orthanc::Answer& answer = orthanc_.answer;
  const Outcome& outcome = script_.outcome;
  if (outcome.ok && outcome.flags == 1 && answer.count == 0 && code == static_cast<int64_t>(outcome.argument)) {
    MUST(answer.details == outcome.text.c_str());
    script_.calling = Calling();
    return;
  }
  MUST((code == OrthancPluginErrorCode_Success) == (answer.count == 1));  // else nobody answers the client, or two
  if (answer.count == 1 && outcome.flags == 2) MUST(answer.methods == outcome.text.c_str());
  if (answer.count == 1 && outcome.flags == 0) {
    MUST(answer.status == outcome.argument && answer.body == outcome.result);
    MUST(answer.status != 200 || answer.type == outcome.text.c_str());
  }
  Check(code);
}

Calling Driver::OfJob(uint8_t verb, const std::string& serialized) {
  Calling calling;
  calling.verb = verb;
  calling.result = true;
  calling.Bring(serialized);
  return calling;
}

// What Orthanc may ask of a job is what the last good answer left.
void Driver::CheckJob(const _OrthancPluginCreateJob& job) {
  MUST(job.getContent(job.job) == std::string(script_.texts.first.c_str()));
  MUST(job.getSerialized(job.job) == std::string(script_.texts.second.c_str()));
  orthanc_.texts[job.job] = script_.texts;
  MUST(job.getProgress(job.job) >= 0 && job.getProgress(job.job) <= 1);
  script_.calling = Calling();
}

void Driver::WithJob(uint8_t verb, bool asks, int64_t time, const Do& call) {
  if (orthanc_.jobs.empty()) return Restore();
  const _OrthancPluginCreateJob job = orthanc_.jobs[in_.Byte() % orthanc_.jobs.size()];
  script_.texts = orthanc_.texts[job.job];
  Calling calling = OfJob(verb, script_.texts.second);
  calling.asks = asks;
  calling.time = time;
  script_.Begin(calling);
  call(job, calling);
  CheckJob(job);
}

void Driver::Step() {
  WithJob(kJobStep, true, script_.call_time, [this](const _OrthancPluginCreateJob& job, const Calling&) {
    const OrthancPluginJobStepStatus status = job.step(job.job);
    const Outcome& outcome = script_.outcome;
    if (status == OrthancPluginJobStepStatus_Success)
      MUST(outcome.ok && outcome.verb == kJobStep && outcome.flags == 1);
    if (outcome.certain && outcome.verb == kJobStep) MUST(status == outcome.flags);
  });
}

void Driver::Stop() {
  WithJob(kJobStop, false, script_.call_time, [this](const _OrthancPluginCreateJob& job, const Calling&) {
    job.stop(job.job, static_cast<OrthancPluginJobStopReason>(1 + in_.Byte() % 4));
  });
}

void Driver::Reset() {
  WithJob(kJobReset, false, 5'000, [](const _OrthancPluginCreateJob& job, const Calling&) { job.reset(job.job); });
}

void Driver::Restore() {
  const std::string serialized = in_.Text(in_.Byte() % 16).c_str();
  Calling calling = OfJob(kJobRestore, serialized);
  calling.time = 5'000;
  script_.texts = {"{}", serialized};
  script_.Begin(calling);
  const size_t before = orthanc_.jobs.size();
  OrthancPluginJob* const made = orthanc_.unserializer("Count", serialized.c_str());
  MUST((made != nullptr) == (orthanc_.jobs.size() == before + 1));
  if (made == nullptr) MUST((script_.outcome.returned && !script_.outcome.ok) || orthanc_.refusals == 1);
  if (made != nullptr) CheckJob(orthanc_.jobs.back());
  script_.calling = Calling();
}

void Driver::Metrics() {
  Calling calling;
  calling.verb = kMetrics;
  calling.asks = true;
  calling.time = 2'000;
  script_.Begin(calling);
  orthanc_.refresh();
  script_.calling = Calling();
}

void Driver::Background() {
  if (!stand) return;
  Calling calling;
  calling.verb = kBackground;
  calling.asks = true;
  calling.time = kEver;
  script_.Begin(calling);
  stand();
  script_.calling = Calling();
}

void Driver::StopOrthanc() {
  orthanc_.on_change(OrthancPluginChangeType_OrthancStopped, OrthancPluginResourceType_None, nullptr);
  script_.stopping = true;
}

}  // namespace fuzz
