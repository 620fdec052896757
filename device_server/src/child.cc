#include "child.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <fstream>

#include "error.h"
#include "log.h"

namespace jointdnn {
namespace {

std::string SignalName(int number) {
  switch (number) {
    case SIGABRT:
      return "SIGABRT";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGILL:
      return "SIGILL";
    case SIGKILL:
      return "SIGKILL";
    case SIGSEGV:
      return "SIGSEGV";
    case SIGTERM:
      return "SIGTERM";
    default:
      return "signal " + std::to_string(number);
  }
}

// The kernel kills this process when its parent is gone.
void DieWith(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it was gone before we asked
}

[[noreturn]] void Run(const std::function<void()>& work, pid_t parent) {
  DieWith(parent);
  setpgid(0, 0);
  // When memory runs out, this process goes first, not the one that listens.
  std::ofstream("/proc/self/oom_score_adj") << 500;
  int code = 1;
  try {
    work();
    code = 0;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    Log(text.substr(0, text.find('\n')));
  }
  _exit(code);
}

}  // namespace

Child::Child(const std::function<void()>& work) {
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw Error("no process (" + SystemReason() + ")");
  if (pid_ == 0) Run(work, parent);
  setpgid(pid_, pid_);  // whichever of the two comes first
}

bool Child::HasEnded() const {
  siginfo_t info{};
  // It is left uncollected, so that its number, and its group's, stay its own until End.
  return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_;
}

std::string Child::End() {
  if (pid_ == 0) return "";
  kill(-pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  pid_ = 0;
  if (WIFSIGNALED(status)) return "killed by " + SignalName(WTERMSIG(status));
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace jointdnn
