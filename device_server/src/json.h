// JSON that came from outside.
#pragma once

#include <tvm/ffi/extra/json.h>

#include <cstdint>
#include <string>
#include <vector>

namespace jointdnn {

namespace json = tvm::ffi::json;

// Throws Error for what is no JSON, or nested so deeply that reading it could exhaust the stack.
json::Value ParseJson(const std::string& text);

// What a value must be; all throw Error when it is something else.
json::Object ObjectIn(const json::Value& value);
json::Array ListIn(const json::Value& value);
std::string TextIn(const json::Value& value);
std::vector<std::string> TextsIn(const json::Value& value);
std::vector<int64_t> SizesIn(const json::Value& value);
json::Value Entry(const json::Object& object, const std::string& name);

}  // namespace jointdnn
