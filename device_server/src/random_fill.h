// Numbers to measure a kernel on: the speed of one may depend on them (denormals, zeros).
#pragma once

#include <tvm/ffi/container/tensor.h>

namespace jointdnn {

// Fills a tensor on this device with numbers from 0 to 1, and one of whole numbers with zeros.
void RandomFill(tvm::ffi::TensorView tensor);

}  // namespace jointdnn
