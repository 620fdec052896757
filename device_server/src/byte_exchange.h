// The device's side of jointdnn_tvm/runtime/byte_connection.py.
#pragma once

#include "fd.h"

namespace jointdnn {

// Takes and gives as many bytes as the peer says, again and again, until it leaves. Throws Error.
void ExchangeBytes(const Fd& connection);

}  // namespace jointdnn
