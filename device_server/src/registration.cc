#include "registration.h"

#include <random>

#include "error.h"
#include "json.h"
#include "log.h"

namespace jointdnn {
namespace {

constexpr int kSuccess = 0, kPut = 3, kUpdateInfo = 5, kGetPendingMatchKeys = 7;
constexpr int32_t kMaxMessageBytes = 1 << 20;
constexpr double kAnswer_s = 1.0;
constexpr double kHeartbeat_s = 2.0;
constexpr double kUnused_s = 6.0;

// Keys are plain words (options.cc), so they need no escapes.
std::string Quoted(const std::string& word) {
  return '"' + word + '"';
}

std::string Random() {
  std::random_device source;
  return std::to_string((uint64_t{source()} << 32) | source());
}

}  // namespace

TrackerConnection::TrackerConnection(Fd connection) : connection_(std::move(connection)) {
  const std::string greeting = Packed(kTrackerMagic);
  char answer[4];
  SendAll(connection_, greeting.data(), greeting.size(), After(kAnswer_s));
  ReceiveAll(connection_, answer, sizeof answer, After(kAnswer_s));
  if (Unpacked(answer) != kTrackerMagic) throw Error("it speaks something else");
}

std::string TrackerConnection::Ask(const std::string& message) const {
  const Time deadline = After(kAnswer_s);
  const std::string packet = Packed(static_cast<int32_t>(message.size())) + message;
  SendAll(connection_, packet.data(), packet.size(), deadline);
  char announced[4];
  ReceiveAll(connection_, announced, sizeof announced, deadline);
  const int32_t size = Unpacked(announced);
  if (size <= 0 || size > kMaxMessageBytes) {
    throw Error("it announced a message of " + std::to_string(size) + " bytes");
  }
  std::string answer(static_cast<size_t>(size), '\0');
  ReceiveAll(connection_, answer.data(), answer.size(), deadline);
  return answer;
}

void TrackerConnection::Tell(const std::string& message) const {
  if (ParseJson(Ask(message)).try_cast<int64_t>() != kSuccess) throw Error("it refused");
}

bool TrackerConnection::IsPending(const std::string& match_key) const {
  const json::Value answer = ParseJson(Ask("[" + std::to_string(kGetPendingMatchKeys) + "]"));
  const auto keys = answer.try_cast<json::Array>();
  if (!keys) throw Error("it does not tell the pending keys");
  for (const json::Value& key : *keys) {
    const auto text = key.try_cast<tvm::ffi::String>();
    if (text && *text == match_key) return true;
  }
  return false;
}

Registration::Registration(Address tracker, std::string key, int port)
    : tracker_(std::move(tracker)), key_(std::move(key)), port_(port) {
  const std::string at = tracker_.ToString();
  Fd connection;
  try {
    connection = Connect(tracker_, After(kAnswer_s));
  } catch (const Error& error) {
    throw Error("no tracker at " + at + " (" + error.what() +
                "); start one with `jointdnn tracker --port " + std::to_string(tracker_.port) +
                "`");
  }
  try {
    Open(std::move(connection));
  } catch (const Error& error) {
    throw Error("what listens at " + at + " is not a TVM RPC tracker (" + error.what() +
                "); start one with `jointdnn tracker` and give its address");
  }
  Renew();
}

void Registration::Open(Fd socket) {
  TrackerConnection connection(std::move(socket));
  connection.Tell("[" + std::to_string(kUpdateInfo) + ", {\"key\": " + Quoted("server:" + key_) +
                  ", \"addr\": [null, " + std::to_string(port_) + "]}]");
  connection_.emplace(std::move(connection));
  next_beat_ = After(kHeartbeat_s);
}

void Registration::Renew() {
  match_key_ = key_ + ":" + Random();
  taken_at_.reset();
  if (!connection_) return;
  try {
    connection_->Tell("[" + std::to_string(kPut) + ", " + Quoted(key_) + ", [" +
                      std::to_string(port_) + ", " + Quoted(match_key_) + "], null]");
  } catch (const Error& error) {
    Drop(error.what());
  }
}

void Registration::RenewIfTaken() {
  try {
    if (connection_ && connection_->IsPending(match_key_)) return;
  } catch (const Error& error) {
    Drop(error.what());
  }
  Renew();
}

void Registration::Tick(bool offering) {
  if (Clock::now() < next_beat_) return;
  next_beat_ = After(kHeartbeat_s);
  try {
    if (!connection_) {
      Open(Connect(tracker_, After(kAnswer_s)));
      Log("registered with tracker " + tracker_.ToString() + " again");
      if (offering) Renew();
    } else if (IsStale(offering)) {
      Renew();
    }
  } catch (const Error& error) {
    Drop(error.what());
  }
}

// Whether a client took the offer and never came.
bool Registration::IsStale(bool offering) {
  const bool pending = connection_->IsPending(match_key_);
  if (!offering || pending) {
    taken_at_.reset();
  } else if (!taken_at_) {
    taken_at_ = Clock::now();
  }
  return taken_at_ && Clock::now() - *taken_at_ > std::chrono::duration<double>(kUnused_s);
}

void Registration::Drop(const std::string& reason) {
  if (!connection_) return;
  Log("lost tracker " + tracker_.ToString() + " (" + reason + "); will register again");
  connection_.reset();
}

}  // namespace jointdnn
