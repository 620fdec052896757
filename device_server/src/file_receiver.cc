#include "file_receiver.h"

#include <algorithm>
#include <vector>

#include "clock.h"
#include "error.h"
#include "json.h"
#include "sockets.h"

namespace jointdnn {
namespace {

namespace json = tvm::ffi::json;

constexpr size_t kBlockBytes = 1 << 20;
constexpr double kSilence_s = 30.0;
constexpr double kSlowest_bytes_per_s = 8192;  // a sender that drips does not stay for ever

void Answer(const Fd& connection, const std::string& name, const json::Value& value) {
  const std::string text = json::Stringify(json::Object{{tvm::ffi::String(name), value}});
  const std::string answer = Packed(static_cast<int32_t>(text.size())) + text;
  SendAll(connection, answer.data(), answer.size(), After(kSilence_s));
}

void Receive(const Fd& connection, const FileHeader& header, const FileCache& cache) {
  if (cache.Has(header.sha256, header.size_bytes)) {
    Answer(connection, "have", true);
    return;
  }
  const Time end =
      After(kSilence_s + static_cast<double>(header.size_bytes) / kSlowest_bytes_per_s);
  IncomingFile file(cache, header.sha256, header.size_bytes);
  Answer(connection, "have", false);
  std::vector<char> block(kBlockBytes);
  while (file.missing_bytes() > 0) {
    const auto wanted = std::min<int64_t>(kBlockBytes, file.missing_bytes());
    const size_t got = ReceiveSome(connection, block.data(), static_cast<size_t>(wanted),
                                   std::min(end, After(kSilence_s)));
    if (got == 0 || Clock::now() > end) throw Error("the sender stopped, or is too slow");
    file.Write(block.data(), got);
  }
  file.Keep();
  Answer(connection, "have", true);
}

}  // namespace

FileHeader FileHeader::Parse(const std::string& text) {
  const auto header = ParseJson(text).try_cast<json::Object>();
  if (!header) throw Error("a file's header is no object");
  const auto sha256 = header->Get(tvm::ffi::String("sha256"));
  const auto size = header->Get(tvm::ffi::String("size_bytes"));
  const auto digest = sha256 ? sha256->try_cast<tvm::ffi::String>() : std::nullopt;
  const auto size_bytes = size ? size->try_cast<int64_t>() : std::nullopt;
  if (!digest || !size_bytes || *size_bytes < 0) {
    throw Error("a file's header needs its sha256 and its size_bytes");
  }
  return {std::string(*digest), *size_bytes};
}

void ReceiveFile(const Fd& connection, const std::string& header, const FileCache& cache) {
  try {
    Receive(connection, FileHeader::Parse(header), cache);
  } catch (const Error& error) {
    Answer(connection, "error", tvm::ffi::String(error.what()));
    throw;
  }
}

}  // namespace jointdnn
