// JSON that came from outside.
#pragma once

#include <tvm/ffi/extra/json.h>

#include <string>

namespace jointdnn {

// Throws Error for what is no JSON, or nested so deeply that reading it could exhaust the stack.
tvm::ffi::json::Value ParseJson(const std::string& text);

}  // namespace jointdnn
