// IEEE half precision, where the compiler may have none.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace jointdnn {

inline bool IsInfinite(uint16_t half) { return (half & 0x7FFF) == 0x7C00; }

inline float FloatOf(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  float number = std::ldexp(static_cast<float>(exponent ? mantissa + 1024 : mantissa),
                            (exponent ? exponent : 1) - 25);
  if (exponent == 31) number = mantissa ? NAN : INFINITY;
  return half & 0x8000 ? -number : number;
}

// The nearest, of two as near the even one.
inline uint16_t HalfOf(float number) {
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const float magnitude = std::fabs(number);
  if (std::isnan(number)) return static_cast<uint16_t>(sign | 0x7E00);
  if (magnitude >= 65520) return static_cast<uint16_t>(sign | 0x7C00);
  int exponent = -24;
  if (magnitude > 0) std::frexp(magnitude, &exponent);
  const int unit = std::max(exponent - 11, -24);  // of the last bit
  const auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -unit)));
  // A carry out of the mantissa is the next exponent's first number.
  const uint32_t above = unit > -24 ? static_cast<uint32_t>(unit + 24) << 10 : 0;
  return static_cast<uint16_t>(sign | (above + units));
}

}  // namespace jointdnn
