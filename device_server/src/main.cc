// jointdnn-device: a TVM RPC device server for boards without Python.

#include <cstdio>

#include "error.h"
#include "log.h"
#include "options.h"
#include "server.h"

namespace {

using namespace jointdnn;

void Warn(const Options& options) {
  const bool near = options.address.IsLoopback();
  if (!near) {
    Log("WARNING: listening at " + options.address.host +
        ": whoever reaches this port can run any code as this user; use it in a trusted network "
        "only");
  } else if (options.tracker && !options.tracker->IsLoopback()) {
    Log("WARNING: clients elsewhere cannot reach " + options.address.host +
        "; give --host an address that they can");
  }
}

}  // namespace

int main(int count, char** words) {
  try {
    const Options options = Options::Parse(count, words);
    if (options.help) {
      std::fputs(kHelp, stdout);
      return 0;
    }
    Server server(options);
    Warn(options);
    std::printf("READY %s\n", server.address().ToString().c_str());
    std::fflush(stdout);
    server.Serve();
    return 0;
  } catch (const std::exception& error) {
    Log(std::string("error: ") + error.what());
    return 1;
  }
}
