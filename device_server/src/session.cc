#include "session.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <cstring>

#include "error.h"
#include "random_fill.h"
#include "stage_server.h"

namespace jointdnn {
namespace {

namespace fs = std::filesystem;
using tvm::ffi::Function;
using tvm::ffi::Module;
using tvm::ffi::String;

constexpr uintmax_t kHashAgainBytes = 64 << 20;
constexpr char kBackends[][32] = {"libtvm_runtime_extra.so", "libtvm_runtime_cuda.so"};

template <typename F>
void Register(const char* name, F function) {
  Function::SetGlobal(name, Function::FromTyped(std::move(function)), /*override=*/true);
}

fs::path FileIn(const fs::path& workdir, const std::string& name) {
  if (!IsPlainName(name)) {
    TVM_FFI_THROW(ValueError) << "'" << name.substr(0, 200)
                              << "' is not a plain file name; use letters, digits and ._+-";
  }
  return workdir / name;
}

Module Load(const fs::path& workdir, const FileCache& cache, const std::string& name) {
  static const std::string kEnding = ".so";
  const fs::path path = FileIn(workdir, name);
  const bool digest_long = name.size() == 64 + kEnding.size() && path.extension() == kEnding;
  if (digest_long && !fs::exists(path)) FindFile(workdir, cache, name.substr(0, 64));
  return Module::LoadFromFile(path.string());
}

std::string ListDirectory(const fs::path& folder) {
  std::string names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names += (names.empty() ? "" : ",") + entry.path().filename().string();
  }
  return names;
}

// TVM's runtime alone does not load its own extensions; a device may lack them, or their drivers.
void LoadBackends() {
  for (const char* name : kBackends) dlopen(name, RTLD_NOW | RTLD_GLOBAL);
}

}  // namespace

bool IsPlainName(const std::string& name) {
  static const std::string kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
  return !name.empty() && name.size() <= 200 && kLetters.find(name[0]) != std::string::npos &&
         name.find_first_not_of(kLetters + ".+-") == std::string::npos;
}

// A damaged library kills the process that loads it, so small files are hashed once more; large
// ones, which are weights, were checked when they arrived.
fs::path FindFile(const fs::path& workdir, const FileCache& cache, const std::string& sha256) {
  const fs::path path = cache.PathOf(sha256), link = workdir / (sha256 + ".so");
  std::error_code gone;
  const uintmax_t size = fs::file_size(path, gone);
  if (gone) throw Error("no file " + sha256 + " in the cache; send it first");
  if (size <= kHashAgainBytes && FileDigest(path) != sha256) {
    fs::remove(path);
    throw Error("the cached file " + sha256 + " was damaged and is removed; send it again");
  }
  if (!fs::is_symlink(link)) fs::create_symlink(path, link);
  return link;
}

void ServeSession(const Fd& connection, const fs::path& workdir, const std::string& device_info,
                  const FileCache& cache) {
  fs::current_path(workdir);
  fcntl(connection.get(), F_SETFL, fcntl(connection.get(), F_GETFL) & ~O_NONBLOCK);
  LoadBackends();
  Register("tvm.rpc.server.workpath",
           [=](String name) { return String(FileIn(workdir, name).string()); });
  Register("tvm.rpc.server.load_module", [=](String name) { return Load(workdir, cache, name); });
  Register("tvm.rpc.server.listdir", [=](String name) {
    const bool itself = name == "" || name == ".";
    return String(ListDirectory(itself ? workdir : FileIn(workdir, name)));
  });
  Register("jointdnn.has_file",
           [=](String sha256, int64_t size) { return cache.Has(sha256, size); });
  Register("jointdnn.device_info", [=] { return String(device_info); });
  Register("jointdnn.random_fill", RandomFill);
  RegisterStages([=](const std::string& sha256) { return FindFile(workdir, cache, sha256); });
  Function::GetGlobalRequired("rpc.ServerLoop")(connection.get());
}

}  // namespace jointdnn
