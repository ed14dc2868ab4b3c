// ResourcePreservingPolicy: an un-aspired version and a new one are never
// resident together. The price is availability: nothing is served from the
// unload of the old version until the new one is Ready.
//
// First match wins:
//   1. Un-aspired Ready versions exist: unload the first in the list.
//   2. An un-aspired version is on its way (neither Disabled nor Error): wait.
//   3. An aspired version is New: load the highest of them.
//   4. Nothing.
//
// Source: TensorFlow Serving, core/resource_preserving_policy.h.
#ifndef ASPIRED_POLICY_RESOURCE_PRESERVING_POLICY_H_
#define ASPIRED_POLICY_RESOURCE_PRESERVING_POLICY_H_

#include "policy/aspired_version_policy.h"

namespace aspired {

class ResourcePreservingPolicy final : public AspiredVersionPolicy {
 public:
  std::optional<PolicyAction> GetNextAction(
      std::span<const AspiredServableStateSnapshot> versions) const override;
};

}  // namespace aspired

#endif  // ASPIRED_POLICY_RESOURCE_PRESERVING_POLICY_H_
