// BasicManager: loads and unloads versions one by one, as it is told.
//
// It owns the harnesses, the load and unload threads with their slots, the
// quick retries, the drain and the events. It decides nothing about which
// version should live: that is AspiredVersionsManager's.
//
// Life of a version:
//   ManageServable()  New            Start
//   LoadServable()    LoadRequested  its loader estimates; it waits for a slot
//                                    and for memory, see AdmissionQueue
//                     Loading        Loading; attempts and pauses between them
//                     Ready          opened to readers, then Available
//   UnloadServable()  Quiescing      Unloading, then closed to readers
//   Drained()         Quiesced       its last lease is back; a standby stays so
//                     Unloading      on an unload slot
//                     Disabled       End
//   StopManagingServable()           the loader dies
//
// Effects. Calls that change state queue what follows from it (events, calls
// into loaders and readers, completions) in the order of the changes, and
// Flush() delivers that with no lock held. A caller that itself holds a lock
// calls Flush() after releasing it. What comes from outside (a finished load, a
// drain) flushes by itself.
//
// Memory. With a ledger, what a load needs is reserved before it begins, in one
// decision at a time; nothing is held while it waits, and unloads never wait
// for memory. A reservation lasts until the unload has returned, or the load
// has failed for good. When a load does not fit, standbys go, oldest first, as
// many as it takes. One that was given up and still runs has its reservation
// until it is over, though its version is gone or tries again with another one.
//
// A pause before a retry, and a version that drains, hold no thread and no
// slot. A slot is held by an attempt, or an unload, that is under way; a loader
// that does not block holds its slot without a thread.
//
// Thread-safe. Create() because loads that outlive the last owner keep it alive
// until they are done; readers, bus and clock are shared for the same reason.
//
// Destruction: shut down first; loaders still under way are abandoned.
//
// Source: TensorFlow Serving, core/basic_manager.h; slots instead of threads,
// effects in order, drain per version and revocable unloads are ours.
#ifndef ASPIRED_CORE_BASIC_MANAGER_H_
#define ASPIRED_CORE_BASIC_MANAGER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "concurrency/serial_queue.h"
#include "concurrency/work_threads.h"
#include "core/admission_queue.h"
#include "core/basic_manager_options.h"
#include "core/footprints.h"
#include "core/loader.h"
#include "core/loader_harness.h"
#include "core/resource_ledger.h"
#include "core/resources_report.h"
#include "core/servable_state.h"

namespace aspired {

class BasicManager : public std::enable_shared_from_this<BasicManager> {
 public:
  using Done = std::function<void(Status)>;

  using Options = BasicManagerOptions;
  using LoadOptions = aspired::LoadOptions;
  using UnloadOptions = aspired::UnloadOptions;
  using Snapshot = ManagedSnapshot;

  static std::shared_ptr<BasicManager> Create(Options options);
  ~BasicManager();

  BasicManager(const BasicManager&) = delete;
  BasicManager& operator=(const BasicManager&) = delete;

  // New, and Start is published. ERR_ALREADY_MANAGED if the id is managed: the
  // loader is given back through `loader` then, unused.
  Status ManageServable(const ServableId& id, std::unique_ptr<Loader>& loader);

  // A version that its source could not prepare: state Error, and End with the
  // error is published, without a Start. `loader` may be null.
  Status ManageServableWithError(const ServableId& id, Status error,
                                 std::unique_ptr<Loader>& loader);

  // Forgets a version that is New, Disabled or Error; ERR_ILLEGAL_TRANSITION in
  // other states. A New one publishes End. The loader goes to `*loader` when
  // given, otherwise it dies in Flush(). One whose load was cancelled under
  // way, or that was abandoned, is not given: it dies when nothing can speak of
  // it any more.
  Status StopManagingServable(const ServableId& id,
                              std::unique_ptr<Loader>* loader = nullptr);

  // Loads a version that is New. `done` gets OK when it is Available, or the
  // reason why it ended, or why the request is no good.
  void LoadServable(const ServableId& id, Done done) {
    LoadServable(id, LoadOptions(), std::move(done));
  }
  void LoadServable(const ServableId& id, LoadOptions options, Done done);

  // Unloads a version that is Ready. `done` gets OK after End, or
  // ERR_LOAD_CANCELLED when the unload was revoked.
  void UnloadServable(const ServableId& id, Done done) {
    UnloadServable(id, UnloadOptions(), std::move(done));
  }
  void UnloadServable(const ServableId& id, UnloadOptions options, Done done);

