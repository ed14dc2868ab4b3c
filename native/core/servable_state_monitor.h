// ServableStateMonitor: the last published state of every version, a bounded
// history, and waits.
//
// Thread-safe. Subscribes to the bus at construction: it must exist before the
// manager that publishes. Callbacks run with no lock held, on the thread that
// published the deciding event, or in the call that registered them.
//
// Forward only: within an incarnation a state that would go backwards is
// ignored, and so is an event of an incarnation that is over.
//
// Bounded: versions that have ended are remembered up to `max_ended` in all,
// oldest forgotten first; the log keeps the last `max_log_events`.
//
// Destruction and Close(): every wait that is pending is told kClosed.
//
// Source: TensorFlow Serving, core/servable_state_monitor.h. Its history grows
// without bound, its timed wait leaves a dangling reference, and its cost per
// event is linear in the number of waits; these are not kept.
#ifndef ASPIRED_CORE_SERVABLE_STATE_MONITOR_H_
#define ASPIRED_CORE_SERVABLE_STATE_MONITOR_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "concurrency/clock.h"
#include "core/servable_state.h"

namespace aspired {

class ServableStateMonitor {
 public:
  struct Options {
    size_t max_log_events = 0;
    size_t max_ended = 1000;
  };

  // A version, or (nullopt) any version of the stream.
  struct Request {
    std::string name;
    std::optional<int64_t> version;
  };

  enum class WaitOutcome {
    kReached,  // every request came to the goal
    kEnded,    // every request settled, at least one by its End
    kClosed,   // the monitor closed first
  };
  // Called exactly once, unless the wait is cancelled first. `states` holds one
  // state per settled request, in the order of the requests.
  using WaitDone =
      std::function<void(WaitOutcome, std::vector<ServableState> states)>;
  using WaitId = uint64_t;

  // `bus` may be null: events come through HandleEvent() only.
  ServableStateMonitor(ServableEventBus* bus, Options options);
  ~ServableStateMonitor();

  ServableStateMonitor(const ServableStateMonitor&) = delete;
  ServableStateMonitor& operator=(const ServableStateMonitor&) = delete;

  void HandleEvent(const ServableState& event);

  std::optional<ServableState> GetState(const ServableId& id) const;
  // Highest version first.
  std::vector<ServableState> GetVersionStates(const std::string& name) const;
  // By name; versions highest first.
  std::map<std::string, std::vector<ServableState>> GetAllServableStates()
      const;
  // The same without what has ended.
  std::map<std::string, std::vector<ServableState>> GetLiveServableStates()
      const;
  // Oldest first.
  std::vector<ServableState> GetBoundedLog() const;
  void ForgetUnloadedServableStates();

  // Calls `done` when every request has settled. A request settles, for good,
  // when its version reaches `goal` or ends; one without a version when some
  // version of the stream is at `goal`, or when there are versions and all have
  // ended. A goal before kAvailable also counts as reached when the version is
  // already past it and not yet unloading. No requests: reached at once.
  WaitId NotifyWhenServablesReachState(std::vector<Request> requests,
                                       ManagerState goal, WaitDone done);
  // Afterwards `done` is not called any more, unless it is running now.
  void CancelWait(WaitId id);

  // Blocks at most `timeout`; false when it passed, or not every request came
  // to the goal. Not for threads that publish.
  bool WaitUntilServablesReachState(std::vector<Request> requests,
                                    ManagerState goal, Duration timeout,
                                    std::vector<ServableState>* states);

  // Ends every wait; later ones end at once.
  void Close();

 private:
  struct Wait;
  using WaitPtr = std::shared_ptr<Wait>;
  struct Completion {
    WaitPtr wait;
    WaitOutcome outcome;
  };
  // Of one stream; in ascending order of versions.
  struct Stream {
    std::vector<ServableState> versions;
    std::vector<WaitPtr> waits;
  };

  bool RecordLocked(const ServableState& event);
  void ForgetOldestLocked();
  // Whether that End is the last state of its version.
  bool IsLastLocked(const ServableId& id, uint64_t incarnation) const;
  void SettleLocked(const WaitPtr& wait, const std::string& name);
  void CollectIfDoneLocked(const WaitPtr& wait,
                           std::vector<Completion>* completions);
  void DetachLocked(const WaitPtr& wait);
  static void Run(std::vector<Completion> completions);

  const Options options_;
  mutable std::mutex mu_;
  // Guarded by mu_.
  bool closed_ = false;
  std::unordered_map<std::string, Stream> streams_;
  // Versions whose last state is End, and their Ends (id, incarnation) in the
  // order they came, with some that a later incarnation has replaced.
  size_t num_ended_ = 0;
  std::deque<std::pair<ServableId, uint64_t>> ended_;
  std::deque<ServableState> log_;
  std::map<WaitId, WaitPtr> waits_;
  WaitId next_wait_ = 1;
  // Last, so that it dies first: no event comes while the rest is destroyed.
  std::unique_ptr<ServableEventBus::Subscription> subscription_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_SERVABLE_STATE_MONITOR_H_
