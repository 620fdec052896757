#include "codec.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <random>

#include "compression.h"
#include "error.h"
#include "frame.h"
#include "half.h"
#include "json.h"

namespace jointdnn {
namespace {

using Shape = std::vector<int64_t>;
using Bytes = std::string;

constexpr size_t kBlockBytes = 1 << 15, kNarrowestRow = 64;
constexpr size_t kSampleBytes = 1 << 13, kSamples = 4;
constexpr double kWorth = 1.05;
constexpr size_t kColours = 3, kColourSample = 4096;
constexpr int kNoAxis = -1;
constexpr unsigned char kOneGrid = 255;

struct Encoded {
  Bytes parameters, payload;
};

// A tensor while it is encoded: its bytes and what they are.
struct Plain {
  TensorType type;
  std::string element;
  const char* data;
  size_t bytes, count;
};

// Memory as (outer, channels, inner).
struct Layout {
  size_t outer = 1, channels = 1, inner = 1;
};

size_t Product(const Shape& shape, size_t begin, size_t end) {
  size_t product = 1;
  for (size_t i = begin; i < end; ++i) product *= static_cast<size_t>(shape[i]);
  return product;
}

// The axis of the channels, as jointdnn_tvm/codec/channels.py finds it; kNoAxis if there is none.
int ChannelAxis(const Shape& shape) {
  const size_t count = Product(shape, 0, shape.size());
  if (shape.empty() || count == 0) return kNoAxis;
  const bool colours_first = shape.size() == 4 && shape[1] <= 4 && shape[3] > 4;
  const int axis = colours_first ? 1 : static_cast<int>(shape.size()) - 1;
  return count >= 16 * static_cast<size_t>(shape[static_cast<size_t>(axis)]) ? axis : kNoAxis;
}

bool IsImage(const Shape& shape) {
  const int axis = ChannelAxis(shape);
  return shape.size() == 4 && axis != kNoAxis && shape[static_cast<size_t>(axis)] <= 4;
}

Layout Along(const Shape& shape, int axis) {
  if (axis == kNoAxis) return {1, 1, Product(shape, 0, shape.size())};
  const auto at = static_cast<size_t>(axis);
  return {Product(shape, 0, at), static_cast<size_t>(shape[at]),
          Product(shape, at + 1, shape.size())};
}

// From (outer, channels, inner) to (channels, outer, inner).
template <typename T>
void ToPlanes(const T* from, T* to, const Layout& layout) {
  for (size_t o = 0; o < layout.outer; ++o) {
    for (size_t c = 0; c < layout.channels; ++c) {
      const T* row = from + (o * layout.channels + c) * layout.inner;
      std::copy(row, row + layout.inner, to + (c * layout.outer + o) * layout.inner);
    }
  }
}

template <typename T>
void FromPlanes(const T* from, T* to, const Layout& layout) {
  for (size_t o = 0; o < layout.outer; ++o) {
    for (size_t c = 0; c < layout.channels; ++c) {
      const T* row = from + (c * layout.outer + o) * layout.inner;
      std::copy(row, row + layout.inner, to + (o * layout.channels + c) * layout.inner);
    }
  }
}

Bytes InPlanes(const Bytes& indices, const Layout& layout) {
  Bytes planes(indices.size(), '\0');
  ToPlanes(indices.data(), planes.data(), layout);
  return planes;
}

Bytes OutOfPlanes(const Bytes& planes, const Layout& layout) {
  Bytes indices(planes.size(), '\0');
  FromPlanes(planes.data(), indices.data(), layout);
  return indices;
}

size_t WholePlanes(size_t plane_bytes) {
  return std::max<size_t>(1, kBlockBytes / plane_bytes) * plane_bytes;
}

char Sum(char one, char other) { return static_cast<char>(one + other); }
char Difference(char one, char other) { return static_cast<char>(one - other); }

// Indices, each byte one.

size_t RowBytes(const Shape& shape) {
  const size_t last = shape.size() > 3 ? 2 : std::min<size_t>(1, shape.size());
  return Product(shape, shape.size() - last, shape.size());
}

bool HasRows(const Shape& shape, bool rising) {
  return Product(shape, 0, shape.size()) != 0 &&
         RowBytes(shape) >= (rising ? kNarrowestRow : 1);
}

Bytes CompressPlanes(Bytes indices, const Shape& shape, bool rising) {
  if (rising) {
    for (size_t i = indices.size(); i-- > RowBytes(shape);) {
      indices[i] = Difference(indices[i], indices[i - RowBytes(shape)]);
    }
  }
  const Layout layout = Along(shape, ChannelAxis(shape));
  return Compress(InPlanes(indices, layout), WholePlanes(layout.outer * layout.inner));
}

Bytes DecompressPlanes(const Frame& frame, bool rising) {
  if (!HasRows(frame.shape, rising)) throw Error("a tensor's frame is damaged: it has no rows");
  const Layout layout = Along(frame.shape, ChannelAxis(frame.shape));
  Bytes indices = OutOfPlanes(
      Decompress(frame.payload.data(), frame.payload.size(), frame.count()), layout);
  if (rising) {
    const size_t row = RowBytes(frame.shape);
    for (size_t i = row; i < indices.size(); ++i) indices[i] = Sum(indices[i], indices[i - row]);
  }
  return indices;
}

Bytes CompressNibbles(const Bytes& indices, const Shape& shape) {
  const Layout layout = Along(shape, ChannelAxis(shape));
  Bytes planes = InPlanes(indices, layout);
  if (planes.size() % 2) planes += '\0';
  Bytes packed(planes.size() / 2, '\0');
  for (size_t i = 0; i < packed.size(); ++i) {
    packed[i] = static_cast<char>(planes[2 * i] | planes[2 * i + 1] << 4);
  }
  return Compress(packed, WholePlanes((layout.outer * layout.inner + 1) / 2));
}

Bytes DecompressNibbles(const Frame& frame) {
  const size_t count = frame.count();
  if (count == 0) throw Error("a tensor's frame is damaged: it has no numbers");
  const Bytes packed =
      Decompress(frame.payload.data(), frame.payload.size(), (count + 1) / 2);
  Bytes planes(count, '\0');
  for (size_t i = 0; i < count; ++i) {
    planes[i] = static_cast<char>(static_cast<unsigned char>(packed[i / 2]) >> (i % 2 * 4) & 15);
  }
  return OutOfPlanes(planes, Along(frame.shape, ChannelAxis(frame.shape)));
}

// Bytes grouped by significance.

Bytes Shuffled(const char* data, size_t count, size_t itemsize) {
  Bytes planes(count * itemsize, '\0');
  ToPlanes(data, planes.data(), Layout{count, itemsize, 1});
  return planes;
}

Bytes Unshuffled(const Bytes& planes, size_t itemsize) {
  Bytes content(planes.size(), '\0');
  FromPlanes(planes.data(), content.data(), Layout{planes.size() / itemsize, itemsize, 1});
  return content;
}

bool Pays(const Plain& plain, size_t itemsize) {
  const size_t count = kSampleBytes / itemsize;
  if (plain.count <= kSamples * count) return true;
  Bytes sample;
  for (size_t i = 0; i < kSamples; ++i) {
    sample.append(plain.data + plain.count / kSamples * i * itemsize, count * itemsize);
  }
  const Bytes shuffled = Shuffled(sample.data(), sample.size() / itemsize, itemsize);
  const size_t packed = Compress(shuffled).size();
  return static_cast<double>(sample.size()) > kWorth * static_cast<double>(packed);
}

std::optional<Encoded> EncodeShuffled(const Plain& plain) {
  if (plain.count == 0) return std::nullopt;
  const size_t itemsize = plain.bytes / plain.count;
  if (!Pays(plain, itemsize)) return std::nullopt;
  return Encoded{"", Compress(Shuffled(plain.data, plain.count, itemsize))};
}

Bytes DecodeShuffled(const Frame& frame) {
  const size_t bytes = frame.type().SizeBytes();
  const Bytes planes = Decompress(frame.payload.data(), frame.payload.size(), bytes);
  return bytes == 0 ? planes : Unshuffled(planes, bytes / frame.count());
}

// Half precision.

std::optional<Encoded> EncodeHalf(const Plain& plain) {
  const auto* numbers = reinterpret_cast<const float*>(plain.data);
  std::vector<uint16_t> halves(plain.count);
  for (size_t i = 0; i < plain.count; ++i) {
    halves[i] = HalfOf(numbers[i]);
    if (IsInfinite(halves[i]) && !std::isinf(numbers[i])) return std::nullopt;
  }
  const auto* data = reinterpret_cast<const char*>(halves.data());
  return Encoded{"", Compress(Shuffled(data, plain.count, 2))};
}

Bytes DecodeHalf(const Frame& frame) {
  const size_t count = frame.count();
  const Bytes halves =
      Unshuffled(Decompress(frame.payload.data(), frame.payload.size(), 2 * count), 2);
  Bytes content(4 * count, '\0');
  for (size_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, halves.data() + 2 * i, sizeof half);
    const float number = FloatOf(half);
    std::memcpy(content.data() + 4 * i, &number, sizeof number);
  }
  return content;
}

// Few bits a number, on a grid.

struct Grid {
  int axis;
  std::vector<float> low, step;

