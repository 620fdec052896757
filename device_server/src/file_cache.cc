#include "file_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <tuple>
#include <vector>

#include "error.h"

namespace jointdnn {
namespace {

namespace fs = std::filesystem;

constexpr char kIncoming[] = "incoming-";
constexpr auto kStale = std::chrono::hours(1);

bool IsDigest(const std::string& text) {
  const auto is_digit = [](char c) { return ('0' <= c && c <= '9') || ('a' <= c && c <= 'f'); };
  return text.size() == 64 && std::all_of(text.begin(), text.end(), is_digit);
}

Fd NewFile(const fs::path& directory, std::string* name) {
  *name = directory / (std::string(kIncoming) + "XXXXXX");
  Fd file(mkostemp(name->data(), O_CLOEXEC));
  if (!file.valid()) throw Error(SystemReason());
  return file;
}

}  // namespace

FileCache::FileCache(fs::path directory, int64_t capacity_bytes)
    : directory_(std::move(directory)), capacity_bytes_(capacity_bytes) {
  try {
    const mode_t before = umask(077);  // the folder is this user's only, from its first moment
    std::error_code code;
    fs::create_directories(directory_, code);
    umask(before);
    if (code) throw Error(code.message());
    std::string name;
    const Fd file = NewFile(directory_, &name);
    unlink(name.c_str());
  } catch (const Error& error) {
    throw Error("the cache folder " + directory_.string() + " cannot be written (" + error.what() +
                "); choose another with --cache");
  }
}

fs::path FileCache::PathOf(const std::string& sha256) const {
  if (!IsDigest(sha256)) {
    throw Error("a file's name in the cache is its SHA-256 in lower-case hexadecimal");
  }
  return directory_ / sha256;
}

bool FileCache::Has(const std::string& sha256, int64_t size_bytes) const {
  const fs::path path = PathOf(sha256);
  struct stat state {};
  if (stat(path.c_str(), &state) != 0 || state.st_size != size_bytes) return false;
  return utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0;
}

void FileCache::MakeRoom(int64_t size_bytes) const {
  if (size_bytes > capacity_bytes_) {
    throw Error("a file of " + std::to_string(size_bytes) + " bytes is over the cache's " +
                std::to_string(capacity_bytes_) +
                " bytes; raise --cache-bytes of the device server");
  }
  std::vector<std::tuple<fs::file_time_type, int64_t, fs::path>> files;
  int64_t total = size_bytes;
  std::error_code gone;  // another process may have removed it
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_, gone)) {
    const auto used = entry.last_write_time(gone);
    const auto size = gone ? 0 : static_cast<int64_t>(entry.file_size(gone));
    if (gone) continue;
    const std::string name = entry.path().filename();
    if (IsDigest(name)) {
      files.emplace_back(used, size, entry.path());
      total += size;
    } else if (name.rfind(kIncoming, 0) == 0 && fs::file_time_type::clock::now() - used > kStale) {
      fs::remove(entry.path(), gone);
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& [used, size, path] : files) {
    if (total <= capacity_bytes_) break;
    fs::remove(path, gone);
    total -= size;
  }
  const fs::space_info space = fs::space(directory_, gone);
  if (!gone && space.available < static_cast<uintmax_t>(size_bytes)) {
    throw Error("no room for " + std::to_string(size_bytes) + " bytes in " + directory_.string() +
                "; free some, or choose another folder with --cache");
  }
}

IncomingFile::IncomingFile(const FileCache& cache, const std::string& sha256, int64_t size_bytes)
    : path_(cache.PathOf(sha256)), sha256_(sha256), missing_bytes_(size_bytes) {
  cache.MakeRoom(size_bytes);
  file_ = NewFile(cache.directory(), &temporary_);
}

IncomingFile::~IncomingFile() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void IncomingFile::Write(const char* data, size_t size) {
  digest_.Update(data, size);
  missing_bytes_ -= static_cast<int64_t>(size);
  while (size > 0) {
    const ssize_t written = write(file_.get(), data, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      throw Error(SystemReason());
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
}

void IncomingFile::Keep() {
  if (missing_bytes_ != 0 || digest_.Finish() != sha256_) {
    throw Error("what arrived as " + sha256_ + " is something else; send it again");
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0) throw Error(SystemReason());
  temporary_.clear();
}

std::string FileDigest(const fs::path& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) throw Error(path.string() + ": " + SystemReason());
  Sha256 digest;
  std::vector<char> block(1 << 16);
  for (;;) {
    const ssize_t got = read(file.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(path.string() + ": " + SystemReason());
    if (got == 0) return digest.Finish();
    digest.Update(block.data(), static_cast<size_t>(got));
  }
}

fs::path DefaultCache() {
  for (const auto& [variable, below] :
       {std::pair("XDG_CACHE_HOME", "jointdnn/device"), {"HOME", ".cache/jointdnn/device"}}) {
    const char* root = std::getenv(variable);
    if (root != nullptr && *root != '\0') return fs::path(root) / below;
  }
  throw Error("this user has no home folder to keep a cache in; choose one with --cache");
}

}  // namespace jointdnn
