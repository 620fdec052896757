// Bytes that say nothing, to be sent again and again: a link that compresses finds nothing to do.
#pragma once

#include <algorithm>
#include <random>
#include <string>

namespace jointdnn {

constexpr size_t kMostNoiseBytes = 64 << 20;  // of one exchange, each way

inline const std::string& Noise() {
  static const std::string noise = [] {
    std::string bytes(1 << 16, '\0');
    std::mt19937 source(0);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(source()); });
    return bytes;
  }();
  return noise;
}

}  // namespace jointdnn
