#include "compression.h"

#include <zstd.h>

#include <algorithm>
#include <memory>
#include <new>

#include "error.h"

namespace jointdnn {
namespace {

constexpr int kLevel = 1;
constexpr int kHashLog = 12;  // of a table that stays in the first cache
constexpr size_t kBlockHeaderBytes = 3;

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

size_t Checked(size_t result) {
  if (ZSTD_isError(result)) {
    throw Error(std::string("a tensor's payload is damaged: ") + ZSTD_getErrorName(result));
  }
  return result;
}

}  // namespace

std::string Compress(const std::string& data, size_t block_bytes) {
  const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
  if (!context) throw std::bad_alloc();
  Checked(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kLevel));
  Checked(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_hashLog, kHashLog));
  Checked(ZSTD_CCtx_setPledgedSrcSize(context.get(), data.size()));
  if (block_bytes == 0 || block_bytes > data.size()) block_bytes = std::max<size_t>(data.size(), 1);
  const size_t blocks = data.size() / block_bytes + 1;
  std::string packed(ZSTD_compressBound(data.size()) + blocks * kBlockHeaderBytes + 64, '\0');
  ZSTD_outBuffer output{packed.data(), packed.size(), 0};
  for (size_t begin = 0; begin == 0 || begin < data.size(); begin += block_bytes) {
    const size_t end = std::min(begin + block_bytes, data.size());
    ZSTD_inBuffer input{data.data() + begin, end - begin, 0};
    const auto what = end == data.size() ? ZSTD_e_end : ZSTD_e_flush;
    while (Checked(ZSTD_compressStream2(context.get(), &output, &input, what)) != 0) continue;
  }
  packed.resize(output.pos);
  return packed;
}

std::string Decompress(const char* data, size_t size, size_t size_bytes) {
  const bool as_told = ZSTD_getFrameContentSize(data, size) == size_bytes &&
                       ZSTD_findFrameCompressedSize(data, size) == size;
  if (!as_told) {
    throw Error("a tensor's payload does not hold " + std::to_string(size_bytes) + " bytes");
  }
  std::string content(size_bytes, '\0');
  if (Checked(ZSTD_decompress(content.data(), size_bytes, data, size)) != size_bytes) {
    throw Error("a tensor's payload is cut short");
  }
  return content;
}

}  // namespace jointdnn