  bool Usable() const {
    for (size_t c = 0; c < low.size(); ++c) {
      if (!std::isfinite(low[c]) || !std::isfinite(low[c] + 255 * step[c])) return false;
      if (step[c] != 0 && !std::isfinite(1 / step[c])) return false;
    }
    return true;
  }
};

struct Uniform {
  const char* name;
  unsigned levels;
  bool by_channel;

  bool in_nibbles() const { return levels <= 16; }
};

constexpr Uniform kUniform[] = {
    {"u8", 256, true}, {"u8-tensor", 256, false}, {"u6", 64, true}, {"u4", 16, true}};

std::optional<Grid> GridOf(const Plain& plain, const Uniform& uniform, const Layout& layout,
                           int axis) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> low(layout.channels, infinity), high(layout.channels, -infinity);
  const auto* numbers = reinterpret_cast<const float*>(plain.data);
  for (size_t i = 0; i < plain.count; ++i) {
    const size_t c = i / layout.inner % layout.channels;
    if (!std::isfinite(numbers[i])) return std::nullopt;
    low[c] = std::min(low[c], numbers[i]);
    high[c] = std::max(high[c], numbers[i]);
  }
  Grid grid{axis, low, {}};
  for (size_t c = 0; c < layout.channels; ++c) {
    grid.step.push_back((high[c] - low[c]) / static_cast<float>(uniform.levels - 1));
    if (low[c] < high[c] && grid.step[c] == 0) return std::nullopt;
  }
  if (!grid.Usable()) return std::nullopt;
  return grid;
}

