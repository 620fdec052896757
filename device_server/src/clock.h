// Points in time at which patience ends.
#pragma once

#include <algorithm>
#include <chrono>

namespace jointdnn {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

inline Time After(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(
                            std::chrono::duration<double>(std::clamp(seconds, 0.0, 1e8)));
}

// Milliseconds until then, rounded up; 0 once it is over. For poll().
inline int MillisecondsUntil(Time time) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(time - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 1'000'000'000));
}

}  // namespace jointdnn
