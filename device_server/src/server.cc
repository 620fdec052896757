#include "server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <csignal>
#include <vector>

#include "byte_exchange.h"
#include "device_info.h"
#include "error.h"
#include "file_receiver.h"
#include "log.h"
#include "session.h"

namespace jointdnn {
namespace {

constexpr int kTick_ms = 500;
constexpr double kParting_s = 1.0;
constexpr size_t kMostHandshakes = 64, kMostWaiting = 64, kMostTransfers = 16;

sigset_t Signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, number);
  return set;
}

Fd BlockedSignals() {
  const sigset_t set = Signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

std::string PeerName(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(peer);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return Address{text, ntohs(v6.sin6_port)}.ToString();
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(peer);
  inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  return Address{text, ntohs(v4.sin_port)}.ToString();
}

// Whether the client hung up, which a process deep in a kernel does not notice.
bool ClientLeft(const Fd& connection) {
  pollfd client{connection.get(), POLLRDHUP, 0};
  return poll(&client, 1, 0) > 0;
}

double ClientSilence_s(const Fd& connection) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(connection.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
  return info.tcpi_last_data_recv / 1e3;
}

}  // namespace

Server::Server(const Options& options)
    : options_(options),
      cache_(options.cache ? *options.cache : DefaultCache(), options.cache_bytes),
      device_info_(DeviceInfo(options.target)),
      listener_(Listen(options.address)),
      address_{options.address.host, PortOf(listener_)},
      signals_(BlockedSignals()) {
  if (options.tracker) registration_.emplace(*options.tracker, options.key, address_.port);
}

void Server::Serve() {
  while (!stopping_) {
    WaitForNews();
    CheckHandshakes();
    CheckTransfers();
    CheckSession();
    if (registration_) registration_->Tick(!session_ && waiting_.empty());
    StartNext();
  }
  registration_.reset();
  EndSession();
}

void Server::WaitForNews() {
  std::vector<pollfd> sources = {{signals_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
  if (handshakes_.size() >= kMostHandshakes) sources[1].fd = -1;
  sources.push_back({options_.until_stdin_closes ? STDIN_FILENO : -1, POLLIN, 0});
  for (const Handshake& handshake : handshakes_) {
    sources.push_back({handshake.connection.get(), POLLIN, 0});
  }
  if (poll(sources.data(), sources.size(), kTick_ms) <= 0) return;
  if (sources[0].revents) HandleSignals();
  if (sources[2].revents) {
    char unread[64];
    if (read(STDIN_FILENO, unread, sizeof unread) <= 0) stopping_ = true;
  }
  size_t source = 3;
  for (auto handshake = handshakes_.begin(); handshake != handshakes_.end();) {
    const auto current = handshake++;
    if (sources[source++].revents && Advance(*current)) handshakes_.erase(current);
  }
  if (sources[1].revents) Accept();
}

void Server::HandleSignals() {
  signalfd_siginfo raised;
  while (read(signals_.get(), &raised, sizeof raised) == sizeof raised) {
    if (raised.ssi_signo != SIGCHLD) stopping_ = true;  // ended children are looked for each round
  }
}

void Server::Accept() {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  Fd connection(accept4(listener_.get(), reinterpret_cast<sockaddr*>(&peer), &size,
                        SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection.valid()) return;  // it went away again, or there are too many
  KeepAlive(connection);
  handshakes_.emplace_back(std::move(connection), PeerName(peer));
}

// Whether the handshake is done with, one way or the other.
bool Server::Advance(Handshake& handshake) {
  const std::string peer = handshake.peer;
  try {
    if (!handshake.Advance()) return false;
    Sort(std::move(handshake));
  } catch (const Error& error) {
    Log("turned " + peer + " away: " + error.what());
  }
  return true;
}

void Server::Sort(Handshake handshake) {
  if (handshake.magic() != kRpcMagic) {
    StartTransfer(std::move(handshake));
  } else if (HasKey(handshake.key()) && waiting_.size() < kMostWaiting) {
    waiting_.push_back(std::move(handshake));
  } else {
    handshake.Refuse();
    Log("turned " + handshake.peer + " away: it asked for the key '" +
        handshake.key().substr(0, 80) + "'");
  }
}

bool Server::HasKey(const std::string& key) const {
  return key.empty() || key == options_.key || (registration_ && key == registration_->match_key());
}

void Server::CheckHandshakes() {
  handshakes_.remove_if([](const Handshake& one) { return one.expires_at < Clock::now(); });
}

void Server::CheckSession() {
  if (!session_) return;
  if (ClientLeft(session_->connection)) {
    session_->ends_at = std::min(session_->ends_at, After(kParting_s));
  } else if (ClientSilence_s(session_->connection) > options_.silence_s) {
    Log(session_->peer + " has been silent for too long; see --silence-s");
    session_->ends_at = Clock::now();
  }
  if (session_->child.HasEnded() || session_->ends_at <= Clock::now()) EndSession();
}

void Server::CheckTransfers() {
  transfers_.remove_if([](const Child& child) { return child.HasEnded(); });
}

void Server::StartNext() {
  while (!session_ && !waiting_.empty()) {
    Handshake next = std::move(waiting_.front());
    waiting_.pop_front();
    if (next.PeerLeft()) continue;
    const std::string peer = next.peer;
    try {
      StartSession(std::move(next));
    } catch (const Error& error) {  // no process, no memory, no disk
      Log("no session for " + peer + ": " + error.what());
    }
  }
}

void Server::StartSession(Handshake handshake) {
  TemporaryFolder workdir("jointdnn-session-");
  Child child([&] {
    LetGo();
    handshake.Accept(options_.key);
    ServeSession(handshake.connection, workdir.path(), device_info_, cache_);
  });
  Log("session of " + handshake.peer + " begins");
  session_.emplace(Session{std::move(child), handshake.peer, std::move(handshake.connection),
                           std::move(workdir), After(handshake.timeout_s().value_or(1e8))});
}

void Server::EndSession() {
  if (!session_) return;
  Log("session of " + session_->peer + " ends: " + session_->child.End());
  session_.reset();
  if (registration_ && !stopping_) registration_->RenewIfTaken();
}

void Server::StartTransfer(Handshake handshake) {
  if (transfers_.size() >= kMostTransfers) throw Error("too many transfers are under way");
  transfers_.emplace_back([&] {
    LetGo();
    if (handshake.magic() == kFileMagic) {
      ReceiveFile(handshake.connection, handshake.text(), cache_);
    } else {
      ExchangeBytes(handshake.connection);
    }
  });
}

void Server::LetGo() {
  const sigset_t set = Signals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  listener_.Close();
  signals_.Close();
  handshakes_.clear();
  waiting_.clear();
  registration_.reset();
  if (session_) session_->connection.Close();
}

}  // namespace jointdnn
