// Zstandard at level 1, as jointdnn_tvm/codec/compression.py uses it.
#pragma once

#include <cstddef>
#include <string>

namespace jointdnn {

// Blocks of so many bytes have an entropy code each; 0: as Zstandard has them.
std::string Compress(const std::string& data, size_t block_bytes = 0);

// Throws Error unless that gives exactly `size_bytes`, which are not allocated before the data has
// told the same number.
std::string Decompress(const char* data, size_t size, size_t size_bytes);

}  // namespace jointdnn
