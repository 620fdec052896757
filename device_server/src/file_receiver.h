// The device's side of jointdnn_tvm/runtime/file_transfer.py.
#pragma once

#include <string>

#include "fd.h"
#include "file_cache.h"

namespace jointdnn {

struct FileHeader {
  std::string sha256;
  int64_t size_bytes;

  // Throws Error.
  static FileHeader Parse(const std::string& text);
};

// Takes one file into the cache, unless it is there already. Throws Error, after telling the
// sender.
void ReceiveFile(const Fd& connection, const std::string& header, const FileCache& cache);

}  // namespace jointdnn
