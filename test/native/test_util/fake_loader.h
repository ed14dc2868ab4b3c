// FakeLoader: a loader that does what the test says, and fails the test when
// the manager does what loader.h forbids it.
//
// A test holds the LoaderProbe (the script, the record, the hand that ends a
// held load); the manager owns the Loader that MakeLoader() gave it. The probe
// outlives the loader.
//
// Checked at every call: Load() and Unload() do not overlap; no Load() after
// Unload(), nor after a load that was cancelled; Unload() once, after a
// successful Load(), and not while a reader can read; CancelLoad() at most
// once; EstimateResources() only of who has estimates, before the first Load(),
// and not twice at a time; destruction while nothing is under way and no
// servable is left (but for AllowLeak()).
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_LOADER_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_LOADER_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/loader.h"
#include "native/test_util/fake_readers.h"

namespace aspired::test {

// Thread-safe.
class LoaderProbe : public std::enable_shared_from_this<LoaderProbe> {
 public:
  enum class Kind {
    kBlocking,     // works on the thread it is called on
    kNonBlocking,  // answers inline, or by the hand of the test when held
    kOtherThread,  // non-blocking; answers from a thread of its own
  };

  static std::shared_ptr<LoaderProbe> Create(
      Kind kind = Kind::kBlocking, const FakeReaders* readers = nullptr);
  ~LoaderProbe();

  // May be called again after the loader before is destroyed.
  std::unique_ptr<Loader> MakeLoader();

  // --- Script.
  // What loads that are not held end with; the oldest of the script first, then
  // the outcome for all others (OK at first).
  void ScriptLoad(Status status, bool retriable = true);
  void FailAllLoads(Status status, bool retriable = true);
  void FailUnloads(Status status);
  // Loads (unloads) that begin from now on end by FinishLoad() only.
  void HoldLoads(bool hold = true);
  void HoldUnloads(bool hold = true);
  // A held load ends with ERR_LOAD_CANCELLED when CancelLoad() is called.
  void ListenToCancel();
  // Called on the thread of each load, or unload, before anything else.
  void OnLoad(std::function<void()> hook);
  void OnUnload(std::function<void()> hook);
  void OnDestroy(std::function<void()> hook);
  void AllowLeak();
  // From now on the loader has estimates, and each is this one.
  void Estimate(ResourceAllocation estimate);
  // The next estimates; the oldest of the script first.
  void ScriptEstimate(EstimateOutcome outcome);
  // Estimates are given by FinishEstimate() only.
  void HoldEstimates(bool hold = true);
  // Loaders of this probe are renewed by loaders of that one.
  void RenewBy(std::shared_ptr<LoaderProbe> successor);
  // Of kOtherThread: waits for the threads that have answered. False: there was
  // none. What they ran may have begun others, of any probe.
  bool JoinThreads();

  // --- The hand. Waits until the load is under way, then ends it: for a
  // blocking loader on the load's thread, otherwise on this one.
  void FinishLoad(Status status = Status::Ok(), bool retriable = true);
  // The load under way is given up while it runs; LoadIsOver() ends it, once.
  void GiveUpLoad(Status status, bool retriable = true);
  void LoadIsOver();
  void FinishUnload(Status status = Status::Ok());
  // With what Estimate() said.
  void FinishEstimate();
  void FinishEstimate(EstimateOutcome outcome);

  // --- Record.
  int estimates() const;
  // What the last Load() was told to be reserved.
  ResourceAllocation reserved() const;
  int loads() const;
  int unloads() const;
  int cancels() const;
  bool loading() const;
  bool unloading() const;
  bool destroyed() const;
  std::vector<int> attempts() const;
  std::thread::id load_thread() const;
  std::thread::id unload_thread() const;
  std::thread::id destroy_thread() const;
  bool WaitForLoads(int times) const;
  bool WaitForUnloads(int times) const;
  bool WaitForCancels(int times) const;
  bool WaitForDestroyed() const;

 private:
  class FakeLoader;

  explicit LoaderProbe(Kind kind, const FakeReaders* readers);

  void Load(const LoadContext& context, Loader::LoadDone done);
  void CancelLoad();
  void EstimateResources(Loader::EstimateDone done);
  std::unique_ptr<Loader> Renew();
  void Unload(const Loader& loader, Loader::UnloadDone done);
  void Destroyed();
  void Answer(std::function<void()> answer);
  void EndLoad(const Loader::LoadDone& done, LoadOutcome outcome);
  void EndUnload(const Loader::UnloadDone& done, Status outcome);
  template <typename Predicate>
  bool WaitUntil(Predicate predicate) const;

  const Kind kind_;
  const FakeReaders* const readers_;
  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  // Guarded by mu_. Script:
  std::deque<LoadOutcome> script_;
  LoadOutcome outcome_;
  Status unload_outcome_;
  bool hold_loads_ = false;
  bool hold_unloads_ = false;
  bool listen_to_cancel_ = false;
  bool allow_leak_ = false;
  bool has_estimates_ = false;
  bool hold_estimates_ = false;
  ResourceAllocation estimate_;
  std::deque<EstimateOutcome> estimate_script_;
  std::shared_ptr<LoaderProbe> successor_;
  std::function<void()> on_load_;
  std::function<void()> on_unload_;
  std::function<void()> on_destroy_;
  // Held: `done` of a non-blocking call, or the hand's answer to a blocking
  // one.
  bool load_held_ = false;
  bool unload_held_ = false;
  Loader::LoadDone held_load_;
  std::function<void()> over_;      // of the last load
  std::function<void()> given_up_;  // of the last one that was given up
  Loader::UnloadDone held_unload_;
  Loader::EstimateDone held_estimate_;
  std::optional<LoadOutcome> load_answer_;
  std::optional<Status> unload_answer_;
  // Record:
  bool alive_ = false;
  bool loading_ = false;
  bool loaded_ = false;
  bool unloading_ = false;
  bool unloaded_ = false;
  bool cancelled_ = false;
  bool loads_forbidden_ = false;
  int loads_ = 0;
  int unloads_ = 0;
  int cancels_ = 0;
  int estimates_ = 0;
  ResourceAllocation reserved_;
  bool destroyed_ = false;
  std::vector<int> attempts_;
  std::thread::id load_thread_;
  std::thread::id unload_thread_;
  std::thread::id destroy_thread_;
  std::vector<std::thread> threads_;
};

using ProbePtr = std::shared_ptr<LoaderProbe>;

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_LOADER_H_
