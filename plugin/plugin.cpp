// Orthanc's entry points and callbacks. Everything that decides is in the engine (docs/protocol.md).
#include "plugin.h"

#include <cstdlib>
#include <iterator>

#include "files.h"
#include "sdk.h"
#include "setting.h"

#ifndef VERSION
#error "VERSION comes from package.json: build with npm run build"
#endif

namespace ocs {
OrthancPluginContext* context = nullptr;
std::unique_ptr<Engine> engine;
}  // namespace ocs

namespace {

using ocs::context;
using ocs::engine;

constexpr uint16_t kFaults = 32;
constexpr uint16_t kUnavailable = 4;  // the engine's number for "try again later" (docs/protocol.md)

// V8 counts the small objects of its heap, but not the payloads beside the heap that they hold. With its own settings
// it keeps up to 64 MB of dead payloads. Then it marks its whole heap to find them, which takes up to half of the
// engine's processor time. A small young generation frees them early and cheaply, and no marking begins below 96 MB
// (docs/decisions.md).
constexpr const char* kNodeOptions[] = {"--max-semi-space-size=2", "--initial-heap-size=96"};

// With one of these sections there is work for the engine (src/config/config.ts).
constexpr const char* kSections[] = {"AwsS3Storage", "AzureBlobStorage", "BlobStorage", "GoogleCloudStorage",
                                     "DirectoryStorage"};

class SdkCore : public ocs::OrthancCore {
 public:
  SdkCore() {
    for (auto& code : codes_) code = OrthancPluginErrorCode_StorageAreaPlugin;
  }

  void Log(ocs::LogLevel level, const std::string& text, const char* file, int line) override {
    ocs::LogLine(level, text, file, line);
  }

  void NameThread(const char* name) override { ocs::NameThread(name); }

  void RegisterError(uint16_t fault, uint16_t http, const std::string& message) override {
    if (fault < kFaults) codes_[fault] = OrthancPluginRegisterErrorCode(context, fault, http, message.c_str());
  }

  void Register(ocs::Registration kind, bool asks, const std::string& text) override {
    if (!asks || ocs::CanBeAsked()) return ocs::RegisterService(kind, text);
    if (!warned_)
      ocs::LogLine(
          ocs::LogLevel::Warning,
          std::string("this Orthanc ") + context->orthancVersion +
              " does not let plugins use its REST API as this one needs it. Moves of files, "
              "the list of where files are, and reading ahead are not offered. Update to Orthanc 1.9.2 or newer",
          __FILE__, __LINE__);
    warned_ = true;
  }

  OrthancPluginErrorCode CodeOf(const ocs::Answer& answer) const {
    switch (answer.ending) {
      case ocs::Ending::Ok: return OrthancPluginErrorCode_Success;
      case ocs::Ending::Fault:
        return answer.fault < kFaults ? codes_[answer.fault] : OrthancPluginErrorCode_StorageAreaPlugin;
      case ocs::Ending::NoMemory: return OrthancPluginErrorCode_NotEnoughMemory;
      case ocs::Ending::TooLarge: return OrthancPluginErrorCode_BadRequest;
      case ocs::Ending::Down: return codes_[kUnavailable];
      default: return OrthancPluginErrorCode_StorageAreaPlugin;
    }
  }

 private:
  OrthancPluginErrorCode codes_[kFaults];
  bool warned_ = false;
};

// A whole file. Orthanc makes the buffer when the size is known. The buffer is ours until the call has succeeded.
class WholeFile : public ocs::Result {
 public:
  explicit WholeFile(OrthancPluginMemoryBuffer64* target) : target_(target) {
    target_->data = nullptr;
    target_->size = 0;
  }
  bool Reserve(uint64_t size) override {
    return OrthancPluginCreateMemoryBuffer64(context, target_, size) == OrthancPluginErrorCode_Success;
  }
  void Drop() override {
    if (target_->data != nullptr) OrthancPluginFreeMemoryBuffer64(context, target_);
    target_->data = nullptr;
    target_->size = 0;
  }
  bool Accepts(uint64_t) const override { return true; }
  uint8_t* data() override { return static_cast<uint8_t*>(target_->data); }

 private:
  OrthancPluginMemoryBuffer64* target_;
};

// A whole file for Orthanc's interface before 1.9.0: the buffer comes from malloc().
class OldWholeFile : public ocs::Result {
 public:
  OldWholeFile() = default;
  ~OldWholeFile() override { Drop(); }
  OldWholeFile(const OldWholeFile&) = delete;
  OldWholeFile& operator=(const OldWholeFile&) = delete;
  bool Reserve(uint64_t size) override {
    size_ = size;
    data_ = static_cast<uint8_t*>(std::malloc(size == 0 ? 1 : size));
    return data_ != nullptr;
  }
  void Drop() override {
    std::free(data_);
    data_ = nullptr;
  }
  bool Accepts(uint64_t size) const override { return size <= INT64_MAX; }
  uint8_t* data() override { return data_; }
  void Hand(void** content, int64_t* size) {
    *content = data_;
    *size = static_cast<int64_t>(size_);
    data_ = nullptr;
  }

