#include "sockets.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <charconv>
#include <memory>

#include "error.h"

namespace jointdnn {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian");

using Resolved = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Resolved Resolve(const Address& address, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int code =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (code != 0) throw Error(gai_strerror(code));
  return Resolved(found, &freeaddrinfo);
}

Fd NewSocket(const addrinfo& to) {
  Fd fd(socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) throw Error(SystemReason());
  return fd;
}

void SetOption(const Fd& fd, int level, int option, int value) {
  setsockopt(fd.get(), level, option, &value, sizeof value);  // a refusal does no harm
}

void Await(const Fd& fd, short events, Time deadline) {
  for (;;) {
    pollfd waited{fd.get(), events, 0};
    const int ready = poll(&waited, 1, MillisecondsUntil(deadline));
    if (ready > 0) return;
    if (ready == 0) throw Error("no answer");
    if (errno != EINTR) throw Error(SystemReason());
  }
}

bool MayTryAgain() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

}  // namespace

Address Address::Parse(const std::string& text) {
  const size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon == std::string::npos ? 0 : colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || (!bracketed && host.find(':') != std::string::npos)) {
    throw Error("'" + text + "' is not an address; write HOST:PORT, as 127.0.0.1:9190");
  }
  int port = 0;
  const char* end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data() + colon + 1, end, port);
  if (code != std::errc() || rest != end || port < 1 || port > 65535) {
    throw Error("'" + text + "' has no port from 1 to 65535; write it as 127.0.0.1:9190");
  }
  return {host, port};
}

bool Address::IsLoopback() const {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

std::string Address::ToString() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Fd Listen(const Address& address) {
  try {
    const Resolved to = Resolve(address, AI_PASSIVE);
    Fd fd = NewSocket(*to);
    SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(fd.get(), to->ai_addr, to->ai_addrlen) != 0 || listen(fd.get(), 128) != 0) {
      throw Error(SystemReason());
    }
    return fd;
  } catch (const Error& error) {
    throw Error("cannot listen at " + address.ToString() + " (" + error.what() +
                "); choose another --host or --port");
  }
}

int PortOf(const Fd& listener) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    throw Error(SystemReason());
  }
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bound).sin_port);
}

Fd Connect(const Address& address, Time deadline) {
  const Resolved to = Resolve(address, 0);
  Fd fd = NewSocket(*to);
  if (connect(fd.get(), to->ai_addr, to->ai_addrlen) != 0) {
    if (errno != EINPROGRESS) throw Error(SystemReason());
    Await(fd, POLLOUT, deadline);
    socklen_t size = sizeof errno;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &errno, &size);
    if (errno != 0) throw Error(SystemReason());
  }
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  return fd;
}

void KeepAlive(const Fd& connection) {
  SetOption(connection, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(connection, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(connection, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  SetOption(connection, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  SetOption(connection, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

void SendAll(const Fd& connection, const void* data, size_t size, Time deadline) {
  const char* next = static_cast<const char*>(data);
  const char* const end = next + size;
  while (next < end) {
    const ssize_t sent =
        send(connection.get(), next, static_cast<size_t>(end - next), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      next += sent;
    } else if (MayTryAgain()) {
      Await(connection, POLLOUT, deadline);
    } else {
      throw Error(SystemReason());
    }
  }
}

size_t ReceiveSome(const Fd& connection, void* data, size_t size, Time deadline) {
  for (;;) {
    const ssize_t got = recv(connection.get(), data, size, MSG_DONTWAIT);
    if (got >= 0) return static_cast<size_t>(got);
    if (!MayTryAgain()) throw Error(SystemReason());
    Await(connection, POLLIN, deadline);
  }
}

void ReceiveAll(const Fd& connection, void* data, size_t size, Time deadline) {
  char* next = static_cast<char*>(data);
  while (size > 0) {
    // Peers send in small parts, the next once the last is acknowledged.
    SetOption(connection, IPPROTO_TCP, TCP_QUICKACK, 1);
    const size_t got = ReceiveSome(connection, next, size, deadline);
    if (got == 0) throw Error("it closed the connection");
    next += got;
    size -= got;
  }
}

std::string Packed(int32_t number) {
  return std::string(reinterpret_cast<const char*>(&number), sizeof number);
}

int32_t Unpacked(const char* bytes) {
  int32_t number;
  std::memcpy(&number, bytes, sizeof number);
  return number;
}

}  // namespace jointdnn
