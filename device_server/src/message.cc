#include "message.h"

#include <tvm/ffi/dtype.h>

#include "codec.h"
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
  size_t offset = 8 + length, left = kMostTensorBytes;
  for (const json::Value& value : ListIn(Entry(text, "tensors"))) {
    const json::Array entry = ListIn(value);
    const bool encoded = entry.size() == 2;
    if (!encoded && entry.size() != 3) {
      throw Error("a message's tensor has a name, and the size of its frame or a type and a shape");
    }
    const std::string name = TextIn(entry[0]);
    const auto part = [&](size_t size) {
      if (size > bytes.size() - offset) throw Error("a message's tensor is cut short");
      const char* begin = bytes.data() + offset;
      offset += size;
      return begin;
    };
    if (encoded) {
      const auto size = static_cast<size_t>(SizesIn(json::Array{entry[1]})[0]);
      const tvm::ffi::Tensor tensor = DecodeTensor(part(size), size, left);
      left -= TypeOf(tensor).SizeBytes();
      message.tensors.insert_or_assign(name, tensor);
    } else {
      const TensorType type = TensorType::Parse(TextIn(entry[1]), SizesIn(entry[2]));
      message.tensors.insert_or_assign(name, CopyOf(type, part(type.SizeBytes())));
    }
  }
  if (offset != bytes.size()) throw Error("a message is longer than it says");
  return message;
}

std::string Encode(const Tensors& tensors, const std::vector<std::string>& names,
                   const std::map<std::string, std::string>& codecs) {
  json::Array entries;
  std::string content;
  for (const std::string& name : names) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw Error("the stage does not give tensor '" + name + "'");
    const tvm::ffi::Tensor& tensor = found->second;
    if (!tensor.IsContiguous()) throw Error("tensor '" + name + "' lies in pieces");
    if (const auto codec = codecs.find(name); codec != codecs.end()) {
      const std::string frame = EncodeTensor(codec->second, tensor);
      entries.push_back(json::Array{String(name), static_cast<int64_t>(frame.size())});
      content += frame;
      continue;
    }
    json::Array shape;
    for (const int64_t size : tensor.shape()) shape.push_back(size);
    const TensorType type = TypeOf(tensor);
    entries.push_back(json::Array{String(name), tvm::ffi::DLDataTypeToString(type.element), shape});
    content.append(static_cast<const char*>(tensor.data_ptr()), type.SizeBytes());
  }
  const std::string text = json::Stringify(
      json::Object{{String("header"), json::Object()}, {String("tensors"), entries}});
  return kMagic + Packed(static_cast<int32_t>(text.size())) + text + content;
}

}  // namespace jointdnn