std::optional<Encoded> EncodeUniform(const Plain& plain, const Uniform& uniform) {
  if (plain.count == 0) return std::nullopt;
  const Shape& shape = plain.type.shape;
  const int axis = uniform.by_channel ? ChannelAxis(shape) : kNoAxis;
  const Layout layout = Along(shape, axis);
  const auto grid = GridOf(plain, uniform, layout, axis);
  if (!grid) return std::nullopt;
  const auto* numbers = reinterpret_cast<const float*>(plain.data);
  Bytes indices(plain.count, '\0');
  for (size_t i = 0; i < plain.count; ++i) {
    const size_t c = i / layout.inner % layout.channels;
    const float inverse = grid->step[c] > 0 ? 1 / grid->step[c] : 0;
    indices[i] = static_cast<char>(
        static_cast<unsigned char>(std::nearbyint((numbers[i] - grid->low[c]) * inverse)));
  }
  Bytes parameters(1, static_cast<char>(axis == kNoAxis ? kOneGrid : axis));
  for (const auto* part : {&grid->low, &grid->step}) {
    parameters.append(reinterpret_cast<const char*>(part->data()), 4 * part->size());
  }
  return Encoded{parameters, uniform.in_nibbles() ? CompressNibbles(indices, shape)
                                                  : CompressPlanes(indices, shape, false)};
}

Bytes DecodeUniform(const Frame& frame, const Uniform& uniform) {
  const char first = frame.parameters.empty() ? static_cast<char>(kOneGrid) : frame.parameters[0];
  const auto told = static_cast<unsigned char>(first);
  if (told != kOneGrid && told >= frame.shape.size()) {
    throw Error("a tensor's frame is damaged: it has no axis " + std::to_string(told));
  }
  const int axis = told == kOneGrid ? kNoAxis : told;
  const Layout layout = Along(frame.shape, axis);
  if (frame.count() == 0 || frame.parameters.size() != 1 + 8 * layout.channels) {
    throw Error("a tensor's frame is damaged: its grid is not that of its shape");
  }
  Grid grid{axis, std::vector<float>(layout.channels), std::vector<float>(layout.channels)};
  std::memcpy(grid.low.data(), frame.parameters.data() + 1, 4 * layout.channels);
  std::memcpy(grid.step.data(), frame.parameters.data() + 1 + 4 * layout.channels,
              4 * layout.channels);
  if (!grid.Usable()) throw Error("a tensor's frame is damaged: its grid leaves float32");
  const Bytes indices =
      uniform.in_nibbles() ? DecompressNibbles(frame) : DecompressPlanes(frame, false);
  Bytes content(4 * indices.size(), '\0');
  for (size_t i = 0; i < indices.size(); ++i) {
    const size_t c = i / layout.inner % layout.channels;
    const float steps = static_cast<float>(static_cast<unsigned char>(indices[i])) * grid.step[c];
    const float number = steps + grid.low[c];
    std::memcpy(content.data() + 4 * i, &number, sizeof number);
  }
  return content;
}

