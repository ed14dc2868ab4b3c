// AspiredVersionsManager: keeps what is loaded equal to what is aspired.
//
// Intent comes as lists: for one servable stream, the versions that should
// live. A list replaces the one before it at once and as a whole, on the
// caller's thread. What follows from it is the work of the manage-state loop:
// it looks at the streams that changed, asks the policy of each for every
// action it allows, and performs them, unloads before loads.
//
// What a list does to a version that
//   is new                       it is managed: New, Start
//   is resident or on its way    nothing; the loader of the list dies unused
//   was dropped and is resident  it is aspired again, without a load
//   drains, or is a standby      its unload is revoked, without a load
//   ends, or is being cancelled  it starts anew with the loader of the list, as
//                                soon as the old incarnation is gone
//   failed                       it starts anew with the loader of the list
//                                (unless enable_reload... is off, or it is bad
//                                and the loader is the same)
// and, when the list lacks it, to one that
//   waits for its load or retry  it ends at once
//   is in a load attempt         it is cancelled, and never visible
//   is resident                  the policy decides when it goes
//
// Memory. When an aspired version waits for memory, the old ones of its stream
// may be unloaded first, and the last good one loaded again if it fails. One
// that is dropped may stay as a standby, or until its successor has baked.
//
// A version that failed for good is tried again, as a new incarnation, after a
// growing pause for as long as it is aspired.
//
// Threads. With an interval > 0 the loop has a thread of its own
// ("aspired-manage"), which sleeps until something changes, a retry is due, or
// there is a transition to reconcile. With 0 there is none, and Step() turns
// the crank. Policies and comparators in C++ run on that thread. Streams whose
// decision is external (a policy or an order given by another language) are
// handed to Options::decide, which answers with PerformActions().
//
// Thread-safe. No lock is held during any call out. Close() before the last
// owner goes, or Terminate() when there is no time; the destructor terminates.
//
// Source: TensorFlow Serving, core/aspired_versions_manager.h. There a list is
// postponed while a version in it is being unloaded, one action is taken per
// tick, and failed versions stay failed.
#ifndef ASPIRED_CORE_ASPIRED_VERSIONS_MANAGER_H_
#define ASPIRED_CORE_ASPIRED_VERSIONS_MANAGER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/aspired_stream.h"
#include "core/aspired_versions_manager_options.h"
#include "core/basic_manager.h"
#include "core/servable_state_monitor.h"
#include "core/transition.h"

