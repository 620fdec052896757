#include "json.h"

#include <algorithm>

#include "error.h"

namespace jointdnn {
namespace {

constexpr int kMaxBrackets = 1000;  // the parser calls itself for each that is open

}  // namespace

tvm::ffi::json::Value ParseJson(const std::string& text) {
  const auto opens = [](char c) { return c == '[' || c == '{'; };
  if (std::count_if(text.begin(), text.end(), opens) > kMaxBrackets) {
    throw Error("a message has too many brackets");
  }
  tvm::ffi::String problem;
  tvm::ffi::json::Value value = tvm::ffi::json::Parse(text, &problem);
  if (!problem.empty()) throw Error("a message is no JSON");
  return value;
}

}  // namespace jointdnn