// A picture's bytes and what they stand for.

// Calls `row` with the places of each row of (colours, height, width) that has one above it.
template <typename F>
void ForEachRow(const Shape& shape, size_t count, F row) {
  const bool colours_first = ChannelAxis(shape) == 1;
  const auto width = static_cast<size_t>(shape[colours_first ? 3 : 2]);
  const auto height = static_cast<size_t>(shape[colours_first ? 2 : 1]);
  for (size_t i = 0; i < count / width; ++i) {
    if (i % height != 0) row(i * width, (i + 1) * width, width);
  }
}

// The least distance between the numbers of a sample; nothing where they are too many for a byte.
std::optional<float> StepOf(const float* numbers, size_t count) {
  std::vector<float> sample;
  for (size_t i = 0; i < count; i += std::max<size_t>(1, count / kColourSample)) {
    if (!std::isfinite(numbers[i])) return std::nullopt;
    sample.push_back(numbers[i]);
  }
  std::sort(sample.begin(), sample.end());
  sample.erase(std::unique(sample.begin(), sample.end()), sample.end());
  if (sample.size() > 256) return std::nullopt;
  float step = std::numeric_limits<float>::infinity();
  for (size_t i = 1; i < sample.size(); ++i) step = std::min(step, sample[i] - sample[i - 1]);
  return std::isfinite(step) ? step : 1.0F;
}

// Fills in the index of each number, and its number for each index; false where that is not exact.
bool Index(const float* numbers, size_t count, char* indices, std::array<float, 256>& palette) {
  const auto step = StepOf(numbers, count);
  const float low = *std::min_element(numbers, numbers + count);
  if (!step || !std::isfinite(low)) return false;
  for (size_t i = 0; i < count; ++i) {
    const float place = std::nearbyint((numbers[i] - low) / *step);
    if (!(place >= 0 && place < 256)) return false;
    const auto index = static_cast<unsigned char>(place);
    indices[i] = static_cast<char>(index);
    palette[index] = numbers[i];
  }
  for (size_t i = 0; i < count; ++i) {
    const float& found = palette[static_cast<unsigned char>(indices[i])];
    if (std::memcmp(&found, &numbers[i], sizeof found) != 0) return false;
  }
  return true;
}

std::optional<Encoded> EncodePixels(const Plain& plain) {
  const Shape& shape = plain.type.shape;
  if (!IsImage(shape)) return std::nullopt;
  const Layout layout = Along(shape, ChannelAxis(shape));
  const size_t plane = plain.count / layout.channels;
  std::vector<float> numbers(plain.count);
  ToPlanes(reinterpret_cast<const float*>(plain.data), numbers.data(), layout);
  std::vector<std::array<float, 256>> palettes(layout.channels);
  Bytes indices(plain.count, '\0');
  for (size_t c = 0; c < layout.channels; ++c) {
    if (!Index(&numbers[c * plane], plane, &indices[c * plane], palettes[c])) return std::nullopt;
  }
  size_t used = 1;
  for (const char index : indices) {
    used = std::max<size_t>(used, static_cast<unsigned char>(index) + 1U);
  }
  Bytes parameters;
  for (const auto& palette : palettes) {
    parameters.append(reinterpret_cast<const char*>(palette.data()), 4 * used);
  }
  if (layout.channels == kColours) {
    for (size_t i = 0; i < plane; ++i) {
      indices[i] = Difference(indices[i], indices[plane + i]);
      indices[2 * plane + i] = Difference(indices[2 * plane + i], indices[plane + i]);
    }
  }
  const Bytes whole = indices;
  ForEachRow(shape, plain.count, [&](size_t begin, size_t end, size_t width) {
    for (size_t i = begin; i < end; ++i) indices[i] = Difference(whole[i], whole[i - width]);
  });
  const Bytes payload = Compress(indices, plane);
  if (parameters.size() + payload.size() >= plain.bytes) return std::nullopt;
  return Encoded{parameters, payload};
}

