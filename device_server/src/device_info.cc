#include "device_info.h"

#include <sched.h>
#include <sys/utsname.h>
#include <tvm/ffi/extra/json.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

namespace jointdnn {
namespace {

namespace fs = std::filesystem;
namespace json = tvm::ffi::json;
using tvm::ffi::String;

std::string Trimmed(const std::string& text) {
  static const std::string kBlanks(" \t\n\0", 4);
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

// The value of the first "name: value" line with one of the names; empty without one.
std::string ValueIn(const fs::path& path, const std::set<std::string>& names) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon != std::string::npos && names.count(Trimmed(line.substr(0, colon)))) {
      return Trimmed(line.substr(colon + 1));
    }
  }
  return "";
}

// Of x86 the model name, of an ARM board the board's name.
std::string CpuModel(const std::string& machine) {
  std::string board;
  std::getline(std::ifstream("/proc/device-tree/model"), board);
  if (board = Trimmed(board); !board.empty()) return board;
  const std::string model = ValueIn("/proc/cpuinfo", {"model name", "Hardware"});
  return model.empty() ? machine : model;
}

// The GPU's name, from its driver's own files: asking CUDA would start it.
json::Value Accelerator() {
  std::error_code none;
  std::set<fs::path> folders;
  for (const auto& entry : fs::directory_iterator("/proc/driver/nvidia/gpus", none)) {
    folders.insert(entry.path());
  }
  for (const fs::path& folder : folders) {
    const std::string model = ValueIn(folder / "information", {"Model"});
    if (!model.empty()) return String(model);
  }
  return nullptr;
}

// Whether an x86 machine plays another one: qemu-user shows its host's /proc/cpuinfo.
bool IsEmulated(const std::string& machine) {
  const bool x86 = machine == "x86_64" || (machine.size() == 4 && machine.substr(2) == "86");
  return !x86 && !ValueIn("/proc/cpuinfo", {"vendor_id"}).empty();
}

int64_t Cores() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return sysconf(_SC_NPROCESSORS_ONLN);
  return CPU_COUNT(&usable);
}

}  // namespace

std::string DeviceInfo(const std::string& target) {
  utsname machine{};
  uname(&machine);
  const int64_t memory_bytes = int64_t{sysconf(_SC_PAGESIZE)} * sysconf(_SC_PHYS_PAGES);
  return json::Stringify(json::Object{{String("hostname"), String(machine.nodename)},
                                      {String("cpu"), String(CpuModel(machine.machine))},
                                      {String("machine"), String(machine.machine)},
                                      {String("cores"), Cores()},
                                      {String("memory_bytes"), memory_bytes},
                                      {String("accelerator"), Accelerator()},
                                      {String("target"), String(target)},
                                      {String("slowdown"), 1.0},
                                      {String("emulated"), IsEmulated(machine.machine)},
                                      {String("tvm"), String(TVM_VERSION)}});
}

}  // namespace jointdnn
