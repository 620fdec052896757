#include "tensors.h"

#include <tvm/ffi/dtype.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <set>

#include "error.h"

namespace jointdnn {
namespace {

// What DLPack's user holds: the shape and whoever owns the bytes.
struct Holder {
  std::vector<int64_t> shape;
  std::shared_ptr<void> owner;
  DLManagedTensor managed;
};

}  // namespace

TensorType TensorType::Parse(const std::string& name, std::vector<int64_t> shape) {
  static const std::set<std::string> kNames = {"bool",  "uint8",   "int8",    "uint16",
                                               "int16", "uint32",  "int32",   "uint64",
                                               "int64", "float16", "float32", "float64"};
  if (!kNames.count(name)) throw Error("there is no element type '" + name.substr(0, 40) + "'");
  return {tvm::ffi::StringToDLDataType(name), std::move(shape)};
}

size_t TensorType::SizeBytes() const {
  size_t size = (element.bits + 7U) / 8U;
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(size, dimension, &size)) throw Error("a tensor is too large");
  }
  return size;
}

TensorType TypeOf(const tvm::ffi::Tensor& tensor) {
  return {tensor.dtype(), {tensor.shape().begin(), tensor.shape().end()}};
}

tvm::ffi::Tensor ViewOf(const TensorType& type, char* data, std::shared_ptr<void> owner) {
  auto* holder = new Holder{type.shape, std::move(owner), {}};
  holder->managed.manager_ctx = holder;
  holder->managed.deleter = [](DLManagedTensor* tensor) {
    delete static_cast<Holder*>(tensor->manager_ctx);
  };
  holder->managed.dl_tensor = {data,
                               DLDevice{kDLCPU, 0},
                               static_cast<int>(type.shape.size()),
                               type.element,
                               holder->shape.data(),
                               nullptr,
                               0};
  return tvm::ffi::Tensor::FromDLPack(&holder->managed, kAlignment, /*require_contiguous=*/true);
}

tvm::ffi::Tensor CopyOf(const TensorType& type, const char* data) {
  const size_t size = type.SizeBytes();
  const size_t rounded = (size / kAlignment + 1) * kAlignment;
  std::shared_ptr<void> bytes(std::aligned_alloc(kAlignment, rounded), std::free);
  if (!bytes) throw std::bad_alloc();
  std::memcpy(bytes.get(), data, size);
  return ViewOf(type, static_cast<char*>(bytes.get()), bytes);
}

}  // namespace jointdnn
