// An engine that fake-engine.cpp plays, and an Orthanc that keeps what is logged.
#pragma once
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "../engine.h"
#include "check.h"

namespace ocs {

class FakeCore : public OrthancCore {
 public:
  void Log(LogLevel level, const std::string& line, const char* = __builtin_FILE(), int = __builtin_LINE()) override {
    if (on_log) on_log(line);
    std::lock_guard<std::mutex> lock(mutex_);
    lines_ += std::string(level == LogLevel::Error ? "E " : level == LogLevel::Warning ? "W " : "I ") + line + "\n";
  }
  void NameThread(const char*) override {}
  void RegisterError(uint16_t fault, uint16_t http, const std::string& message) override {
    Log(LogLevel::Info, "registered " + std::to_string(fault) + " " + std::to_string(http) + " " + message);
  }
  void Register(Registration kind, bool asks, const std::string& text) override {
    Log(LogLevel::Info, "registration " + std::to_string(static_cast<int>(kind)) + (asks ? "+ " : " ") + text);
  }
  int Count(const std::string& text) {
    std::lock_guard<std::mutex> lock(mutex_);
    int count = 0;
    for (size_t at = lines_.find(text); at != std::string::npos; at = lines_.find(text, at + 1)) count++;
    return count;
  }
  bool Said(const std::string& text) { return Count(text) > 0; }
  void Await(const std::string& text) {
    while (!Said(text)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  // What a log that blocks does.
  std::function<void(const std::string&)> on_log;

 private:
  std::mutex mutex_;
  std::string lines_;
};

// A folder of a test. At its end nothing may be left in it.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/plugin-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() { CHECK(rmdir(path_.c_str()) == 0); }
  const std::string& path() const { return path_; }
  // The names that are in it, without `.` and `..`.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    DIR* const folder = opendir(path_.c_str());
    while (const dirent* const entry = folder != nullptr ? readdir(folder) : nullptr)
      if (entry->d_name[0] != '.') names.push_back(entry->d_name);
    if (folder != nullptr) closedir(folder);
    return names;
  }

 private:
  std::string path_;
};

// An engine that plays `scenario`.
class Stage {
 public:
  explicit Stage(const std::string& scenario) {
    settings.node = fake_engine;
    settings.script = scenario;
    settings.folders = {folder.path()};
    settings.configuration = folder.path() + "/memory";
    settings.first_backoff = settings.stand_again = std::chrono::milliseconds(10);
    settings.drain_time = std::chrono::milliseconds(100);
    settings.ping_every = std::chrono::milliseconds(20);
    settings.silence = std::chrono::milliseconds(scenario == "deaf" ? 1'000 : 300'000);
  }
  ~Stage() {
    engine.reset();
    unlink((folder.path() + "/memory").c_str());
    unlink((folder.path() + "/memory.mended").c_str());
  }
  Engine::Started Start() {
    engine = std::make_unique<Engine>(core, settings);
    return engine->Start();
  }
  Answer Write() { return engine->Run(CreateOf("content")); }
  // From now on an engine of a scenario "then-..." works.
  void Mend() { CHECK(mknod((folder.path() + "/memory.mended").c_str(), S_IFREG | 0600, 0) == 0); }
  Folder folder;
  EngineSettings settings;
  FakeCore core;
  std::unique_ptr<Engine> engine;
};

}  // namespace ocs
