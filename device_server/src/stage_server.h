// The cloud's half of a crossing, as jointdnn_tvm/runtime/stage_server.py does it.
#pragma once

#include <filesystem>
#include <functional>

namespace jointdnn {

// Adds `jointdnn.open_stages` and `jointdnn.run_stage` to this process's RPC functions. `find`
// gives the path of a file that was sent before, by its SHA-256.
void RegisterStages(std::function<std::filesystem::path(const std::string&)> find);

}  // namespace jointdnn
