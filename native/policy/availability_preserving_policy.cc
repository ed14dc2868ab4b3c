#include "policy/availability_preserving_policy.h"

namespace aspired {

std::optional<PolicyAction> AvailabilityPreservingPolicy::GetNextAction(
    std::span<const AspiredServableStateSnapshot> versions) const {
  bool any_aspired = false;
  bool aspired_ready = false;
  int unaspired_ready = 0;
  int64_t lowest_unaspired_ready = 0;
  for (const auto& v : versions) {
    const bool ready = v.state == HarnessState::kReady;
    if (v.is_aspired) {
      any_aspired = true;
      aspired_ready |= ready;
    } else if (ready) {
      if (unaspired_ready == 0 || v.version < lowest_unaspired_ready) {
        lowest_unaspired_ready = v.version;
      }
      ++unaspired_ready;
    }
  }
  if (unaspired_ready > 0 &&
      (!any_aspired || aspired_ready || unaspired_ready > 1)) {
    return PolicyAction{PolicyAction::Kind::kUnload, lowest_unaspired_ready};
  }
  if (const auto version = HighestAspiredNew(versions)) {
    return PolicyAction{PolicyAction::Kind::kLoad, *version};
  }
  return std::nullopt;
}

}  // namespace aspired
