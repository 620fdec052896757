// TCP in which every step has a deadline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "clock.h"
#include "fd.h"

namespace jointdnn {

// HOST:PORT, the way every part of a deployment is named.
struct Address {
  std::string host;
  int port = 0;

  // Reads HOST:PORT or [IPV6]:PORT; throws Error.
  static Address Parse(const std::string& text);
  bool IsLoopback() const;
  std::string ToString() const;
};

// A listening socket that does not block; throws Error when the address is taken or not ours.
Fd Listen(const Address& address);

int PortOf(const Fd& listener);

// A connection made before the deadline; throws Error.
Fd Connect(const Address& address, Time deadline);

// No delay for small messages; a peer that vanished is noticed within half a minute.
void KeepAlive(const Fd& connection);

// Both throw Error when the deadline passes or the peer leaves first.
void SendAll(const Fd& connection, const void* data, size_t size, Time deadline);
void ReceiveAll(const Fd& connection, void* data, size_t size, Time deadline);

// At least one byte and at most `size`; 0 when the peer has ended its side.
size_t ReceiveSome(const Fd& connection, void* data, size_t size, Time deadline);

// A whole number on the wire; every machine that this server runs on is little-endian.
std::string Packed(int32_t number);
int32_t Unpacked(const char* bytes);

}  // namespace jointdnn