  // The load is no longer wanted: the version never becomes visible from here
  // on. An error, and no change, when it is past loading.
  Status CancelLoad(const ServableId& id);

  // Takes back an unload whose version has not drained yet, or is a standby: it
  // is Ready again, without a load, as a new incarnation. An error, and no
  // change, otherwise.
  Status RevokeUnload(const ServableId& id);

  // Unloads a standby, or all; whoever is none is left alone.
  void EvictStandby(const ServableId& id);
  void EvictStandbys();

  // The last lease of the version is back. Ignored when `epoch` is not that of
  // the last Close() (the unload was revoked meanwhile).
  void Drained(const ServableId& id, uint64_t epoch);

  std::vector<std::string> GetManagedServableNames() const;
  // In ascending order of versions; empty for an unknown name.
  std::vector<Snapshot> GetSnapshots(const std::string& name) const;
  std::optional<Snapshot> GetSnapshot(const ServableId& id) const;
  // The same without the details and without standbys, for who only decides.
  std::vector<std::pair<int64_t, HarnessState>> GetStates(
      const std::string& name) const;
  size_t num_managed() const;

  // Room was made for this load, at the cost of versions that served: it comes
  // before all others, and gets one attempt. REQUIRES: it waits for memory.
  void GiveRoom(const ServableId& id);
  void SetFreesOwn(const ServableId& id, bool frees_own);
  std::unique_ptr<Loader> RenewLoader(const ServableId& id);  // may be null

  // By device of Options::limits; what waits and can never fit now ends.
  void SetLimits(const std::vector<uint64_t>& limits);
  // Why a load waits, with the arithmetic of memory; empty when it does not.
  std::string ExplainWait(const ServableId& id) const;
  // Whether it would fit without these and all standbys; none: it does not
  // wait.
  std::optional<bool> FitsWithout(const ServableId& id,
                                  const std::vector<ServableId>& others);
  ResourcesReport GetResources();  // reads the meter: may wait for the system
  std::vector<Footprint> ExportFootprints() const;
  void ImportFootprints(const std::vector<Footprint>& footprints);
  void ClearFootprints(const std::optional<std::string>& name);  // none: all

  void SetNumLoadThreads(int num_threads);
  void SetNumUnloadThreads(int num_threads);
  const std::shared_ptr<WorkThreads>& load_threads() const {
    return load_threads_;
  }
  const std::shared_ptr<WorkThreads>& unload_threads() const {
    return unload_threads_;
  }

  // Delivers effects. REQUIRES: no lock held that an effect may want.
  void Flush();
  // Queues an effect of the owner's behind those of the manager.
  void PushEffect(SerialQueue::Effect effect) {
    effects_.Push(std::move(effect));
  }
  // Queues a Readers::Remind() for every version that is open.
  void RemindReaders();
  // Reads the meter when loads wait for memory, starts what is due and runs
  // inline work. Calls Flush().
  void Pump() {
    while (PumpOnce()) continue;
  }
  // The same, but at most one inline load, after the inline unloads: so that
  // its caller can decide anew before the next one. True when there was inline
  // work, and so may be more.
  bool PumpOnce();
  // When Pump() has something to do by itself: a retry, another look at memory.
  std::optional<TimePoint> NextDue() const;

  // Gives up what has not ended: Error with `reason`, End is published. Their
  // loaders are not unloaded; what an attempt brings later is. Returns them.
  std::vector<ServableId> AbandonAll(const std::string& reason);

  // Stops the threads; see ThreadPool::Shutdown(). No load or unload begins
  // afterwards. Returns how many threads were detached.
  int Shutdown(std::optional<Duration> wait);

 private:
  struct Managed;
  using ManagedPtr = std::shared_ptr<Managed>;
  enum class Work { kLoad, kUnload };
  using GivenUp = std::pair<ServableId, std::unique_ptr<ResourceAccount>>;

  explicit BasicManager(Options options);

  Status ManageLocked(const ServableId& id, std::unique_ptr<Loader>& loader,
                      const Status& error);
  ManagedPtr FindLocked(const ServableId& id) const;
  Status NotManaged(const ServableId& id) const;
  void PublishLocked(const Managed& m, ManagerState state, Status health);
  void CompleteLocked(Done& done, Status status);

