#include "policy/aspired_version_policy.h"

namespace aspired {

std::optional<int64_t> HighestAspiredNew(
    std::span<const AspiredServableStateSnapshot> versions) {
  std::optional<int64_t> highest;
  for (const auto& v : versions) {
    if (v.is_aspired && v.state == HarnessState::kNew &&
        (!highest || v.version > *highest)) {
      highest = v.version;
    }
  }
  return highest;
}

}  // namespace aspired
