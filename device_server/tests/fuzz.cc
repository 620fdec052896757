// Feeds what strangers could send to everything that reads it: fuzz ROUNDS SEED.
//
// Run it with the sanitizers on (-DSANITIZE=ON): a round passes when the server either understands
// or throws Error, within its own limits. It prints how often each reader did which.

#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "codec.h"
#include "error.h"
#include "file_receiver.h"
#include "frame.h"
#include "handshake.h"
#include "message.h"
#include "registration.h"
#include "temporary_folder.h"
#include "weights.h"

namespace {

using namespace jointdnn;

struct Pair {
  Fd ours, theirs;
};

Pair Connected() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) throw std::runtime_error(SystemReason());
  return {Fd(ends[0]), Fd(ends[1])};
}

// What a peer has sent that says no more, but still listens.
Pair Sent(const std::string& bytes) {
  Pair pair = Connected();
  if (send(pair.theirs.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) {
    throw std::runtime_error(SystemReason());
  }
  shutdown(pair.theirs.get(), SHUT_WR);
  return pair;
}

std::string Framed(int32_t magic, const std::string& text) {
  return Packed(magic) + Packed(static_cast<int32_t>(text.size())) + text;
}

class Stranger {
 public:
  explicit Stranger(unsigned seed) : source_(seed) {}

  size_t Below(size_t bound) { return source_() % bound; }

  // One of some sound messages, with up to eight random changes.
  std::string Says(const std::vector<std::string>& sound) {
    std::string text = sound[Below(sound.size())];
    for (size_t changes = Below(9); changes > 0 && !text.empty(); --changes) {
      const size_t at = Below(text.size());
      switch (Below(5)) {
        case 0:
          text[at] = static_cast<char>(source_());
          break;
        case 1:
          text.erase(at, 1 + Below(8));
          break;
        case 2:
          text.insert(at, text.substr(Below(text.size()), Below(16)));
          break;
        case 3:
          text.resize(at);
          break;
        default:
          text.insert(at, std::string(1 + Below(2000), "[{\"\\0,"[Below(6)]));
          break;
      }
    }
    return text;
  }

 private:
  std::mt19937 source_;
};

void ReadHandshake(Stranger& stranger) {
  static const std::vector<std::string> kSound = {
      Framed(kRpcMagic, "client:phone:0.25 -timeout=1.5"), Framed(kRpcMagic, "client:"),
      Framed(kFileMagic, "{\"sha256\": \"00\", \"size_bytes\": 5}"), Packed(kRpcMagic)};
  Pair pair = Sent(stranger.Says(kSound));
  Handshake handshake(std::move(pair.ours), "stranger");
  while (!handshake.Advance()) continue;
  handshake.key();
  handshake.timeout_s();
  handshake.PeerLeft();
}

void ReadFileHeader(Stranger& stranger) {
  static const std::vector<std::string> kSound = {
      "{\"sha256\": \"0123456789abcdef\", \"size_bytes\": 5000000}",
      "{\"size_bytes\": -1, \"sha256\": null, \"more\": [1.5e300, true, {}]}"};
  FileHeader::Parse(stranger.Says(kSound));
}

void ReadTracker(Stranger& stranger) {
  static const auto kAnswer = [](const std::string& text) {
    return Packed(static_cast<int32_t>(text.size())) + text;
  };
  static const std::vector<std::string> kSound = {
      Packed(kTrackerMagic) + kAnswer("0") + kAnswer("[\"phone:1\", \"phone:2\"]"),
      Packed(kTrackerMagic) + kAnswer("0") + kAnswer("[]"),
      Packed(kTrackerMagic) + kAnswer("[2, \"no\"]"), Packed(kTrackerMagic) + Packed(1 << 30)};
  Pair pair = Sent(stranger.Says(kSound));
  const TrackerConnection tracker(std::move(pair.ours));
  tracker.Tell("[5, {}]");
  tracker.IsPending("phone:2");
}

void ReadMessage(Stranger& stranger) {
  static const std::vector<std::string> kSound = {
      Framed(0x314D444A,
             "{\"header\": {\"request\": 1}, \"tensors\": [[\"t\", \"float32\", [2, 1]],"
             " [\"s\", \"int64\", []]]}") +
          std::string(16, 'x'),
      Framed(0x314D444A, "{\"header\": {}, \"tensors\": []}"),
      Framed(0x314D444A,
             "{\"header\": {}, \"tensors\": [[\"t\", \"bool\", [4294967296, 4294967296]]]}")};
  Message::Decode(stranger.Says(kSound));
}

// Frames that the checksum says are sound: what a stranger makes of one it can seal anew.
void ReadFrame(Stranger& stranger) {
  static const auto kSound = [] {
    std::vector<std::string> frames;
    std::string floats, bytes;
    for (int i = 0; i < 4 * 9 * 9 * 16; ++i) bytes += static_cast<char>(i * i % 97 % 13);
    for (int i = 0; i < 9 * 9 * 16; ++i) {
      const auto number = static_cast<float>(i * i % 97);
      floats.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
    const auto picture = TensorType::Parse("float32", {1, 3, 12, 36});
    const auto indices = TensorType::Parse("uint8", {4, 9, 9, 16});
    const auto activations = TensorType::Parse("float32", {1, 9, 9, 16});
    for (const char* codec : {"none", "f32", "pixels", "f16", "u8", "u8-tensor", "u6", "u4"}) {
      frames.push_back(EncodeTensor(codec, CopyOf(activations, floats.data())));
      frames.push_back(EncodeTensor(codec, CopyOf(picture, floats.data())));
    }
    for (const char* codec : {"bytes", "planes", "rises", "nibbles"}) {
      frames.push_back(EncodeTensor(codec, CopyOf(indices, bytes.data())));
    }
    return frames;
  }();
  std::string said = stranger.Says(kSound);
  if (said.size() > 8 && stranger.Below(10) > 0) {
    const uint32_t sum = Checksum(said.data() + 8, said.size() - 8);
    said.replace(4, 4, reinterpret_cast<const char*>(&sum), 4);
  }
  DecodeTensor(said.data(), said.size(), 1 << 16);
}

void ReadWeights(Stranger& stranger) {
  static const std::string kHeader =
      "{\"w\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]},"
      " \"__padding__1\": {}, \"b\": {\"dtype\": \"I64\", \"shape\": [], \"data_offsets\": [16, "
      "24]}}";
  static const std::vector<std::string> kSound = {Packed(static_cast<int32_t>(kHeader.size())) +
                                                  Packed(0) + kHeader + std::string(24, 'x')};
  static const TemporaryFolder folder("jointdnn-fuzz-");
  const auto path = folder.path() / "weights.safetensors";
  std::ofstream(path, std::ios::binary | std::ios::trunc) << stranger.Says(kSound);
  MapWeights(path);
}

}  // namespace

int main(int count, char** words) {
  const int rounds = count > 1 ? std::atoi(words[1]) : 1000;
  Stranger stranger(count > 2 ? static_cast<unsigned>(std::atoi(words[2])) : 0);
  const std::vector<std::pair<const char*, std::function<void(Stranger&)>>> readers = {
      {"handshakes", ReadHandshake},
      {"file headers", ReadFileHeader},
      {"trackers", ReadTracker},
      {"messages", ReadMessage},
      {"frames", ReadFrame},
      {"weights", ReadWeights}};
  for (const auto& [name, read] : readers) {
    int understood = 0;
    for (int round = 0; round < rounds; ++round) {
      try {
        read(stranger);
        ++understood;
      } catch (const Error&) {  // anything else ends the program
      }
    }
    std::printf("%s: %d understood, %d refused\n", name, understood, rounds - understood);
  }
}
