// AvailabilityPreservingPolicy: never leaves a stream without a Ready version
// for the sake of a new one. The price is memory: old and new are resident
// together while the new one loads.
//
// First match wins:
//   1. Un-aspired Ready versions exist, and nothing is aspired, or an aspired
//      one is Ready, or more than one un-aspired one is Ready:
//      unload the lowest of them.
//   2. An aspired version is New: load the highest of them.
//   3. Nothing.
//
// Source: TensorFlow Serving, core/availability_preserving_policy.h.
#ifndef ASPIRED_POLICY_AVAILABILITY_PRESERVING_POLICY_H_
#define ASPIRED_POLICY_AVAILABILITY_PRESERVING_POLICY_H_

#include "policy/aspired_version_policy.h"

namespace aspired {

class AvailabilityPreservingPolicy final : public AspiredVersionPolicy {
 public:
  std::optional<PolicyAction> GetNextAction(
      std::span<const AspiredServableStateSnapshot> versions) const override;
};

}  // namespace aspired

#endif  // ASPIRED_POLICY_AVAILABILITY_PRESERVING_POLICY_H_
