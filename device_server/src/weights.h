// The weights of one side: a safetensors file whose arrays are aligned, so that mapping is loading.
#pragma once

#include <filesystem>

#include "tensors.h"

namespace jointdnn {

// Maps the file: the tensors are views of it, read from disk when they are first touched. Throws
// Error when the header does not describe the file exactly.
Tensors MapWeights(const std::filesystem::path& path);

}  // namespace jointdnn