Bytes DecodePixels(const Frame& frame) {
  if (!IsImage(frame.shape)) throw Error("a tensor's frame is damaged: it is no picture");
  const Layout layout = Along(frame.shape, ChannelAxis(frame.shape));
  const size_t count = frame.count(), plane = count / layout.channels;
  const size_t used = frame.parameters.size() / (4 * layout.channels);
  if (used == 0 || frame.parameters.size() != 4 * layout.channels * used) {
    throw Error("a tensor's frame is damaged: its colours are not those of its shape");
  }
  Bytes indices = Decompress(frame.payload.data(), frame.payload.size(), count);
  ForEachRow(frame.shape, count, [&](size_t begin, size_t end, size_t width) {
    for (size_t i = begin; i < end; ++i) indices[i] = Sum(indices[i], indices[i - width]);
  });
  if (layout.channels == kColours) {
    for (size_t i = 0; i < plane; ++i) {
      indices[i] = Sum(indices[i], indices[plane + i]);
      indices[2 * plane + i] = Sum(indices[2 * plane + i], indices[plane + i]);
    }
  }
  std::vector<float> planes(count), content(count);
  for (size_t i = 0; i < count; ++i) {
    const auto index = static_cast<unsigned char>(indices[i]);
    if (index >= used) throw Error("a tensor's frame is damaged: it has a pixel of no colour");
    std::memcpy(&planes[i], frame.parameters.data() + 4 * (i / plane * used + index), 4);
  }
  FromPlanes(planes.data(), content.data(), layout);
  return Bytes(reinterpret_cast<const char*>(content.data()), 4 * count);
}

// The registry.

struct Codec {
  const char* name;
  std::function<bool(const std::string&)> is_for;  // of the element type's name
  std::function<std::optional<Encoded>(const Plain&)> encode;
  std::function<Bytes(const Frame&)> decode;
  const char* otherwise;
};

bool IsFloat(const std::string& element) { return element == "float32"; }
bool IsByte(const std::string& element) { return element == "uint8"; }
bool IsOther(const std::string& element) { return !IsFloat(element); }
bool IsAny(const std::string&) { return true; }

Codec IndicesCodec(const char* name, bool rising) {
  const auto encode = [rising](const Plain& plain) -> std::optional<Encoded> {
    if (!HasRows(plain.type.shape, rising)) return std::nullopt;
    return Encoded{"", CompressPlanes(Bytes(plain.data, plain.bytes), plain.type.shape, rising)};
  };
  const auto decode = [rising](const Frame& frame) { return DecompressPlanes(frame, rising); };
  return {name, IsByte, encode, decode, "bytes"};
}

std::optional<Encoded> EncodeNibbles(const Plain& plain) {
  const Bytes indices(plain.data, plain.bytes);
  const auto fits = [](char index) { return static_cast<unsigned char>(index) < 16; };
  if (indices.empty() || !std::all_of(indices.begin(), indices.end(), fits)) return std::nullopt;
  return Encoded{"", CompressNibbles(indices, plain.type.shape)};
}

const std::vector<Codec>& Codecs() {
  static const auto kCodecs = [] {
    std::vector<Codec> codecs = {
        {"none", IsAny,
         [](const Plain& plain) { return Encoded{"", Bytes(plain.data, plain.bytes)}; },
         [](const Frame& frame) { return frame.payload; }, "none"},
        {"f32", IsFloat, EncodeShuffled, DecodeShuffled, "none"},
        {"bytes", IsOther, EncodeShuffled, DecodeShuffled, "none"},
        IndicesCodec("planes", false),
        IndicesCodec("rises", true),
        {"nibbles", IsByte, EncodeNibbles, DecompressNibbles, "bytes"},
        {"pixels", IsFloat, EncodePixels, DecodePixels, "f32"},
        {"f16", IsFloat, EncodeHalf, DecodeHalf, "f32"}};
    for (const Uniform& uniform : kUniform) {
      codecs.push_back({uniform.name, IsFloat,
                        [&](const Plain& plain) { return EncodeUniform(plain, uniform); },
                        [&](const Frame& frame) { return DecodeUniform(frame, uniform); }, "f32"});
    }
    return codecs;
  }();
  return kCodecs;
}

const Codec* Find(const std::string& name) {
  for (const Codec& codec : Codecs()) {
    if (name == codec.name) return &codec;
  }
  return nullptr;
}

