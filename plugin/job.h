// A job of Orthanc's that runs in the engine. Orthanc may ask at any time for what is kept here, also while no engine
// runs. Each step gets the text that the step before it has left, also if that step ran on another engine.
#pragma once
#include <string>

#include "engine.h"

namespace ocs {

class Job {
 public:
  enum class Step { Success = 1, Failure, Continue };  // as Orthanc numbers them

  // `content` and `serialized`: JSON objects.
  Job(Engine& engine, std::string content, std::string serialized);

  // For a job that Orthanc has kept over its restart. False: the engine does not understand the text.
  bool Restore();

  // Takes about a second. Orthanc pauses and cancels jobs between steps only.
  Step DoStep(OrthancApi& api);

  // The job leaves the running state.
  void Stop();

  // Sets the job back to its beginning. Orthanc holds the lock of all jobs meanwhile, so this is quick and asks nothing
  // of Orthanc. If it fails now, it is done before the next step.
  Ending Reset();

  float progress() const { return progress_; }                    // 0 ... 1
  const char* content() const { return content_.c_str(); }        // valid until the next call, as Orthanc
  const char* serialized() const { return serialized_.c_str(); }  // guarantees mutual exclusion

 private:
  Answer Run(Verb verb, OrthancApi* api, std::chrono::milliseconds time);

  Engine& engine_;
  const uint64_t number_;  // the same for all engines of this process
  float progress_ = 0;
  std::string content_;
  std::string serialized_;
  bool reset_due_ = false;
};

}  // namespace ocs
