// Files by the SHA-256 of their content: what was sent once is not sent again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "fd.h"
#include "sha256.h"

namespace jointdnn {

// A folder of files named by their content; several processes may share it.
class FileCache {
 public:
  // Throws Error when the folder cannot be made or written.
  FileCache(std::filesystem::path directory, int64_t capacity_bytes);

  // Where the file with that content lies, or would lie; throws Error for what is no SHA-256.
  std::filesystem::path PathOf(const std::string& sha256) const;
  // Whether the whole file is here; it then counts as used just now.
  bool Has(const std::string& sha256, int64_t size_bytes) const;
  // Removes what was used longest ago until the new file fits; throws Error when it cannot.
  void MakeRoom(int64_t size_bytes) const;

  const std::filesystem::path& directory() const { return directory_; }

 private:
  std::filesystem::path directory_;
  int64_t capacity_bytes_;
};

// A file on its way into the cache: it appears under its name when it proves right.
class IncomingFile {
 public:
  IncomingFile(const FileCache& cache, const std::string& sha256, int64_t size_bytes);
  IncomingFile(const IncomingFile&) = delete;
  ~IncomingFile();

  int64_t missing_bytes() const { return missing_bytes_; }
  void Write(const char* data, size_t size);
  // Throws Error unless exactly the announced content was written.
  void Keep();

 private:
  std::filesystem::path path_;
  std::string sha256_;
  std::string temporary_;
  int64_t missing_bytes_;
  Fd file_;
  Sha256 digest_;
};

// SHA-256 of a file, in hexadecimal; throws Error.
std::string FileDigest(const std::filesystem::path& path);

// The user's own cache folder for device servers; throws Error when there is none.
std::filesystem::path DefaultCache();

}  // namespace jointdnn
