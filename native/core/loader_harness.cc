#include "core/loader_harness.h"

#include <string>
#include <utility>

namespace aspired {

LoaderHarness::LoaderHarness(ServableId id, std::unique_ptr<Loader> loader,
                             uint64_t incarnation)
    : id_(std::move(id)),
      loader_(std::move(loader)),
      incarnation_(incarnation) {}

Status LoaderHarness::TransitionTo(HarnessState next) {
  if (!IsLegal(state_, next)) {
    return Status(ErrorCode::kIllegalTransition,
                  id_.ToString() + " cannot go from " +
                      std::string(Name(state_)) + " to " +
                      std::string(Name(next)));
  }
  state_ = next;
  return Status::Ok();
}

Status LoaderHarness::LoadRequested() {
  if (state_ != HarnessState::kNew) {
    return Status(ErrorCode::kDuplicateLoadRequest,
                  "Duplicate load request for " + id_.ToString() + ": it is " +
                      std::string(Name(state_)));
  }
  return TransitionTo(HarnessState::kLoadRequested);
}

Status LoaderHarness::LoadApproved() {
  return TransitionTo(HarnessState::kLoadApproved);
}

Status LoaderHarness::StartAttempt() {
  const bool another = state_ == HarnessState::kLoading && !attempt_under_way_;
  if (!another) {
    if (Status s = TransitionTo(HarnessState::kLoading); !s.ok()) return s;
  }
  attempt_under_way_ = true;
  ++attempts_;
  return Status::Ok();
}

LoaderHarness::Verdict LoaderHarness::FinishAttempt(const LoadOutcome& outcome,
                                                    int max_num_load_retries) {
  attempt_under_way_ = false;
  status_ = outcome.status;
  if (cancelled_) {
    if (outcome.status.ok()) {
      state_ = HarnessState::kUnloading;
      return Verdict::kUnloadCancelled;
    }
    state_ = HarnessState::kDisabled;
    return Verdict::kCancelled;
  }
  if (outcome.status.ok()) {
    state_ = HarnessState::kReady;
    return Verdict::kReady;
  }
  retriable_ = outcome.retriable;
  if (retriable_ && attempts_ <= max_num_load_retries) return Verdict::kRetry;
  state_ = HarnessState::kError;
  return Verdict::kFailed;
}

Status LoaderHarness::CancelLoad() {
  switch (state_) {
    case HarnessState::kNew:
    case HarnessState::kLoadRequested:
    case HarnessState::kLoadApproved:
      cancelled_ = true;
      return TransitionTo(HarnessState::kDisabled);
    case HarnessState::kLoading:
      cancelled_ = true;
      return attempt_under_way_ ? Status::Ok()
                                : TransitionTo(HarnessState::kDisabled);
    default:
      return Status(ErrorCode::kIllegalTransition,
                    id_.ToString() + " is not loading: it is " +
                        std::string(Name(state_)));
  }
}

Status LoaderHarness::UnloadRequested() {
  if (state_ != HarnessState::kReady) {
    return Status(ErrorCode::kDuplicateUnloadRequest,
                  id_.ToString() +
                      " is not loaded, or its unload was requested already: "
                      "it is " +
                      std::string(Name(state_)));
  }
  return TransitionTo(HarnessState::kUnloadRequested);
}

Status LoaderHarness::StartQuiescing() {
  return TransitionTo(HarnessState::kQuiescing);
}

Status LoaderHarness::RevokeUnload(uint64_t incarnation) {
  // Loading -> Ready is legal too, but not by this way.
  if (state_ != HarnessState::kUnloadRequested &&
      state_ != HarnessState::kQuiescing && state_ != HarnessState::kQuiesced) {
    return Status(ErrorCode::kIllegalTransition,
                  id_.ToString() + " has no unload to revoke: it is " +
                      std::string(Name(state_)));
  }
  incarnation_ = incarnation;
  return TransitionTo(HarnessState::kReady);
}

Status LoaderHarness::DoneQuiescing() {
  return TransitionTo(HarnessState::kQuiesced);
}

Status LoaderHarness::StartUnloading() {
  // Loading -> Unloading belongs to FinishAttempt().
  if (state_ != HarnessState::kQuiesced) {
    return Status(ErrorCode::kIllegalTransition,
                  id_.ToString() + " is not quiesced: it is " +
                      std::string(Name(state_)));
  }
  return TransitionTo(HarnessState::kUnloading);
}

Status LoaderHarness::FinishUnloading(const Status& outcome) {
  if (state_ != HarnessState::kUnloading) {
    return Status(ErrorCode::kIllegalTransition,
                  id_.ToString() + " is not unloading: it is " +
                      std::string(Name(state_)));
  }
  status_ = outcome;
  return TransitionTo(outcome.ok() ? HarnessState::kDisabled
                                   : HarnessState::kError);
}

Status LoaderHarness::Error(Status status) {
  if (Status s = TransitionTo(HarnessState::kError); !s.ok()) return s;
  status_ = std::move(status);
  return Status::Ok();
}

Status LoaderHarness::Fail(Status status, bool retriable) {
  if (Status s = Error(std::move(status)); !s.ok()) return s;
  retriable_ = retriable;
  return Status::Ok();
}

}  // namespace aspired
