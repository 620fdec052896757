#include "byte_exchange.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "clock.h"
#include "error.h"
#include "noise.h"
#include "sockets.h"

namespace jointdnn {
namespace {

constexpr double kSilence_s = 30.0;
constexpr size_t kBlockBytes = 1 << 18;

// Two sizes, little-endian as every machine that this server runs on.
struct Sizes {
  int64_t taken, given;
};

void Take(const Fd& connection, int64_t size) {
  std::vector<char> block(std::min<size_t>(kBlockBytes, static_cast<size_t>(size)));
  while (size > 0) {
    const auto wanted = std::min(block.size(), static_cast<size_t>(size));
    const size_t got = ReceiveSome(connection, block.data(), wanted, After(kSilence_s));
    if (got == 0) throw Error("its peer left");
    size -= static_cast<int64_t>(got);
  }
}

void Give(const Fd& connection, int64_t size) {
  while (size > 0) {
    const size_t part = std::min(Noise().size(), static_cast<size_t>(size));
    SendAll(connection, Noise().data(), part, After(kSilence_s));
    size -= static_cast<int64_t>(part);
  }
}

}  // namespace

void ExchangeBytes(const Fd& connection) {
  char first;
  while (ReceiveSome(connection, &first, 1, After(kSilence_s)) != 0) {
    char header[sizeof(Sizes)] = {first};
    ReceiveAll(connection, header + 1, sizeof header - 1, After(kSilence_s));
    Sizes sizes;
    std::memcpy(&sizes, header, sizeof sizes);
    if (std::min(sizes.taken, sizes.given) < 0 ||
        std::max(sizes.taken, sizes.given) > static_cast<int64_t>(kMostNoiseBytes)) {
      throw Error("its peer wanted to exchange " + std::to_string(sizes.taken) + " and " +
                  std::to_string(sizes.given) + " bytes");
    }
    Take(connection, sizes.taken);
    SendAll(connection, header, sizeof header, After(kSilence_s));
    Give(connection, sizes.given);
  }
}

}  // namespace jointdnn
