// Starting and ending processes so that none outlives its owner.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>

namespace jointdnn {

// A forked child that leads a process group of its own.
class Child {
 public:
  // Runs `work` in a child of this single-threaded process; throws Error when there is no process
  // to be had. The child dies with this process.
  explicit Child(const std::function<void()>& work);
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  ~Child() { End(); }

  // Whether it has ended and waits to be collected.
  bool HasEnded() const;
  // Kills it, and whatever it has started, if it still runs; collects it, and says how it ended.
  std::string End();

 private:
  pid_t pid_;
};

}  // namespace jointdnn
