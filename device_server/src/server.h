// The device server: what TVM RPC clients reach on a device, to measure, tune and run.
//
// One process listens. It has a single thread and never runs a kernel, so it can fork: each session
// gets a process of its own, with its own working folder, and a session that crashes, runs out of
// memory or is killed ends alone. One session at a time: others wait in line. Files for the cache,
// and plain bytes by which a link is timed, are taken at any time. Whoever reaches the server can
// run any code on it; that is what TVM RPC is for.
#pragma once

#include <deque>
#include <list>
#include <optional>
#include <string>

#include "child.h"
#include "file_cache.h"
#include "handshake.h"
#include "options.h"
#include "registration.h"
#include "temporary_folder.h"

namespace jointdnn {

class Server {
 public:
  // Listens, and registers with the tracker if there is one; throws Error.
  explicit Server(const Options& options);

  const Address& address() const { return address_; }
  // Serves until SIGTERM, SIGINT or SIGHUP, or until standard input closes when that was asked
  // for; afterwards no process, file or registration is left.
  void Serve();

 private:
  struct Session {
    Child child;
    std::string peer;
    Fd connection;
    TemporaryFolder workdir;
    Time ends_at;
  };

  void WaitForNews();
  void HandleSignals();
  void Accept();
  bool Advance(Handshake& handshake);
  void Sort(Handshake handshake);
  bool HasKey(const std::string& key) const;
  void CheckHandshakes();
  void CheckSession();
  void CheckTransfers();
  void StartNext();
  void StartSession(Handshake handshake);
  void EndSession();
  void StartTransfer(Handshake handshake);
  // In a child: lets go of everything of the listening process.
  void LetGo();

  Options options_;
  FileCache cache_;
  std::string device_info_;
  Fd listener_;
  Address address_;
  Fd signals_;
  std::optional<Registration> registration_;
  std::list<Handshake> handshakes_;
  std::deque<Handshake> waiting_;
  std::optional<Session> session_;
  std::list<Child> transfers_;
  bool stopping_ = false;
};

}  // namespace jointdnn
