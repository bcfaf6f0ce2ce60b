// The engine's life as the fuzzer plays it.
#pragma once
#include <functional>

namespace fuzz {

// Whether the engine has something to say over the control connection.
extern std::function<bool()> control_speaks;

// The standing call, once. Empty: no engine wanted it when Orthanc had started.
extern std::function<void()> stand;

}  // namespace fuzz
