// One encoded tensor as it crosses; see jointdnn_tvm/codec/frame.py for the layout.
#pragma once

#include <string>

#include "tensors.h"

namespace jointdnn {

// CRC-32, of what follows that of which it was `before`.
uint32_t Checksum(const char* data, size_t size, uint32_t before = 0);

struct Frame {
  std::string codec;
  std::string element;  // NumPy's name
  std::vector<int64_t> shape;
  std::string parameters;
  std::string payload;

  // Throws Error when it is damaged, of another version, or a tensor of more than `most_bytes`.
  static Frame Read(const char* data, size_t size, size_t most_bytes);
  std::string ToBytes() const;

  TensorType type() const { return TensorType::Parse(element, shape); }
  size_t count() const;
};

}  // namespace jointdnn
