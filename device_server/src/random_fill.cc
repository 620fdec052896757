#include "random_fill.h"

#include <tvm/ffi/function.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace jointdnn {
namespace {

// The upper half of a float32's bits is a bfloat16.
uint16_t Bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);
}

// A float16 in [0.5, 1) from ten random bits: its exponent is fixed, its fraction is free.
uint16_t Float16(float value) {
  return static_cast<uint16_t>(0x3800 | int(value * 1024));
}

template <typename T, typename Draw>
std::vector<char> Drawn(size_t count, Draw draw) {
  std::vector<char> bytes(count * sizeof(T));
  std::mt19937 source(0);
  std::uniform_real_distribution<float> uniform(0.0F, 0.999F);
  for (size_t i = 0; i < count; ++i) {
    const T value = draw(uniform(source));
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

std::vector<char> Content(DLDataType type, size_t count) {
  if (type.code == kDLFloat && type.bits == 64) {
    return Drawn<double>(count, [](float value) { return value; });
  }
  if (type.code == kDLFloat && type.bits == 32) {
    return Drawn<float>(count, [](float value) { return value; });
  }
  if (type.code == kDLFloat && type.bits == 16) return Drawn<uint16_t>(count, Float16);
  if (type.code == kDLBfloat) return Drawn<uint16_t>(count, Bfloat16);
  return std::vector<char>((count * type.bits + 7) / 8);
}

}  // namespace

void RandomFill(tvm::ffi::TensorView tensor) {
  const size_t count = static_cast<size_t>(tensor.numel()) * tensor.dtype().lanes;
  std::vector<char> bytes = Content(tensor.dtype(), count);
  static const auto copy = tvm::ffi::Function::GetGlobalRequired("runtime.TVMTensorCopyFromBytes");
  copy(tensor, static_cast<void*>(bytes.data()), bytes.size());
}

}  // namespace jointdnn
