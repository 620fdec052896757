// The command line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "sockets.h"

namespace jointdnn {

struct Options {
  Address address{"127.0.0.1", 9090};
  std::string key = "device";
  std::string target = "host";
  std::optional<Address> tracker;
  std::optional<std::filesystem::path> cache;
  int64_t cache_bytes = int64_t{16} << 30;
  double silence_s = 3600;
  bool until_stdin_closes = false;
  bool help = false;

  // Throws Error for what the server does not know or cannot use.
  static Options Parse(int count, char** words);
};

extern const char kHelp[];

}  // namespace jointdnn
