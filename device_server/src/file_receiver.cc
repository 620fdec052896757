#include "file_receiver.h"

#include <algorithm>
#include <vector>

#include "clock.h"
#include "error.h"
#include "json.h"
#include "sockets.h"

namespace jointdnn {
namespace {

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
  const json::Object header = ObjectIn(ParseJson(text));
  const auto size_bytes = Entry(header, "size_bytes").try_cast<int64_t>();
  if (!size_bytes || *size_bytes < 0) throw Error("a file's size is a whole number of 0 or more");
  return {TextIn(Entry(header, "sha256")), *size_bytes};
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