 private:
  uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

// A range: the buffer and its size are Orthanc's.
class FileRange : public ocs::Result {
 public:
  explicit FileRange(OrthancPluginMemoryBuffer64* target) : target_(target) {}
  bool Reserve(uint64_t) override { return true; }
  void Drop() override {}
  bool Accepts(uint64_t size) const override { return size == target_->size; }
  uint8_t* data() override { return static_cast<uint8_t*>(target_->data); }

 private:
  OrthancPluginMemoryBuffer64* target_;
};

std::unique_ptr<SdkCore> core;

// A copy of this library that was loaded before this one, or "". The image orthancteam/orthanc loads one for each
// section of a provider that is there, under the names of the official libraries. It is looked for once, when Orthanc
// asks for the name: a copy that comes later must change nothing.
const std::string& Before() {
  static const std::string before = ocs::OtherCopy();
  return before;
}

OrthancPluginErrorCode Create(const char* uuid, const void* content, int64_t size, OrthancPluginContentType type) {
  ocs::Call call{ocs::Verb::Create, uuid};
  call.type = static_cast<uint16_t>(type);
  call.content = content;
  call.size = static_cast<uint64_t>(size);
  return core->CodeOf(engine->Run(call));
}

OrthancPluginErrorCode ReadWhole(OrthancPluginMemoryBuffer64* target, const char* uuid, OrthancPluginContentType type) {
  WholeFile file(target);
  ocs::Call call{ocs::Verb::Read, uuid};
  call.type = static_cast<uint16_t>(type);
  call.result = &file;
  return core->CodeOf(engine->Run(call));
}

OrthancPluginErrorCode ReadOld(void** content, int64_t* size, const char* uuid, OrthancPluginContentType type) {
  OldWholeFile file;
  ocs::Call call{ocs::Verb::Read, uuid};
  call.type = static_cast<uint16_t>(type);
  call.result = &file;
  const OrthancPluginErrorCode code = core->CodeOf(engine->Run(call));
  if (code == OrthancPluginErrorCode_Success) file.Hand(content, size);
  return code;
}

OrthancPluginErrorCode ReadRange(OrthancPluginMemoryBuffer64* target, const char* uuid, OrthancPluginContentType type,
                                 uint64_t start) {
  FileRange range(target);
  ocs::Call call{ocs::Verb::ReadRange, uuid};
  call.type = static_cast<uint16_t>(type);
  call.start = start;
  call.size = target->size;
  call.result = &range;
  return core->CodeOf(engine->Run(call));
}

OrthancPluginErrorCode Remove(const char* uuid, OrthancPluginContentType type) {
  ocs::Call call{ocs::Verb::Remove, uuid};
  call.type = static_cast<uint16_t>(type);
  return core->CodeOf(engine->Run(call));
}

OrthancPluginErrorCode OnChange(OrthancPluginChangeType change, OrthancPluginResourceType, const char*) {
  if (change == OrthancPluginChangeType_OrthancStarted) ocs::BeginBackground();
  if (change == OrthancPluginChangeType_OrthancStopped) {
    ocs::StopServices();
    engine->Drain();
  }
  return OrthancPluginErrorCode_Success;
}

int32_t Refuse(const std::string& why) {
  ocs::LogLine(ocs::LogLevel::Error, why, __FILE__, __LINE__);
  return -1;
}

// The engine cannot be found. If no storage is configured, Orthanc does not need it.
int32_t Missing(const std::string& configuration, const std::string& why) {
  for (const char* const section : kSections)
    if (ocs::HasSetting(configuration, section)) return Refuse(why);
  const std::string line =
      "cloud-storage: no section of a storage provider in the configuration: the plugin is disabled. " + why;
  ocs::LogLine(ocs::LogLevel::Warning, line, __FILE__, __LINE__);
  return 0;
}

// The SDK's own functions for this do not return what Orthanc answers.
OrthancPluginErrorCode RegisterStorageArea(bool ranges) {
  if (ranges) {
    _OrthancPluginRegisterStorageArea2 area{Create, ReadWhole, ReadRange, Remove};
    return context->InvokeService(context, _OrthancPluginService_RegisterStorageArea2, &area);
  }
  _OrthancPluginRegisterStorageArea area{Create, ReadOld, Remove, std::free};
  return context->InvokeService(context, _OrthancPluginService_RegisterStorageArea, &area);
}

}  // namespace

OrthancPluginErrorCode ocs::CodeOf(const Answer& answer) { return core->CodeOf(answer); }

extern "C" {

extern char this_library __asm__("__dso_handle") __attribute__((visibility("hidden")));
void __cxa_finalize(void* library);

// Runs the destructors of this library's static objects when Orthanc unloads it. GNU's start files do it, too, but zig
// links none. The destructors would be left for the end of Orthanc, and crash it there.
__attribute__((destructor)) static void DestroyStatics() { __cxa_finalize(&this_library); }

ORTHANC_PLUGINS_API int32_t OrthancPluginInitialize(OrthancPluginContext* orthanc) {
  context = orthanc;
  if (!Before().empty()) {
    const std::string line = ocs::OwnFile() + " does nothing, because it is the same plugin as " + Before() +
                             ", which is loaded already. One is enough for every provider";
    ocs::LogLine(ocs::LogLevel::Warning, line, __FILE__, __LINE__);
    return 0;
  }
  ocs::StartServices();
  if (OrthancPluginCheckVersionAdvanced(context, 1, 9, 0) == 0)
    return Refuse(std::string("cloud-storage needs Orthanc 1.9.0 or newer, this is ") + context->orthancVersion);
  ocs::DescribePlugin("Stores Orthanc's files in a cloud object storage");

  char* const text = OrthancPluginGetConfiguration(context);
  if (text == nullptr) return Refuse("cloud-storage cannot read Orthanc's configuration");
  ocs::EngineSettings settings;
  settings.orthanc = context->orthancVersion;
  settings.configuration = text;
  OrthancPluginFreeString(context, text);

  const std::string folder = ocs::OwnFolder();
  const std::string engine_setting = ocs::FindSetting(settings.configuration, {"CloudStorage", "Engine"});
  const std::string node_setting = ocs::FindSetting(settings.configuration, {"CloudStorage", "Node"});
  settings.folders = ocs::SocketFolders(ocs::FindSetting(settings.configuration, {"TemporaryDirectory"}));
  settings.script = ocs::FindEngine(engine_setting, folder);
  settings.node = ocs::FindNode(node_setting, folder, settings.script);
  settings.node_options.assign(std::begin(kNodeOptions), std::end(kNodeOptions));
  if (settings.script.empty())
    return Missing(
        settings.configuration,
        engine_setting.empty()
            ? "cloud-storage finds no engine.mjs, neither in " + folder +
                  " nor in /usr/lib/orthanc-cloud-storage. Put it beside the .so, or name it in CloudStorage.Engine"
            : "CloudStorage.Engine names " + engine_setting + ", which cannot be read");
  if (settings.node.empty())
    return Missing(settings.configuration,
                   node_setting.empty()
                       ? "cloud-storage finds no Node.js, neither as node beside " + settings.script +
                             " nor on PATH. Install Node.js 22.13 or newer, or name it in CloudStorage.Node"
                       : "CloudStorage.Node names " + node_setting + ", which cannot be run");

  core = std::make_unique<SdkCore>();
  engine = std::make_unique<ocs::Engine>(*core, std::move(settings));
  switch (engine->Start()) {
    case ocs::Engine::Started::On: break;
    case ocs::Engine::Started::Off: engine.reset(); return 0;
    case ocs::Engine::Started::Refused: engine.reset(); return -1;
  }
  if (RegisterStorageArea(engine->ranges()) != OrthancPluginErrorCode_Success) {
    engine.reset();
    return Refuse(
        "cloud-storage cannot store Orthanc's files: another plugin does so already. Remove one of the two from "
        "\"Plugins\" in Orthanc's configuration; in the image orthancteam/orthanc, replace the official plugin by this "
        "one (docs/docker.md)");
  }
  ocs::DescribePlugin(engine->description());
  OrthancPluginRegisterOnChangeCallback(context, OnChange);
  return 0;
}

ORTHANC_PLUGINS_API void OrthancPluginFinalize() {
  engine.reset();
  core.reset();
}

// Orthanc does not start when two plugins have one name.
ORTHANC_PLUGINS_API const char* OrthancPluginGetName() {
  static const std::string unused = ocs::kName + ("-unused-" + ocs::OwnFile().substr(ocs::OwnFile().rfind('/') + 1));
  return Before().empty() ? ocs::kName : unused.c_str();
}

ORTHANC_PLUGINS_API const char* OrthancPluginGetVersion() { return VERSION; }
}