  // Of admission.cc.
  class Judge;
  void StartEstimateLocked(const ManagedPtr& m);
  void OnEstimated(const ManagedPtr& m, EstimateOutcome outcome);
  void OnEstimateFailedLocked(const ManagedPtr& m, EstimateOutcome outcome);
  // The queue of what waits for memory, or the other.
  void EnqueueLoadLocked(const ManagedPtr& m);
  void BoundLocked(const ManagedPtr& m);
  void AdmitLoadsLocked();
  void StartLoadLocked(const ManagedPtr& m);
  void EndHopelessLocked(const ManagedPtr& m, const std::string& why);
  uint64_t ResidentSinceLocked(const Managed& m);
  // Someone waits and does not fit: standbys go, or the owner is told.
  void MakeRoomLocked(const ManagedPtr& m);
  void EvictLocked(const ManagedPtr& m);
  // A standby goes; what would become one does not.
  void UnkeepLocked(const ManagedPtr& m);
  void ReleaseLocked(const ManagedPtr& m);
  void SetPhaseLocked(const ManagedPtr& m, ResourceAccount::Phase phase);
  // What waits for memory is to be looked at again.
  void MemoryChangedLocked();
  void ObserveLocked(const ResourceLedger::Mark& mark,
                     const std::vector<DeviceReading>& readings);
  void NoteLookLocked(bool all);
  std::string ShortageLocked(const Managed& m) const;
  void BeginWorkLocked(const ManagedPtr& m, Work work, const SelfMemory& self);
  void EndLoadLocked(const ManagedPtr& m, const SelfMemory& self);
  // After EndLoadLocked(), of a load that succeeded.
  void SettleAccountLocked(const ManagedPtr& m);
  void EndUnloadLocked(const ManagedPtr& m, const SelfMemory& self);
  void DrainedLocked(const ManagedPtr& m);
  bool ReadingIsFreshLocked() const;
  SelfMemory ReadSelf() const;
  void ObserveMemory();

  void AdmitUnloadsLocked();
  void QueueUnloadLocked(const ManagedPtr& m);
  // Pushes the effect that runs `m`'s loader where it belongs.
  void DispatchLocked(const ManagedPtr& m, Work work);
  void CallLoader(const ManagedPtr& m, Work work, int attempt);
  void OnLoadDone(const ManagedPtr& m, uint64_t run, LoadOutcome outcome);
  void GiveUpLocked(const ManagedPtr& m, uint64_t run);
  void OnLoadOver(uint64_t run);
  void OnUnloadDone(const ManagedPtr& m, Status outcome);
  void RetryLocked(const ManagedPtr& m);
  // `failures`: so far.
  void ScheduleRetryLocked(const ManagedPtr& m, int failures);
  void EndLocked(const ManagedPtr& m, Status health);
  static Snapshot SnapshotOf(const Managed& m);

  const Options options_;
  const std::shared_ptr<WorkThreads> load_threads_;
  const std::shared_ptr<WorkThreads> unload_threads_;
  SerialQueue effects_;

  mutable std::mutex mu_;
  // Guarded by mu_. Versions of a stream in ascending order.
  std::unordered_map<std::string, std::vector<ManagedPtr>> streams_;
  size_t num_managed_ = 0;
  uint64_t next_incarnation_ = 1;
  uint64_t last_epoch_ = 0;
  bool stopped_ = false;
  int loads_under_way_ = 0;
  int unloads_under_way_ = 0;
  AdmissionQueue<ManagedPtr> load_queue_;
  std::deque<ManagedPtr> unload_queue_;
  std::deque<ManagedPtr> standbys_;  // oldest first
  std::optional<ResourceLedger> ledger_;
  Footprints footprints_;
  std::optional<TimePoint> observed_at_;
  bool reading_wanted_ = false;  // by what waits: memory may have come back
  // What was available, by device, when all that wait were looked at.
  std::vector<uint64_t> looked_with_;
  bool look_at_all_ = false;     // though there is no more than then
  bool raised_waits_ = false;    // one whose estimate experience raised
  uint64_t memory_changes_ = 1;  // see MemoryChangedLocked()
  uint64_t next_age_ = 1;
  std::multimap<TimePoint, ManagedPtr> retries_;
  uint64_t next_run_ = 1;
  std::map<uint64_t, GivenUp> given_up_;  // that still run, by run
  std::minstd_rand random_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_BASIC_MANAGER_H_
