#include "handshake.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cmath>
#include <cstdlib>
#include <sstream>

#include "error.h"
#include "sockets.h"

namespace jointdnn {
namespace {

constexpr int32_t kMaxTextBytes = 4096;
constexpr double kPatience_s = 10.0;
constexpr double kAnswer_s = 5.0;

}  // namespace

Handshake::Handshake(Fd connection, std::string peer)
    : connection(std::move(connection)), peer(std::move(peer)), expires_at(After(kPatience_s)) {}

bool Handshake::Advance() {
  char part[8 + kMaxTextBytes];
  const ssize_t got = recv(connection.get(), part, Missing(), MSG_DONTWAIT);
  // TVM's client sends bit by bit and waits for each to be acknowledged (Nagle).
  const int on = 1;
  setsockopt(connection.get(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
  if (got < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return false;
    throw Error(SystemReason());
  }
  if (got == 0) throw Error("it left before it said what it wants");
  data_.append(part, static_cast<size_t>(got));
  return Missing() == 0;
}

size_t Handshake::Missing() {
  if (data_.size() < 8) return 8 - data_.size();
  magic_ = Unpacked(data_.data());
  const int32_t size = Unpacked(data_.data() + 4);
  const bool ours = magic_ == kRpcMagic || magic_ == kFileMagic || magic_ == kBytesMagic;
  if (!ours || size < 0 || size > kMaxTextBytes) {
    throw Error("it speaks neither TVM's RPC nor our file transfer");
  }
  return 8 + static_cast<size_t>(size) - data_.size();
}

std::string Handshake::key() const {
  static const std::string kPrefix = "client:";
  const std::string word = text().substr(0, text().find(' '));
  return word.rfind(kPrefix, 0) == 0 ? word.substr(kPrefix.size()) : word;
}

std::optional<double> Handshake::timeout_s() const {
  static const std::string kOption = "-timeout=";
  std::istringstream words(text());
  for (std::string word; words >> word;) {
    if (word.rfind(kOption, 0) != 0) continue;
    const char* number = word.c_str() + kOption.size();
    char* end = nullptr;
    const double seconds = std::strtod(number, &end);
    if (end != number && *end == '\0' && std::isfinite(seconds) && seconds > 0) return seconds;
  }
  return std::nullopt;
}

bool Handshake::PeerLeft() const {
  char byte;
  const ssize_t got = recv(connection.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void Handshake::Accept(const std::string& server_key) const {
  const std::string name = "server:" + server_key;
  const std::string answer = Packed(kRpcMagic) + Packed(static_cast<int32_t>(name.size())) + name;
  SendAll(connection, answer.data(), answer.size(), After(kAnswer_s));
}

void Handshake::Refuse() const {
  const std::string answer = Packed(kKeyMismatch);
  // A few bytes always fit a new connection's buffer: if not, its peer gets no answer.
  send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace jointdnn