namespace aspired {

class AspiredVersionsManager
    : public std::enable_shared_from_this<AspiredVersionsManager> {
 public:
  using Options = AspiredVersionsManagerOptions;
  using CloseDone = std::function<void(std::vector<ServableId> abandoned)>;

  static std::shared_ptr<AspiredVersionsManager> Create(Options options);
  ~AspiredVersionsManager();

  AspiredVersionsManager(const AspiredVersionsManager&) = delete;
  AspiredVersionsManager& operator=(const AspiredVersionsManager&) = delete;

  // Replaces the aspired versions of `name`. A VERSION THAT IS NOT IN THE LIST
  // IS UNLOADED. `done` is called once, when the transition has settled. An
  // error (ERR_INVALID_NAME, ERR_INVALID_VERSION, ERR_DUPLICATE_VERSION,
  // ERR_MANAGER_CLOSED) changes nothing, and `done` is never called.
  Status SetAspiredVersions(const std::string& name,
                            std::vector<AspiredVersion> versions,
                            StreamIntent intent, Transition::Done done);

  // Changes labels and primary, and nothing else. Same errors.
  Status SetIntent(const std::string& name, StreamIntent intent);
  // Labels and primary as they were given; empty for an unknown name.
  StreamIntent GetIntent(const std::string& name) const;
  // Tells readers that have begun to want intent of what there is by now.
  void ShareReaders();
  // True: readers have been told of all that is so at the call. Another thread
  // may be telling them; this waits for it, `patience` at most. False: `late`
  // is called when they have been, on that thread; never, if the manager dies
  // before. Not from an effect.
  bool CatchUpReaders(std::function<void()> late,
                      Duration patience = std::chrono::seconds(1));

  // For an external decision: what the policy sees, lowest version first.
  std::vector<AspiredServableStateSnapshot> GetPolicySnapshots(
      const std::string& name) const;
  // For an external order: every action that the stream's own policy allows;
  // none when that policy is external.
  std::vector<ServableAction> CollectActions(const std::string& name) const;
  // Performs actions in the order given. One status per action; one that the
  // state of its version does not allow is an error and changes nothing.
  std::vector<Status> PerformActions(
      const std::vector<ServableAction>& actions);

  // Highest version first.
  std::vector<ServableVersionState> GetVersionStates(
      const std::string& name) const;
  std::vector<std::string> GetServableNames() const;

  // The bake of that incarnation is over. Not OK: the version is bad; it is
  // unloaded and ends with the verdict, readers are back with the version
  // before, and it is not tried again while it stays aspired with the same
  // loader. ERR_ILLEGAL_TRANSITION when that bake is not on, or when there is
  // nothing to go back to: then the version stays.
  Status FinishBake(const ServableId& id, uint64_t incarnation, Status verdict);

  // See BasicManager::SetLimits(). Versions that ended because they could never
  // fit are tried again.
  void SetLimits(const std::vector<uint64_t>& limits);

  // See BasicManager::Drained().
  void Drained(const ServableId& id, uint64_t epoch) {
    basic_->Drained(id, epoch);
  }

  void SetNumLoadThreads(int num_threads);
  void SetNumUnloadThreads(int num_threads);

  // One round of the manage-state loop on the calling thread: retries that are
  // due, streams that changed, inline work, effects. Any thread; rounds do not
  // overlap.
  void Step();
  // When Step() next has something to do by itself.
  std::optional<TimePoint> NextDue() const;

  // Drops everything, waits for drains and loads until `drain_timeout` has
  // passed, abandons what is left, stops the threads, settles what is pending.
  // Then `done` is called, once, after the last event; its argument is what was
  // abandoned. Every other call fails with ERR_MANAGER_CLOSED from now on. A
  // second Close() is an error.
  Status Close(Duration drain_timeout, CloseDone done);
  // Ends the threads without waiting for loads: for an environment that dies.
  // Nothing is unloaded, no `done` called. Waits at most `wait` for the loop.
  void Terminate(Duration wait);
  // Joins the loop's thread. REQUIRES: `done` of Close() was called.
  void Join();

  const std::shared_ptr<ServableEventBus>& bus() const { return bus_; }
  ServableStateMonitor& monitor() { return *monitor_; }
  BasicManager& basic() { return *basic_; }

 private:
  using Record = AspiredRecord;
  using Stream = AspiredStream;
  using Successor = Record::Successor;
  using Snapshots = std::vector<AspiredServableStateSnapshot>;

  explicit AspiredVersionsManager(Options options);
  void Start();
  void Run();
  void Wake();

  // All Locked methods REQUIRE mu_.
  Stream& StreamLocked(const std::string& name);
  void MarkDirtyLocked(Stream& stream);
  void MergeIntentLocked(Stream& stream, StreamIntent intent);
  // For readers that want intent; null: the versions that are aspired now.
  void PushIntentLocked(const Stream& stream, const std::set<int64_t>* aspired);
  void DropLocked(Stream& stream, int64_t version, Record& record);
  // The version is not to be tried again.
  void CancelIncarnationLocked(const ServableId& id, Record& record);
  void AspireLocked(Stream& stream, AspiredVersion item,
                    Transition& transition);
  void ReaspireLocked(Stream& stream, Record& record, AspiredVersion item,
                      const BasicManager::Snapshot& now,
                      Transition& transition);
  void ManageLocked(Stream& stream, int64_t version, Record& record,
                    std::unique_ptr<Loader> loader, Status error);
  void DisposeLocked(std::unique_ptr<Loader> loader);
  void OnEvent(const ServableState& event);
  void DecideRound();
  void FinishCloseIfDone();
  void SettleAll();
  void OnEndLocked(Stream& stream, Record& record, const ServableState& event);
  void SettleLocked(Stream& stream);
  // Settles a list that failed and whose dropped versions the policy keeps.
  void SettleKeptLocked(Stream& stream);
  void RetryDueLocked(TimePoint now);
  void ReconcileLocked(TimePoint now);
  void ReapLocked(Stream& stream);
  void DecideLocked(Stream& stream, std::vector<ServableAction>* actions,
                    std::vector<std::string>* external);
  std::vector<ServableAction> CollectLocked(const Stream& stream) const;
  const AspiredVersionPolicy* PolicyOfLocked(const Stream& stream) const;
  void SortLocked(std::vector<ServableAction>* actions) const;
  void PerformLocked(const ServableAction& action);
  void ForgetIfEmptyLocked(Stream& stream);
  void ReplaceLocked(Stream& stream, Record& record, AspiredVersion item,
                     const BasicManager::Snapshot& now, Transition& transition);

  // Of standby.cc.
  StandbyOptions StandbyOfLocked(const Stream& stream) const;
  bool WantsStandbyLocked(const Stream& stream, const Record& record) const;
  void OnStandby(const ServableId& id, uint64_t incarnation);
  void ExpireStandbysLocked(TimePoint now);
  // No more standbys than the stream may have.
  void LimitStandbysLocked(Stream& stream);
  void OnPressure(const ServableId& id);
  bool MayFreeOwnLocked(const Stream& stream, const Record& record) const;
  void FreeOwnLocked(Stream& stream);
  void FreeForLocked(Stream& stream, int64_t version, Record& record);
  void FallBackLocked(Stream& stream);
  bool IsStuckLocked(const Stream& stream, int64_t version) const;
  bool OutlastedLocked(Stream& stream, const ServableId& fallback);

  // Of bake.cc.
  bool BakesLocked(const Stream& stream) const;
  void ProveLocked(Stream& stream);
  Snapshots::iterator UnprovenInsteadLocked(const Stream& stream,
                                            Snapshots& snapshots,
                                            Snapshots::iterator chosen) const;
  void UpdateBakeLocked(Stream& stream);
  // Whether a bake needs what the action would unload.
  bool IsKeptLocked(const ServableAction& action);
  std::optional<int64_t> LastGoodLocked(const Stream& stream,
                                        int64_t baking) const;
  bool HasGoodLocked(const Stream& stream) const;
  bool IsReadLocked(const Stream& stream, int64_t version) const;

  const Options options_;
  const std::shared_ptr<ServableEventBus> bus_;
  std::shared_ptr<BasicManager> basic_;
  std::unique_ptr<ServableStateMonitor> monitor_;
  std::unique_ptr<ServableEventBus::Subscription> subscription_;

  mutable std::mutex mu_;
  // Guarded by mu_.
  std::unordered_map<std::string, std::unique_ptr<Stream>> streams_;
  std::deque<Stream*> dirty_;
  std::deque<Stream*> reconcile_;
  std::set<std::string> asked_;  // streams whose external decision is awaited
  std::optional<TimePoint> reconcile_due_;
  std::multimap<TimePoint, ServableId> incarnations_due_;
  std::multimap<TimePoint, ServableId> standbys_due_;
  uint64_t next_dropped_ = 1;
  std::minstd_rand random_;
  bool stepping_ = false;    // a round is under way
  bool step_again_ = false;  // and another one is wanted
  bool closing_ = false;
  bool closed_ = false;
  TimePoint close_deadline_;
  CloseDone close_done_;

  mutable std::mutex loop_mu_;  // a leaf: nothing is taken under it
  std::condition_variable loop_wake_;
  std::condition_variable loop_exited_;
  // Guarded by loop_mu_.
  bool woken_ = false;
  bool stop_ = false;
  bool running_ = false;
  std::thread loop_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_ASPIRED_VERSIONS_MANAGER_H_
