// Every call that Orthanc makes to the plugin, and what must come of it.
#pragma once
#include <functional>
#include <string>

#include "orthanc.h"

namespace fuzz {

class Driver {
 public:
  Driver(Script& script, Orthanc& orthanc) : script_(script), in_(script.in), orthanc_(orthanc) {}

  void Call();     // any of those below
  void Storage();  // one of the storage area

 private:
  using Do = std::function<void(const _OrthancPluginCreateJob& job, const Calling& calling)>;

  void Check(OrthancPluginErrorCode code);
  std::string Content();
  Calling Of(uint8_t verb);
  void Create();
  void Read();
  void Range();
  void Remove();
  void Rest();
  Calling OfJob(uint8_t verb, const std::string& serialized);
  void CheckJob(const _OrthancPluginCreateJob& job);
  void WithJob(uint8_t verb, bool asks, int64_t time, const Do& call);
  void Step();
  void Stop();
  void Reset();
  void Restore();
  void Metrics();
  void Background();
  void StopOrthanc();

  Script& script_;
  Input& in_;
  Orthanc& orthanc_;
};

}  // namespace fuzz
