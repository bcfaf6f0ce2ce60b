// An engine that fake-engine.cpp plays, and who hears what is said of it.
#pragma once
#include <unistd.h>

#include <memory>
#include <mutex>

#include "../engine.h"
#include "check.h"

namespace ocs {

class FakeHost : public Host {
 public:
  void Log(Level level, const std::string& line) override {
    std::lock_guard<std::mutex> lock(mutex_);
    lines_ += std::string(level == Level::Error ? "E " : level == Level::Warning ? "W " : "I ") + line + "\n";
  }
  void RegisterError(uint16_t fault, uint16_t http, const std::string& message) override {
    Log(Level::Info, "registered " + std::to_string(fault) + " " + std::to_string(http) + " " + message);
  }
  void Register(Wish wish, const std::string& text) override {
    Log(Level::Info, "wish " + std::to_string(static_cast<int>(wish)) + " " + text);
  }
  int Count(const std::string& text) {
    std::lock_guard<std::mutex> lock(mutex_);
    int count = 0;
    for (size_t at = lines_.find(text); at != std::string::npos; at = lines_.find(text, at + 1)) count++;
    return count;
  }
  bool Said(const std::string& text) { return Count(text) > 0; }

 private:
  std::mutex mutex_;
  std::string lines_;
};

// An engine that plays `scenario`, in a TMPDIR of its own in which nothing may be left.
class Stage {
 public:
  explicit Stage(const std::string& scenario) {
    char folder[] = "/tmp/plugin-test-XXXXXX";
    folder_ = mkdtemp(folder);
    setenv("TMPDIR", folder_.c_str(), 1);
    EngineSettings settings;
    settings.node = fake_engine;
    settings.script = scenario;
    settings.configuration = folder_ + "/memory";
    settings.first_backoff = std::chrono::milliseconds(10);
    settings.drain_time = std::chrono::milliseconds(100);
    settings.ping_every = std::chrono::milliseconds(20);
    settings.silence = std::chrono::milliseconds(scenario == "deaf" ? 1'000 : 300'000);
    engine = std::make_unique<Engine>(host, settings);
  }
  ~Stage() {
    engine.reset();
    unlink((folder_ + "/memory").c_str());
    CHECK(rmdir(folder_.c_str()) == 0);
  }
  Answer Write() { return engine->Run(CreateOf("content")); }
  FakeHost host;
  std::unique_ptr<Engine> engine;

 private:
  std::string folder_;
};

}  // namespace ocs
