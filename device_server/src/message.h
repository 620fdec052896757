// One message of a crossing, as jointdnn_tvm/runtime/message.py packs it: named tensors and a few
// words about them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "json.h"
#include "tensors.h"

namespace jointdnn {

struct Message {
  json::Object header;
  Tensors tensors;

  // Throws Error when it does not have exactly the size that it declares.
  static Message Decode(const std::string& bytes);
};

// The named tensors, with an empty header, those that `codecs` names by their codec; throws Error
// when one is not there.
std::string Encode(const Tensors& tensors, const std::vector<std::string>& names,
                   const std::map<std::string, std::string>& codecs = {});

}  // namespace jointdnn
