// The library as Orthanc loads it, with an Orthanc that only notes what it is asked for.
#include <dlfcn.h>
#include <orthanc/OrthancCPlugin.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "../sdk.h"
#include "stage.h"

using namespace ocs;

namespace {

constexpr const char* kOldAndNew[] = {"1.10.1", "1.13.0"};
constexpr int kCreateJob2 = 9004;

class FakeOrthanc {
 public:
  explicit FakeOrthanc(const char* version) {
    current = this;
    context_.pluginsManager = this;
    context_.orthancVersion = version;
    context_.Free = [](void* memory) {
      if (memory != nullptr) current->buffers--;
      std::free(memory);
    };
    context_.InvokeService = [](OrthancPluginContext*, _OrthancPluginService service, const void* params) {
      return current->Serve(service, params);
    };
  }

  // As Orthanc starts a plugin. 0: it has started.
  int32_t Load(const std::string& scenario, const std::string& section = "", const std::string& missing = "") {
    const std::string script = folder.path() + "/" + scenario;
    CHECK(mknod(script.c_str(), S_IFREG | 0600, 0) == 0);
    configuration = "{" + section + "\"TemporaryDirectory\":\"" + folder.path() + "\",\"CloudStorage\":{\"Node\":\"" +
                    (missing == "Node" ? "/nowhere" : fake_engine) + "\",\"Engine\":\"" +
                    (missing == "Engine" ? "/nowhere" : script) + "\"}}";
    library = dlopen(Path().c_str(), RTLD_NOW);
    CHECK(library != nullptr);
    if (library == nullptr) std::printf("%s\n", dlerror());
    return reinterpret_cast<int32_t (*)(OrthancPluginContext*)>(Symbol("OrthancPluginInitialize"))(&context_);
  }

  // As Orthanc tells its plugins that it has started. Before that it answers no REST API.
  void Begin() {
    begun = true;
    on_change(OrthancPluginChangeType_OrthancStarted, OrthancPluginResourceType_None, nullptr);
  }

  // As Orthanc stops a plugin.
  void Unload() {
    if (on_change != nullptr)
      on_change(OrthancPluginChangeType_OrthancStopped, OrthancPluginResourceType_None, nullptr);
    begun = false;
    reinterpret_cast<void (*)()>(Symbol("OrthancPluginFinalize"))();
    dlclose(library);
    for (const std::string& name : folder.Names()) unlink((folder.path() + "/" + name).c_str());
    routes.clear();
  }

  // As Orthanc starts one more plugin: a copy of the library under another name. Returns the name of the plugin.
  std::string LoadCopy(int32_t* started) {
    const std::string file = folder.path() + "/copy.so";
    CHECK(std::system(("cp " + Path() + " " + file).c_str()) == 0);
    void* const copy = dlopen(file.c_str(), RTLD_NOW);
    CHECK(copy != nullptr);
    const std::string name = reinterpret_cast<const char* (*)()>(dlsym(copy, "OrthancPluginGetName"))();
    *started = reinterpret_cast<int32_t (*)(OrthancPluginContext*)>(dlsym(copy, "OrthancPluginInitialize"))(&context_);
    reinterpret_cast<void (*)()>(dlsym(copy, "OrthancPluginFinalize"))();
    dlclose(copy);
    return name;
  }

  // What was logged, so far and since Forget(). The engine's end is logged on a thread of its own.
  std::string Lines() {
    const std::lock_guard<std::recursive_mutex> lock(mutex_);
    return lines_;
  }
  void Forget() {
    const std::lock_guard<std::recursive_mutex> lock(mutex_);
    lines_.clear();
  }

  std::string Name() { return reinterpret_cast<const char* (*)()>(Symbol("OrthancPluginGetName"))(); }

