// The first bytes of a connection, read without blocking anybody else.
//
// TVM's client sends a magic number and a key behind its length (tvm/rpc/server.py); a sender of
// files sends another magic number and a JSON header in the same form, who wants to exchange plain
// bytes a third one and no text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "clock.h"
#include "fd.h"

namespace jointdnn {

constexpr int32_t kRpcMagic = 0xFF271;
constexpr int32_t kKeyMismatch = kRpcMagic + 2;
constexpr int32_t kFileMagic = 0x4A44464C;
constexpr int32_t kBytesMagic = 0x4A44424C;

class Handshake {
 public:
  Handshake(Fd connection, std::string peer);

  // Reads what came; whether `magic` and `text` are complete. Throws Error when the peer left or
  // speaks something else.
  bool Advance();

  int32_t magic() const { return magic_; }
  // What follows the magic number and the length.
  std::string text() const { return data_.substr(8); }
  // The key of an RPC client: "client:KEY [options]" without the rest.
  std::string key() const;
  // How long the session may last, when a client of TVM's gave a session timeout.
  std::optional<double> timeout_s() const;
  // Whether the peer has gone away meanwhile.
  bool PeerLeft() const;

  // Tells an RPC client that its session begins; throws Error.
  void Accept(const std::string& server_key) const;
  // Tells an RPC client that its key does not fit.
  void Refuse() const;

  Fd connection;
  std::string peer;
  Time expires_at;

 private:
  size_t Missing();

  int32_t magic_ = 0;
  std::string data_;
};

}  // namespace jointdnn
