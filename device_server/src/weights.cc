#include "weights.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>

#include "error.h"
#include "fd.h"
#include "json.h"

namespace jointdnn {
namespace {

constexpr char kPadding[] = "__padding__";
constexpr uint64_t kMaxHeaderBytes = 100 << 20;  // the format's own limit

const std::map<std::string, std::string> kTypes = {
    {"BOOL", "bool"},   {"U8", "uint8"},    {"I8", "int8"},    {"U16", "uint16"},
    {"I16", "int16"},   {"F16", "float16"}, {"U32", "uint32"}, {"I32", "int32"},
    {"F32", "float32"}, {"U64", "uint64"},  {"I64", "int64"},  {"F64", "float64"}};

struct Mapping {
  std::shared_ptr<char> data;
  uint64_t size;
};

Mapping Map(const std::filesystem::path& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat state {};
  if (!file.valid() || fstat(file.get(), &state) != 0) throw Error(SystemReason());
  const size_t size = static_cast<size_t>(state.st_size);
  if (size < 8) throw Error("it is cut short");
  // A private mapping may be written, as some kernels' arguments may.
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) throw Error(SystemReason());
  return {std::shared_ptr<char>(static_cast<char*>(data), [size](char* d) { munmap(d, size); }),
          size};
}

tvm::ffi::Tensor View(const Mapping& file, uint64_t start, const json::Object& entry) {
  const auto name = kTypes.find(TextIn(Entry(entry, "dtype")));
  if (name == kTypes.end()) throw Error("an array has an unknown type");
  const TensorType type = TensorType::Parse(name->second, SizesIn(Entry(entry, "shape")));
  const std::vector<int64_t> ends = SizesIn(Entry(entry, "data_offsets"));
  if (ends.size() != 2 || ends[0] > ends[1] || static_cast<uint64_t>(ends[1]) > file.size - start) {
    throw Error("an array lies outside the file");
  }
  if (static_cast<size_t>(ends[1] - ends[0]) != type.SizeBytes()) {
    throw Error("an array's shape and size differ");
  }
  char* data = file.data.get() + start + ends[0];
  const bool aligned = reinterpret_cast<uintptr_t>(data) % kAlignment == 0;
  return aligned ? ViewOf(type, data, file.data) : CopyOf(type, data);
}

}  // namespace

Tensors MapWeights(const std::filesystem::path& path) {
  try {
    const Mapping file = Map(path);
    uint64_t length;
    std::memcpy(&length, file.data.get(), sizeof length);
    if (length > std::min(kMaxHeaderBytes, file.size - 8)) throw Error("its header is cut short");
    const std::string text(file.data.get() + 8, length);
    Tensors weights;
    for (const auto& [key, value] : ObjectIn(ParseJson(text))) {
      const std::string name = TextIn(key);
      if (name.rfind(kPadding, 0) == 0 || name == "__metadata__") continue;
      weights.insert_or_assign(name, View(file, 8 + length, ObjectIn(value)));
    }
    return weights;
  } catch (const Error& error) {
    throw Error(path.string() + " is no weights file, or damaged (" + error.what() +
                "); build it again");
  }
}

}  // namespace jointdnn
