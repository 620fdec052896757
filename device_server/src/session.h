// What runs in the process of one RPC session.
//
// Everything a client can name in a session's files is a plain file name: it stays in the session's
// own working folder, or names a cached file by its content ("<sha256>.so").
#pragma once

#include <filesystem>
#include <string>

#include "fd.h"
#include "file_cache.h"

namespace jointdnn {

// Whether a name could lie only in the session's own folder.
bool IsPlainName(const std::string& name);

// A cached file under a name in the session's folder by which TVM loads libraries; throws Error.
std::filesystem::path FindFile(const std::filesystem::path& workdir, const FileCache& cache,
                               const std::string& sha256);

// Serves one session on a connection, after its handshake, until the client leaves.
void ServeSession(const Fd& connection, const std::filesystem::path& workdir,
                  const std::string& device_info, const FileCache& cache);

}  // namespace jointdnn
