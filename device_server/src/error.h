// What went wrong, as one line for the person who runs the server or reads its log.
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace jointdnn {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The system's words for the last call that failed.
inline std::string SystemReason() {
  return std::strerror(errno);
}

}  // namespace jointdnn
