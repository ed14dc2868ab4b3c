// LoaderHarness: the state machine of one incarnation of one version, and the
// owner of its loader.
//
// It decides, it does not act: it calls no loader, takes no lock, knows no
// clock. The manager asks it what a finished attempt means and does that.
// Legal transitions are those of harness_state.h; an illegal one returns an
// error and changes nothing.
//
// Not thread-safe: guarded by the mutex of the manager that owns it.
//
// Source: TensorFlow Serving, core/loader_harness.h. There the retry predicate
// doubles as a cancel flag and an illegal transition ends the process; here
// cancelling is a fact of its own.
#ifndef ASPIRED_CORE_LOADER_HARNESS_H_
#define ASPIRED_CORE_LOADER_HARNESS_H_

#include <cstdint>
#include <memory>

#include "core/harness_state.h"
#include "core/loader.h"
#include "core/servable_id.h"
#include "core/status.h"

namespace aspired {

class LoaderHarness {
 public:
  // What a finished attempt means.
  enum class Verdict {
    kReady,            // state Ready: open it to readers
    kRetry,            // state Loading: try again after a pause
    kFailed,           // state Error
    kUnloadCancelled,  // state Unloading: it loaded, but nobody wants it
    kCancelled,        // state Disabled
  };

  // `loader` may be null: a version that exists only to carry an error.
  LoaderHarness(ServableId id, std::unique_ptr<Loader> loader,
                uint64_t incarnation);

  const ServableId& id() const { return id_; }
  HarnessState state() const { return state_; }
  Loader* loader() const { return loader_.get(); }
  uint64_t incarnation() const { return incarnation_; }
  // Attempts that were begun.
  int attempts() const { return attempts_; }
  bool cancelled() const { return cancelled_; }
  // Why it ended, or why its last attempt failed; OK otherwise.
  const Status& status() const { return status_; }
  // False when the last failure said that a retry is pointless.
  bool retriable() const { return retriable_; }

  // New -> LoadRequested; ERR_DUPLICATE_LOAD_REQUEST in any other state.
  Status LoadRequested();
  // LoadRequested -> LoadApproved.
  Status LoadApproved();
  // LoadApproved -> Loading, and each further attempt within Loading.
  Status StartAttempt();
  // Takes the outcome of the attempt. A cancelled load never becomes Ready.
  // REQUIRES: state Loading, an attempt under way.
  Verdict FinishAttempt(const LoadOutcome& outcome, int max_num_load_retries);

  // The load is no longer wanted. Before the first attempt and between two
  // attempts the state is Disabled at once; during one it stays Loading and
  // FinishAttempt() will say the rest. An error in any other state.
  Status CancelLoad();

  // Ready -> UnloadRequested; ERR_DUPLICATE_UNLOAD_REQUEST otherwise.
  Status UnloadRequested();
  // UnloadRequested -> Quiescing.
  Status StartQuiescing();
  // UnloadRequested, Quiescing or Quiesced -> Ready, as a new incarnation.
  Status RevokeUnload(uint64_t incarnation);
  // Quiescing -> Quiesced.
  Status DoneQuiescing();
  // Quiesced -> Unloading.
  Status StartUnloading();
  // Unloading -> Disabled, or Error when the unload failed.
  Status FinishUnloading(const Status& outcome);

  // Any state that is not terminal -> Error.
  Status Error(Status status);
  // The same for a load that failed before its first attempt.
  Status Fail(Status status, bool retriable);

  // REQUIRES: a terminal state or New.
  std::unique_ptr<Loader> TakeLoader() { return std::move(loader_); }

 private:
  Status TransitionTo(HarnessState next);

  const ServableId id_;
  std::unique_ptr<Loader> loader_;
  Status status_;
  uint64_t incarnation_;
  int attempts_ = 0;
  HarnessState state_ = HarnessState::kNew;
  bool attempt_under_way_ = false;
  bool cancelled_ = false;
  bool retriable_ = true;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_LOADER_HARNESS_H_
