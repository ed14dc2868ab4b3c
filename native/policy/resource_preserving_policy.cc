#include "policy/resource_preserving_policy.h"

namespace aspired {

std::optional<PolicyAction> ResourcePreservingPolicy::GetNextAction(
    std::span<const AspiredServableStateSnapshot> versions) const {
  bool unaspired_busy = false;
  for (const auto& v : versions) {
    if (v.is_aspired) continue;
    if (v.state == HarnessState::kReady) {
      return PolicyAction{PolicyAction::Kind::kUnload, v.version};
    }
    unaspired_busy |= !IsTerminal(v.state);
  }
  if (unaspired_busy) return std::nullopt;
  if (const auto version = HighestAspiredNew(versions)) {
    return PolicyAction{PolicyAction::Kind::kLoad, *version};
  }
  return std::nullopt;
}

}  // namespace aspired