  static bool Loaded() {
    void* const library = dlopen(Path().c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (library != nullptr) dlclose(library);
    return library != nullptr;
  }

  Folder folder;
  void* library = nullptr;
  std::string configuration;
  std::map<std::string, OrthancPluginRestCallback> routes;
  int status = 0;  // of what was sent last, with its type and body
  std::string header, body;
  int job_types = 0;
  std::set<int> asked;  // services
  OrthancPluginJobsUnserializer unserializer = nullptr;
  OrthancPluginRefreshMetricsCallback refresh = nullptr;
  _OrthancPluginCreateJob job{};
  std::map<std::string, std::string> metrics;
  std::string thread = "none";  // the name of one that runs
  std::map<int, std::string> properties;
  OrthancPluginErrorCode registration = OrthancPluginErrorCode_Success;
  _OrthancPluginRegisterStorageArea2 area{};
  OrthancPluginOnChangeCallback on_change = nullptr;
  int buffers = 0;  // made and not freed
  std::atomic<bool> begun{false};
  std::atomic<int> upcalls{0};

 private:
  static FakeOrthanc* current;

  static std::string Path() { return fake_engine.substr(0, fake_engine.rfind('/')) + "/library.so"; }
  void* Symbol(const char* name) { return dlsym(library, name); }

  OrthancPluginErrorCode Serve(_OrthancPluginService service, const void* params) {
    const std::lock_guard<std::recursive_mutex> lock(mutex_);
    asked.insert(service);
    switch (static_cast<int>(service)) {
      case _OrthancPluginService_LogError:
      case _OrthancPluginService_LogWarning:
      case _OrthancPluginService_LogInfo: lines_ += std::string(static_cast<const char*>(params)) + "\n"; break;
      case _OrthancPluginService_GetConfiguration:
        *static_cast<const _OrthancPluginRetrieveDynamicString*>(params)->result = strdup(configuration.c_str());
        buffers++;
        break;
      case _OrthancPluginService_RegisterErrorCode: {
        const auto* const code = static_cast<const _OrthancPluginRegisterErrorCode*>(params);
        *code->target = static_cast<OrthancPluginErrorCode>(1'000'000 + code->code);
        break;
      }
      case _OrthancPluginService_RegisterRestCallbackNoLock: {
        const auto* const route = static_cast<const _OrthancPluginRestCallback*>(params);
        routes[route->pathRegularExpression] = route->callback;
        break;
      }
      case _OrthancPluginService_SetHttpHeader:
        header = static_cast<const _OrthancPluginSetHttpHeader*>(params)->value;
        break;
      case _OrthancPluginService_SendHttpStatus: {
        const auto* const sent = static_cast<const _OrthancPluginSendHttpStatus*>(params);
        status = sent->status;
        body.assign(sent->body, sent->bodySize);
        break;
      }
      case kLogMessage: {
        const auto* const logged = static_cast<const LogMessage*>(params);
        CHECK(logged->plugin == std::string("cloud-storage") && logged->category == kCategoryPlugins);
        CHECK(logged->level >= 0 && logged->level <= 2 && std::strchr(logged->file, '/') == nullptr);
        lines_ += std::string(logged->message) + " (" + logged->file + ":" + (logged->line > 0 ? "line" : "0") + ")\n";
        break;
      }
      case kSetCurrentThreadName: thread = static_cast<const char*>(params); break;
      case kClearCurrentThreadName: thread.clear(); break;
      case _OrthancPluginService_RegisterJobsUnserializer:
        job_types++;
        unserializer = static_cast<const _OrthancPluginJobsUnserializer*>(params)->unserializer;
        break;
      case _OrthancPluginService_CreateJob:
        job = *static_cast<const _OrthancPluginCreateJob*>(params);
        *job.target = reinterpret_cast<OrthancPluginJob*>(this);
        break;
      case _OrthancPluginService_CallRestApi: {
        CHECK(begun);
        const auto* const call = static_cast<const _OrthancPluginCallRestApi*>(params);
        CHECK(call->afterPlugins == 0);
        *call->httpStatus = 200;
        upcalls++;
        break;
      }
      case _OrthancPluginService_RegisterRefreshMetricsCallback:
        refresh = static_cast<const _OrthancPluginRegisterRefreshMetricsCallback*>(params)->callback;
        break;
      case _OrthancPluginService_SetMetricsValue: {
        const auto* const metric = static_cast<const _OrthancPluginSetMetricsValue*>(params);
        metrics[metric->name] = std::to_string(metric->value);
        break;
      }
      case kSetMetricsIntegerValue: {
        const auto* const metric = static_cast<const SetMetricsIntegerValue*>(params);
        metrics[metric->name] = std::to_string(metric->value);
        break;
      }
      case _OrthancPluginService_SetPluginProperty: {
        const auto* const given = static_cast<const _OrthancPluginSetPluginProperty*>(params);
        CHECK(given->plugin == std::string("cloud-storage"));
        properties[given->property] = given->value;
        break;
      }
      case _OrthancPluginService_RegisterOnChangeCallback:
        on_change = static_cast<const _OrthancPluginOnChangeCallback*>(params)->callback;
        break;
      case _OrthancPluginService_RegisterStorageArea2:
        area = *static_cast<const _OrthancPluginRegisterStorageArea2*>(params);
        return registration;
      case _OrthancPluginService_CreateMemoryBuffer64: {
        const auto* const buffer = static_cast<const _OrthancPluginCreateMemoryBuffer64*>(params);
        buffer->target->data = std::malloc(buffer->size);
        buffer->target->size = buffer->size;
        buffers++;
        break;
      }
      default: break;
    }
    return OrthancPluginErrorCode_Success;
  }

  OrthancPluginContext context_{};
  std::recursive_mutex mutex_;
  std::string lines_;
};
FakeOrthanc* FakeOrthanc::current = nullptr;

// Each service where the running Orthanc has it. An older one logs an error when it is asked for one that it lacks.
void NewServicesAreAskedOnlyWhereTheyAre() {
  const auto since = [](const char* version, int minor, int revision) {
    int at[3] = {99, 99, 99};  // "mainline" has everything
    std::sscanf(version, "%d.%d.%d", &at[0], &at[1], &at[2]);
    return at[1] > minor || (at[1] == minor && at[2] >= revision);
  };
  for (const char* const version : {"1.9.2", "1.10.1", "1.11.2", "1.11.3", "1.12.0", "1.12.1", "1.12.2", "1.12.4",
                                    "1.12.7", "1.13.0", "mainline"}) {
    FakeOrthanc orthanc(version);
    CHECK(orthanc.Load("ranges") == 0);
    CHECK(orthanc.properties[_OrthancPluginProperty_Description] == "stores files in memory");
    CHECK(orthanc.properties[_OrthancPluginProperty_OrthancExplorer] == std::string(5000, 'j'));
    const bool messages = since(version, 12, 4);
    CHECK(orthanc.asked.count(kLogMessage) == (messages ? 1 : 0));
    CHECK(orthanc.asked.count(_OrthancPluginService_LogWarning) == (messages ? 0 : 1));
    CHECK(orthanc.Lines().find(messages ? "a warning (launch.cpp:line)\n" : "a warning\n") != std::string::npos);

    orthanc.refresh();
    const bool integers = since(version, 12, 1);
    CHECK(orthanc.metrics["bytes"] == (integers ? "123456789012" : "123456790528.000000"));

    CHECK(orthanc.unserializer("Count", "2") != nullptr);
    CHECK(orthanc.asked.count(kCreateJob2) == 0);  // see sdk.h
    CHECK(std::string(orthanc.job.getContent(orthanc.job.job)) == "content 2");
    CHECK(std::string(orthanc.job.getSerialized(orthanc.job.job)) == "2");
    orthanc.job.finalize(orthanc.job.job);
    orthanc.Unload();
    CHECK(orthanc.thread == (since(version, 13, 0) ? "" : since(version, 12, 2) ? "CLOUD-STORAGE" : "none"));
  }
}

// From its start to its stop, and not where a plugin cannot ask it.
void EngineAsksWhileOrthancRuns() {
  for (const char* const version : {"1.9.1", "1.9.2", "1.10.1", "1.13.0"}) {
    FakeOrthanc orthanc(version);
    CHECK(orthanc.Load("stands-storms") == 0);
    CHECK(orthanc.area.create(kUuid, "x", 1, OrthancPluginContentType_Dicom) == OrthancPluginErrorCode_Success);
    CHECK(orthanc.upcalls == 0);
    orthanc.Begin();
    const bool old = std::strcmp(version, "1.9.1") == 0;
    while (!old && orthanc.upcalls < 10) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    CHECK(orthanc.area.create(kUuid, "x", 1, OrthancPluginContentType_Dicom) == OrthancPluginErrorCode_Success);
    CHECK((orthanc.upcalls > 0) == !old);
    orthanc.Unload();  // what is asked later does not hold in Serve()
    CHECK(!FakeOrthanc::Loaded());
    CHECK(orthanc.Lines().find("cannot") == std::string::npos);
  }
}

void StoresAndReadsInTheFolderThatOrthancNames() {
  for (const char* const version : kOldAndNew) {
    FakeOrthanc orthanc(version);
    CHECK(orthanc.Load("ranges") == 0);
    CHECK(orthanc.folder.Names().size() == 2);  // the script, and the folder of the socket
    CHECK(orthanc.area.create(kUuid, "x", 1, OrthancPluginContentType_Dicom) == OrthancPluginErrorCode_Success);
    OrthancPluginMemoryBuffer64 buffer{};
    CHECK(orthanc.area.readWhole(&buffer, kUuid, OrthancPluginContentType_Dicom) == OrthancPluginErrorCode_Success);
    CHECK(std::string(static_cast<char*>(buffer.data), buffer.size) == "read");
    std::free(buffer.data);
    CHECK(orthanc.buffers == 1);  // Orthanc's now
    orthanc.Unload();
  }
}

void RepeatedReadLeaksNoMemoryOfOrthancs() {
  for (const char* const version : kOldAndNew) {
    FakeOrthanc orthanc(version);
    CHECK(orthanc.Load("dies-after-reserve") == 0);
    OrthancPluginMemoryBuffer64 buffer{};
    CHECK(orthanc.area.readWhole(&buffer, kUuid, OrthancPluginContentType_Dicom) == OrthancPluginErrorCode_Success);
    CHECK(buffer.size == 4 && orthanc.buffers == 1);
    std::free(buffer.data);
    orthanc.Unload();
  }
}

void StartsAgainAfterAReset() {
  for (const char* const version : {"1.10.1", "1.13.0", "1.10.1"}) {
    FakeOrthanc orthanc(version);
    CHECK(orthanc.Load("asks") == 0);
    orthanc.Begin();
    CHECK(orthanc.routes.count("/route") == 1 && orthanc.job_types == 1);
    OrthancPluginHttpRequest request{};
    request.method = OrthancPluginHttpMethod_Get;
    CHECK(orthanc.routes["/route"](nullptr, "/route", &request) ==
          OrthancPluginErrorCode_Success);  // 200: not stopping
    orthanc.Unload();
    CHECK(!FakeOrthanc::Loaded());
  }
}

// Whatever is wrong with the engine. A monitor must not wait, nor see another status.
void ProbeIsAnsweredWithoutTheEngine() {
  for (const char* const scenario : {"dies-always", "faults"}) {
    FakeOrthanc orthanc("1.10.1");
    CHECK(orthanc.Load(scenario) == 0);
    OrthancPluginHttpRequest request{};
    request.method = OrthancPluginHttpMethod_Get;
    CHECK(orthanc.routes["/route"](nullptr, "/route", &request) != OrthancPluginErrorCode_Success);
    CHECK(orthanc.status == 0);
    const bool silent = std::strcmp(scenario, "dies-always") == 0;  // the engine, which has no words of its own
    CHECK(silent == (orthanc.Lines().find("cannot answer a REST request") != std::string::npos));
    orthanc.Forget();
    CHECK(orthanc.routes["/probe"](nullptr, "/probe", &request) == OrthancPluginErrorCode_Success);
    CHECK(orthanc.status == 503 && orthanc.header == "application/json");
    CHECK(orthanc.body.find("\"Ready\" : false") != std::string::npos);
    CHECK(orthanc.Lines().find("cannot answer") == std::string::npos);
    orthanc.Unload();
  }
}

void SecondStorageAreaIsRefused() {
  for (const char* const version : kOldAndNew) {
    FakeOrthanc orthanc(version);
    orthanc.registration = OrthancPluginErrorCode_StorageAreaAlreadyRegistered;
    CHECK(orthanc.Load("ranges") != 0);
    CHECK(orthanc.Lines().find("another plugin does so already") != std::string::npos);
    orthanc.Unload();
    CHECK(orthanc.Lines().find("is started again") == std::string::npos);
  }
}

void SecondCopyDoesNothing() {
  FakeOrthanc orthanc("1.10.1");
  CHECK(orthanc.Load("ranges") == 0 && orthanc.Name() == "cloud-storage");
  const auto create = orthanc.area.create;
  int32_t started = -1;
  CHECK(orthanc.LoadCopy(&started) == "cloud-storage-unused-copy.so" && started == 0);
  CHECK(orthanc.Lines().find("/copy.so does nothing, because it is the same plugin as ") != std::string::npos);
  CHECK(orthanc.area.create == create && orthanc.Name() == "cloud-storage");
  CHECK(create(kUuid, "x", 1, OrthancPluginContentType_Dicom) == OrthancPluginErrorCode_Success);
  orthanc.Unload();
}

void OldOrthancHasNoRoutesThatAskIt() {
  for (const char* const version : {"1.9.0", "1.9.1", "1.9.2", "mainline"}) {
    const bool old = std::strcmp(version, "1.9.2") < 0;
    FakeOrthanc orthanc(version);
    CHECK(orthanc.Load("ranges") == 0);
    CHECK(orthanc.routes.size() == 2 && orthanc.job_types == (old ? 0 : 1));
    CHECK((orthanc.Lines().find("Update to Orthanc 1.9.2") != std::string::npos) == old);
    orthanc.Unload();
  }
  FakeOrthanc orthanc("1.8.2");
  CHECK(orthanc.Load("ranges") != 0);
  CHECK(orthanc.Lines().find("needs Orthanc 1.9.0 or newer, this is 1.8.2") != std::string::npos);
  orthanc.Unload();
}

void MissingEngineStopsOrthancOnlyWhereItIsConfigured() {
  for (const char* const missing : {"Engine", "Node"})
    for (const char* const section : {"AwsS3Storage", "BlobStorage", "DirectoryStorage", "AwsS3", ""}) {
      const bool wanted = std::strstr(section, "Storage") != nullptr;
      FakeOrthanc orthanc(wanted ? "1.10.1" : "1.13.0");
      CHECK((orthanc.Load("off", std::string("\"") + section + "\":null,", missing) != 0) == wanted);
      CHECK(orthanc.Lines().find(std::string("CloudStorage.") + missing + " names /nowhere") != std::string::npos);
      CHECK((orthanc.Lines().find("the plugin is disabled") == std::string::npos) == wanted);
      CHECK(orthanc.area.create == nullptr);
      orthanc.Unload();
    }
}

}  // namespace

const std::vector<Test> kLibraryTests = {TEST(NewServicesAreAskedOnlyWhereTheyAre),
                                         TEST(EngineAsksWhileOrthancRuns),
                                         TEST(StoresAndReadsInTheFolderThatOrthancNames),
                                         TEST(RepeatedReadLeaksNoMemoryOfOrthancs),
                                         TEST(StartsAgainAfterAReset),
                                         TEST(ProbeIsAnsweredWithoutTheEngine),
                                         TEST(SecondStorageAreaIsRefused),
                                         TEST(SecondCopyDoesNothing),
                                         TEST(OldOrthancHasNoRoutesThatAskIt),
                                         TEST(MissingEngineStopsOrthancOnlyWhereItIsConfigured)};
