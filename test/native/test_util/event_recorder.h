// EventRecorder: hears every event of a bus and fails the test when one is out
// of order.
//
// What it asserts as events come: an incarnation begins with Start (or is one
// lone End, of a version that its source could not prepare), goes strictly
// forward, and has at most one End; the next incarnation of an id begins after
// the End of the one before and has a greater number. ExpectAllEnded() asserts
// the rest: every incarnation has had its End.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_EVENT_RECORDER_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_EVENT_RECORDER_H_

#include <array>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/servable_state.h"

namespace aspired::test {

// Thread-safe.
class EventRecorder {
 public:
  explicit EventRecorder(ServableEventBus* bus);

  std::vector<ServableState> All() const;
  std::vector<ServableState> Of(const ServableId& id) const;
  // "Start Loading End(ERR_LOAD_FAILED)": the events of an id in short.
  std::string Trace(const ServableId& id) const;
  std::optional<ServableState> Last(const ServableId& id) const;
  bool EverAvailable(const ServableId& id) const;

  // Waits until the id has had its `times`-th event of this state.
  bool WaitFor(const ServableId& id, ManagerState state, int times = 1) const;
  bool WaitForCount(ManagerState state, int times) const;

  void ExpectAllEnded() const;

 private:
  void Record(const ServableState& event);
  // REQUIRES: mu_ held.
  int CountLocked(const ServableId& id, ManagerState state) const;

  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  // Guarded by mu_.
  std::vector<ServableState> events_;
  std::map<ServableId, ServableState> last_;
  using Counts = std::array<int, 5>;  // by state
  std::map<ServableId, Counts> counts_;
  Counts totals_{};
  // Last, so that it dies first.
  std::unique_ptr<ServableEventBus::Subscription> subscription_;
};

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_EVENT_RECORDER_H_
