// What the plugin needs of Orthanc, so that everything but plugin.cpp can be tested without it.
#pragma once
#include <cstdint>
#include <string>

namespace ocs {

enum class Level : uint8_t { Error, Warning, Info };

class Host {
 public:
  virtual ~Host() = default;
  virtual void Log(Level level, const std::string& line) = 0;
  // Tells Orthanc which HTTP status and message go with a fault number of the engine.
  virtual void RegisterError(uint16_t fault, uint16_t http, const std::string& message) = 0;
};

// Where the bytes of a read go. Nothing of it reaches Orthanc unless the call succeeds.
class Result {
 public:
  virtual ~Result() = default;
  // Makes room for exactly `size` bytes. Called once. False: there is no memory for it.
  virtual bool Reserve(uint64_t size) = 0;
  // Whether `size` may be reserved at all: a range has a fixed size.
  virtual bool Accepts(uint64_t size) const = 0;
  virtual uint8_t* data() = 0;
};

}  // namespace ocs
