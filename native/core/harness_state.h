// THE state table of one version: states, what each means to the outside, and
// the legal edges. Everything else that speaks of states (transitions, names in
// C++ and JavaScript, which states hold resources) is derived from it.
//
//   New -> LoadRequested -> LoadApproved -> Loading -> Ready
//                                             |          |
//                              (cancelled, or ended)     v
//   Disabled <- Unloading <- Quiesced <- Quiescing <- UnloadRequested
//
// Differences from TensorFlow Serving's harness: a version that was dropped
// before or between attempts goes to Disabled directly; UnloadRequested,
// Quiescing and Quiesced may go back to Ready (the version was aspired again
// before it was unloaded); an illegal transition changes nothing.
//
// Source: TensorFlow Serving, core/loader_harness.h, core/servable_state.h.
#ifndef ASPIRED_CORE_HARNESS_STATE_H_
#define ASPIRED_CORE_HARNESS_STATE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace aspired {

enum class HarnessState : uint8_t {
  kNew,
  kLoadRequested,
  kLoadApproved,
  kLoading,
  kReady,
  kUnloadRequested,
  kQuiescing,
  kQuiesced,
  kUnloading,
  kDisabled,
  kError,
};
inline constexpr size_t kNumHarnessStates = 11;

// What the outside sees; forward-only within one incarnation.
enum class ManagerState : uint8_t {
  kStart,
  kLoading,
  kAvailable,
  kUnloading,
  kEnd,
};

// A set of states, one bit each.
using HarnessStateSet = uint16_t;
constexpr HarnessStateSet Bit(HarnessState state) {
  return static_cast<HarnessStateSet>(1u << static_cast<unsigned>(state));
}

struct HarnessStateRow {
  HarnessState state;
  std::string_view name;
  ManagerState manager_state;
  // From the admission of the load until Unload() has returned.
  bool holds_resources;
  HarnessStateSet next;
};

namespace internal {
using enum HarnessState;

inline constexpr HarnessStateRow kHarnessStates[kNumHarnessStates] = {
    {kNew, "New", ManagerState::kStart, false,
     Bit(kLoadRequested) | Bit(kDisabled) | Bit(kError)},
    {kLoadRequested, "LoadRequested", ManagerState::kStart, false,
     Bit(kLoadApproved) | Bit(kDisabled) | Bit(kError)},
    {kLoadApproved, "LoadApproved", ManagerState::kLoading, true,
     Bit(kLoading) | Bit(kDisabled) | Bit(kError)},
    {kLoading, "Loading", ManagerState::kLoading, true,
     Bit(kReady) | Bit(kUnloading) | Bit(kDisabled) | Bit(kError)},
    {kReady, "Ready", ManagerState::kAvailable, true,
     Bit(kUnloadRequested) | Bit(kError)},
    {kUnloadRequested, "UnloadRequested", ManagerState::kAvailable, true,
     Bit(kQuiescing) | Bit(kReady) | Bit(kError)},
    {kQuiescing, "Quiescing", ManagerState::kUnloading, true,
     Bit(kQuiesced) | Bit(kReady) | Bit(kError)},
    {kQuiesced, "Quiesced", ManagerState::kUnloading, true,
     Bit(kUnloading) | Bit(kReady) | Bit(kError)},
    {kUnloading, "Unloading", ManagerState::kUnloading, true,
     Bit(kDisabled) | Bit(kError)},
    {kDisabled, "Disabled", ManagerState::kEnd, false, 0},
    {kError, "Error", ManagerState::kEnd, false, 0},
};

constexpr bool RowsAreInOrder() {
  for (size_t i = 0; i < kNumHarnessStates; ++i) {
    if (static_cast<size_t>(kHarnessStates[i].state) != i) return false;
  }
  return true;
}
static_assert(RowsAreInOrder(), "a row is found by its state's number");
}  // namespace internal

constexpr const HarnessStateRow& RowOf(HarnessState state) {
  return internal::kHarnessStates[static_cast<size_t>(state)];
}
constexpr bool IsLegal(HarnessState from, HarnessState to) {
  return (RowOf(from).next & Bit(to)) != 0;
}
constexpr bool IsTerminal(HarnessState state) { return RowOf(state).next == 0; }
constexpr std::string_view Name(HarnessState state) {
  return RowOf(state).name;
}
constexpr std::string_view Name(ManagerState state) {
  constexpr std::string_view kNames[] = {"Start", "Loading", "Available",
                                         "Unloading", "End"};
  return kNames[static_cast<size_t>(state)];
}

}  // namespace aspired

#endif  // ASPIRED_CORE_HARNESS_STATE_H_
