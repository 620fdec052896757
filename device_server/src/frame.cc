#include "frame.h"

#include <array>

#include "codec.h"
#include "error.h"

namespace jointdnn {
namespace {

const std::string kMagic("JDF\x02", 4);
constexpr size_t kFixedBytes = 16, kChecked = 8;
constexpr size_t kMostDimensions = 32;

uint64_t LittleEndian(const char* data, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(data[i]);
  return value;
}

std::string LittleEndianBytes(uint64_t value, size_t bytes) {
  std::string data;
  for (size_t i = 0; i < bytes; ++i) data += static_cast<char>(value >> (8 * i));
  return data;
}

}  // namespace

uint32_t Checksum(const char* data, size_t size, uint32_t before) {
  static const auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0xEDB88320U : 0U);
      table[i] = value;
    }
    return table;
  }();
  uint32_t value = ~before;
  for (size_t i = 0; i < size; ++i) {
    value = (value >> 8) ^ kTable[(value ^ static_cast<unsigned char>(data[i])) & 0xFF];
  }
  return ~value;
}

Frame Frame::Read(const char* data, size_t size, size_t most_bytes) {
  if (size < kFixedBytes || kMagic.compare(0, 3, data, 3) != 0) {
    throw Error(std::to_string(size) + " bytes that should be a tensor's frame are none");
  }
  if (data[3] != kMagic[3]) {
    throw Error("a tensor's frame has another version; use the same version on both sides");
  }
  if (Checksum(data + kChecked, size - kChecked) != LittleEndian(data + 4, 4)) {
    throw Error("a tensor's frame is damaged: its checksum differs");
  }
  const size_t dimensions = LittleEndian(data + 10, 1);
  const std::array<size_t, 4> sizes = {LittleEndian(data + 8, 1), LittleEndian(data + 9, 1),
                                       8 * dimensions, LittleEndian(data + 12, 4)};
  const size_t header = kFixedBytes + sizes[0] + sizes[1] + sizes[2] + sizes[3];
  if (dimensions > kMostDimensions || header > size) {
    throw Error("a tensor's frame is damaged: its header is longer than it");
  }
  const char* at = data + kFixedBytes;
  const auto next = [&](size_t bytes) {
    const std::string part(at, bytes);
    at += bytes;
    return part;
  };
  Frame frame;
  frame.codec = next(sizes[0]);
  frame.element = next(sizes[1]);
  const std::string dims = next(sizes[2]);
  for (size_t i = 0; i < dimensions; ++i) {
    const uint64_t dimension = LittleEndian(dims.data() + 8 * i, 8);
    if (dimension > kMostTensorBytes) throw Error("a tensor's frame declares a huge shape");
    frame.shape.push_back(static_cast<int64_t>(dimension));
  }
  frame.parameters = next(sizes[3]);
  if (frame.type().SizeBytes() > most_bytes) {
    throw Error("a tensor's frame declares " + std::to_string(frame.type().SizeBytes()) +
                " bytes, over the " + std::to_string(most_bytes) + " expected");
  }
  frame.payload.assign(at, data + size);
  return frame;
}

std::string Frame::ToBytes() const {
  std::string after = LittleEndianBytes(codec.size(), 1) + LittleEndianBytes(element.size(), 1) +
                      LittleEndianBytes(shape.size(), 1) + std::string(1, '\0') +
                      LittleEndianBytes(parameters.size(), 4) + codec + element;
  for (const int64_t size : shape) after += LittleEndianBytes(static_cast<uint64_t>(size), 8);
  after += parameters;
  const uint32_t sum =
      Checksum(payload.data(), payload.size(), Checksum(after.data(), after.size()));
  return kMagic + LittleEndianBytes(sum, 4) + after + payload;
}

size_t Frame::count() const {
  const TensorType found = type();
  return found.SizeBytes() / ((found.element.bits + 7U) / 8U);
}

}  // namespace jointdnn
