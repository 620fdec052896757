// Who a device is: what a measurement on it belongs to.
#pragma once

#include <string>

namespace jointdnn {

// The answer of `jointdnn.device_info`, as JSON; `target` is the name of this machine's profile.
std::string DeviceInfo(const std::string& target);

}  // namespace jointdnn
