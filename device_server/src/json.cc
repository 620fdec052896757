#include "json.h"

#include <algorithm>

#include "error.h"

namespace jointdnn {
namespace {

constexpr int kMostOpen = 100;  // the parser calls itself for each bracket that is open

// How many brackets are open at once at most; those in strings do not count.
int Depth(const std::string& text) {
  int open = 0, most = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      i += c == '\\';
    } else if (c == '[' || c == '{') {
      most = std::max(most, ++open);
    } else if (c == ']' || c == '}') {
      --open;
    }
  }
  return most;
}

}  // namespace

json::Value ParseJson(const std::string& text) {
  if (Depth(text) > kMostOpen) throw Error("a message is nested too deeply");
  tvm::ffi::String problem;
  json::Value value = json::Parse(text, &problem);
  if (!problem.empty()) throw Error("a message is no JSON");
  return value;
}

json::Object ObjectIn(const json::Value& value) {
  if (const auto object = value.try_cast<json::Object>()) return *object;
  throw Error("a message lacks an object");
}

json::Value Entry(const json::Object& object, const std::string& name) {
  if (const auto value = object.Get(tvm::ffi::String(name))) return *value;
  throw Error("a message lacks '" + name + "'");
}

std::string TextIn(const json::Value& value) {
  if (const auto text = value.try_cast<tvm::ffi::String>()) return *text;
  throw Error("a message lacks a text");
}

json::Array ListIn(const json::Value& value) {
  if (const auto list = value.try_cast<json::Array>()) return *list;
  throw Error("a message lacks a list");
}

std::vector<std::string> TextsIn(const json::Value& value) {
  std::vector<std::string> texts;
  for (const json::Value& text : ListIn(value)) texts.push_back(TextIn(text));
  return texts;
}

std::vector<int64_t> SizesIn(const json::Value& value) {
  std::vector<int64_t> sizes;
  for (const json::Value& entry : ListIn(value)) {
    const auto size = entry.try_cast<int64_t>();
    if (!size || *size < 0) throw Error("a message lacks a size of 0 or more");
    sizes.push_back(*size);
  }
  return sizes;
}

}  // namespace jointdnn