const Codec& Get(const std::string& name, const std::string& element) {
  const Codec* codec = Find(name);
  if (!codec) throw Error("there is no codec '" + name.substr(0, 40) + "' here");
  if (!codec->is_for(element)) {
    throw Error("codec '" + name + "' is not for tensors of type " + element);
  }
  return *codec;
}

// What the codec is for: a picture, activations after a ReLU, or small whole numbers; as clock.py.
tvm::ffi::Tensor Probe(const std::string& name, size_t count) {
  constexpr size_t kChannels = 64, kWidth = 16;
  const bool floats = Find(name)->is_for("float32");
  Shape shape = {1, static_cast<int64_t>(count / kChannels / kWidth), kWidth, kChannels};
  std::mt19937 source(0);
  if (name == "pixels") {
    shape = {1, 3, static_cast<int64_t>(count / 3 / kWidth), kWidth};
    std::uniform_int_distribution<int> little(0, 15);
    std::vector<float> numbers(Product(shape, 0, 4));
    for (size_t i = 0; i < numbers.size(); ++i) {
      const auto row = static_cast<double>(i / kWidth % static_cast<size_t>(shape[2]));
      const double down = row / static_cast<double>(shape[2]);
      numbers[i] = static_cast<float>(std::round(240 * down) + little(source));
    }
    return CopyOf(TensorType::Parse("float32", shape), reinterpret_cast<char*>(numbers.data()));
  }
  if (floats) {
    std::normal_distribution<float> normal;
    std::vector<float> numbers(count);
    for (float& number : numbers) number = std::max(normal(source), 0.0F);
    return CopyOf(TensorType::Parse("float32", shape), reinterpret_cast<char*>(numbers.data()));
  }
  std::binomial_distribution<int> small(name == "nibbles" ? 15 : 255, 0.1);
  Bytes indices(count, '\0');
  for (char& index : indices) index = static_cast<char>(small(source));
  return CopyOf(TensorType::Parse("uint8", shape), indices.data());
}

double Seconds(const std::function<void()>& call, double shortest_s) {
  constexpr int kRepeats = 3;
  std::vector<double> repeats;
  for (int i = 0; i < kRepeats; ++i) {
    call();
    int calls = 0;
    const auto began = std::chrono::steady_clock::now();
    std::chrono::duration<double> passed{};
    do {
      call();
      ++calls;
      passed = std::chrono::steady_clock::now() - began;
    } while (passed.count() < shortest_s);
    repeats.push_back(passed.count() / calls);
  }
  std::sort(repeats.begin(), repeats.end());
  return repeats[kRepeats / 2];
}

}  // namespace

bool HasCodec(const std::string& name) { return Find(name) != nullptr; }

tvm::ffi::Tensor DecodeTensor(const char* data, size_t size, size_t most_bytes) {
  const Frame frame = Frame::Read(data, size, most_bytes);
  const Bytes content = Get(frame.codec, frame.element).decode(frame);
  if (content.size() != frame.type().SizeBytes()) {
    throw Error("a tensor's payload does not hold the bytes of its shape");
  }
  return CopyOf(frame.type(), content.data());
}

std::string EncodeTensor(const std::string& name, const tvm::ffi::Tensor& tensor) {
  const TensorType type = TypeOf(tensor);
  const Plain plain{type, tvm::ffi::DLDataTypeToString(type.element),
                    static_cast<const char*>(tensor.data_ptr()), type.SizeBytes(),
                    Product(type.shape, 0, type.shape.size())};
  const Codec* codec = &Get(name, plain.element);
  std::optional<Encoded> encoded;
  while (!(encoded = codec->encode(plain))) codec = &Get(codec->otherwise, plain.element);
  return Frame{codec->name, plain.element, type.shape, encoded->parameters, encoded->payload}
      .ToBytes();
}

std::string TimeCodec(const std::string& codec, int64_t count, double shortest_s) {
  if (!HasCodec(codec)) return "null";
  if (count < 1024 || count > 1 << 24) {
    throw Error("nobody times such a tensor");
  }
  const tvm::ffi::Tensor tensor = Probe(codec, static_cast<size_t>(count));
  const std::string frame = EncodeTensor(codec, tensor);
  const double encode_s = Seconds([&] { EncodeTensor(codec, tensor); }, shortest_s);
  const double decode_s =
      Seconds([&] { DecodeTensor(frame.data(), frame.size(), kMostTensorBytes); }, shortest_s);
  return json::Stringify(json::Array{encode_s, decode_s});
}

}  // namespace jointdnn
