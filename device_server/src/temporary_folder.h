// A folder that goes with its owner.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "error.h"

namespace jointdnn {

class TemporaryFolder {
 public:
  // Throws Error when there is no room, or no such place.
  explicit TemporaryFolder(const std::string& prefix) {
    std::error_code none;
    std::string name = std::filesystem::temp_directory_path(none) / (prefix + "XXXXXX");
    if (none || mkdtemp(name.data()) == nullptr) {
      throw Error("no folder for files (" + (none ? none.message() : SystemReason()) +
                  "); set TMPDIR to one that can be written");
    }
    path_ = name;
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept
      : path_(std::exchange(other.path_, std::filesystem::path())) {}
  ~TemporaryFolder() {
    std::error_code busy;
    if (!path_.empty()) std::filesystem::remove_all(path_, busy);
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace jointdnn
