// Tensors on bytes that came from outside.
#pragma once

#include <tvm/ffi/container/tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace jointdnn {

using Tensors = std::map<std::string, tvm::ffi::Tensor>;

constexpr size_t kAlignment = 64;  // bytes; what compiled kernels assume of every argument

struct TensorType {
  DLDataType element;
  std::vector<int64_t> shape;

  // `name` is NumPy's; throws Error for one that no bundle has.
  static TensorType Parse(const std::string& name, std::vector<int64_t> shape);
  // Throws Error when that is more than there can be.
  size_t SizeBytes() const;
};

TensorType TypeOf(const tvm::ffi::Tensor& tensor);
// A tensor with a copy of the bytes.
tvm::ffi::Tensor CopyOf(const TensorType& type, const char* data);
// A tensor on bytes that are aligned, and live as long as their owner.
tvm::ffi::Tensor ViewOf(const TensorType& type, char* data, std::shared_ptr<void> owner);

}  // namespace jointdnn
