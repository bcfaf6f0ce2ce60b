// A job of Orthanc's that runs in the engine. What is kept here is what Orthanc may ask for at any time, also while no
// engine runs: each step, and the engine after the next, gets back the text that the step before left.
#pragma once
#include <string>

#include "engine.h"

namespace ocs {

class Job {
 public:
  enum class Step { Success = 1, Failure, Continue };  // as Orthanc numbers them

  // `content` and `serialized`: JSON objects.
  Job(Engine& engine, std::string content, std::string serialized);

  // For a job that Orthanc kept over a restart of its own. False: the engine can make nothing of the text.
  bool Restore();

  // Takes about a second. Orthanc looks for a wish to pause or cancel between the steps only.
  Step DoStep(OrthancApi& api);

  // The job leaves the running state.
  void Stop();

  // It shall begin again. Orthanc holds the lock of all jobs meanwhile, so this is quick and asks nothing of Orthanc.
  // What does not succeed now is done before the next step.
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
