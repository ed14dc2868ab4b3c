// CUDA_VISIBLE_DEVICES, read the way the driver reads it. For machines where
// the driver itself cannot be asked, because cuInit fails.
#ifndef ASPIRED_CUDA_VISIBLE_DEVICES_H_
#define ASPIRED_CUDA_VISIBLE_DEVICES_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace aspired {

// A GPU as the variable may name it, and its instances when it is in MIG mode.
struct VisibleGpu {
  std::string uuid;
  std::vector<std::string> instances;
};

// The UUIDs of the visible devices in the order of their ordinals. `value` is
// null when the variable is not set.
//   - not set: every GPU, in the given order;
//   - items are separated by commas; the first one decides whether all are
//     indexes ("1", "+1", "1abc"), or UUIDs or the beginnings of UUIDs that
//     only one device has ("GPU-8932", "MIG-41b3");
//   - the first item that names nothing ends the list; so "" shows nothing;
//   - a device named twice makes the list empty;
//   - a GPU in MIG mode stands for its first instance.
// Source: the CUDA programming guide, environment variables. That a repeated
// device empties the list is the experience of others, not documented. Pure.
std::vector<std::string> ResolveVisibleDevices(
    const char* value, const std::vector<VisibleGpu>& gpus);

// The index of the one text in `uuids` that is `wanted` or, failing that,
// begins with it, without regard to case. kNone when there is none, kAmbiguous
// when there are several.
struct UuidMatch {
  enum class Kind { kNone, kOne, kAmbiguous };
  Kind kind = Kind::kNone;
  size_t index = 0;
};
UuidMatch MatchUuid(std::string_view wanted,
                    const std::vector<std::string>& uuids);

}  // namespace aspired

#endif  // ASPIRED_CUDA_VISIBLE_DEVICES_H_
