// A device server's place in a tracker's queue, kept through silence and restarts.
//
// The protocol is TVM's (tvm/rpc/tracker.py): a magic number each way, then JSON messages behind
// their length.
#pragma once

#include <optional>
#include <string>

#include "sockets.h"

namespace jointdnn {

constexpr int32_t kTrackerMagic = 0x2F271;

// One connection to a tracker; every answer is awaited for a second, no longer.
class TrackerConnection {
 public:
  // Greets the tracker on a connection; throws Error when something else answers.
  explicit TrackerConnection(Fd connection);

  // Sends a message whose answer is success; throws Error.
  void Tell(const std::string& message) const;
  // Whether a client may still come with that key; throws Error.
  bool IsPending(const std::string& match_key) const;

 private:
  std::string Ask(const std::string& message) const;

  Fd connection_;
};

// Offers one session at a time to the tracker's clients.
//
// The tracker hands a client the match key of an offer; the client shows it when it connects.
class Registration {
 public:
  // Registers and makes the first offer; throws Error when there is no tracker.
  Registration(Address tracker, std::string key, int port);

  const std::string& match_key() const { return match_key_; }
  // Offers a new session; the key of the last offer opens no more.
  void Renew();
  // Offers a new session unless the last offer still stands: its client came by itself.
  void RenewIfTaken();
  // Heartbeat, to be called often; `offering`: a client may come with the match key at any time.
  void Tick(bool offering);

 private:
  void Open(Fd socket);
  bool IsStale(bool offering);
  void Drop(const std::string& reason);

  Address tracker_;
  std::string key_;
  int port_;
  std::string match_key_;
  std::optional<TrackerConnection> connection_;
  Time next_beat_;
  std::optional<Time> taken_at_;
};

}  // namespace jointdnn
