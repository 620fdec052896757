// Tensors as the frames of jointdnn_tvm/codec/frame.py: the codecs of docs/codecs.md but `jpeg`.
#pragma once

#include <cstdint>
#include <string>

#include "tensors.h"

namespace jointdnn {

constexpr size_t kMostTensorBytes = 1 << 30;  // no frame decodes to more

bool HasCodec(const std::string& name);

// Throws Error when the frame is damaged, or declares more than `most_bytes`; nothing of that size
// is allocated before.
tvm::ffi::Tensor DecodeTensor(const char* frame, size_t size, size_t most_bytes);

// By that codec or, where that cannot, an exact one; the tensor is contiguous.
std::string EncodeTensor(const std::string& codec, const tvm::ffi::Tensor& tensor);

// Seconds to encode and to decode so many numbers like those that networks make, as JSON; "null"
// for a codec that is not here. Repeats last `shortest_s` or longer.
std::string TimeCodec(const std::string& codec, int64_t count, double shortest_s);

}  // namespace jointdnn
