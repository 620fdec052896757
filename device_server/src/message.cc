#include "message.h"

#include <tvm/ffi/dtype.h>

#include "error.h"
#include "sockets.h"

namespace jointdnn {
namespace {

using tvm::ffi::String;

const std::string kMagic = "JDM1";
constexpr size_t kMaxHeaderBytes = 1 << 20;

}  // namespace

Message Message::Decode(const std::string& bytes) {
  const bool ours = bytes.size() >= 8 && bytes.compare(0, 4, kMagic) == 0;
  const size_t length = ours ? static_cast<uint32_t>(Unpacked(bytes.data() + 4)) : 0;
  if (!ours || length > std::min(kMaxHeaderBytes, bytes.size() - 8)) {
    throw Error("not a crossing's message");
  }
  const json::Object text = ObjectIn(ParseJson(bytes.substr(8, length)));
  Message message{ObjectIn(Entry(text, "header")), {}};
  size_t offset = 8 + length;
  for (const json::Value& value : ListIn(Entry(text, "tensors"))) {
    const json::Array entry = ListIn(value);
    if (entry.size() != 3) throw Error("a message's tensor has a name, a type and a shape");
    const TensorType type = TensorType::Parse(TextIn(entry[1]), SizesIn(entry[2]));
    const size_t size = type.SizeBytes();
    if (size > bytes.size() - offset) throw Error("a message's tensor is cut short");
    message.tensors.insert_or_assign(TextIn(entry[0]), CopyOf(type, bytes.data() + offset));
    offset += size;
  }
  if (offset != bytes.size()) throw Error("a message is longer than it says");
  return message;
}

std::string Encode(const Tensors& tensors, const std::vector<std::string>& names) {
  json::Array entries;
  std::string content;
  for (const std::string& name : names) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw Error("the stage does not give tensor '" + name + "'");
    const tvm::ffi::Tensor& tensor = found->second;
    if (!tensor.IsContiguous()) throw Error("tensor '" + name + "' lies in pieces");
    json::Array shape;
    for (const int64_t size : tensor.shape()) shape.push_back(size);
    const TensorType type{tensor.dtype(), {tensor.shape().begin(), tensor.shape().end()}};
    entries.push_back(json::Array{String(name), tvm::ffi::DLDataTypeToString(type.element), shape});
    content.append(static_cast<const char*>(tensor.data_ptr()), type.SizeBytes());
  }
  const std::string text = json::Stringify(
      json::Object{{String("header"), json::Object()}, {String("tensors"), entries}});
  return kMagic + Packed(static_cast<int32_t>(text.size())) + text + content;
}

}  // namespace jointdnn
