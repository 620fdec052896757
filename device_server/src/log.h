// Lines on standard error.
#pragma once

#include <cstdio>
#include <string>

namespace jointdnn {

// One line, whatever a stranger put into it.
inline void Log(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  std::fprintf(stderr, "jointdnn: %s\n", text.c_str());
}

}  // namespace jointdnn
