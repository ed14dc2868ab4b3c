// AspiredVersionPolicy: decides what happens next to one servable stream.
//
// A policy is a pure function: no clock, no lock, no memory. The same
// snapshots, in whatever order, give the same answer; it is asked again after
// each action with the state that the action led to, until it has none.
//
// Thread-safe, as a consequence.
//
// Source: TensorFlow Serving, core/aspired_version_policy.h.
#ifndef ASPIRED_POLICY_ASPIRED_VERSION_POLICY_H_
#define ASPIRED_POLICY_ASPIRED_VERSION_POLICY_H_

#include <cstdint>
#include <optional>
#include <span>

#include "core/harness_state.h"

namespace aspired {

// What a policy sees of one version of the stream.
struct AspiredServableStateSnapshot {
  int64_t version = 0;
  HarnessState state = HarnessState::kNew;
  bool is_aspired = false;
};

struct PolicyAction {
  enum class Kind : uint8_t { kLoad, kUnload };
  Kind kind = Kind::kLoad;
  int64_t version = 0;

  friend bool operator==(const PolicyAction&, const PolicyAction&) = default;
};

class AspiredVersionPolicy {
 public:
  virtual ~AspiredVersionPolicy() = default;

  // `versions` holds every managed version of one stream, each once.
  virtual std::optional<PolicyAction> GetNextAction(
      std::span<const AspiredServableStateSnapshot> versions) const = 0;
};

// The highest version that is aspired and New.
std::optional<int64_t> HighestAspiredNew(
    std::span<const AspiredServableStateSnapshot> versions);

}  // namespace aspired

#endif  // ASPIRED_POLICY_ASPIRED_VERSION_POLICY_H_
