// Loads, retries, drains and unloads of BasicManager.
#include <algorithm>
#include <cassert>
#include <utility>

#include "core/basic_manager.h"
#include "core/managed_version.h"

namespace aspired {

// ----------------------------------------------------------------- loading

void BasicManager::DispatchLocked(const ManagedPtr& m, Work work) {
  effects_.Push(
      [self = shared_from_this(), m, work, attempt = m->harness.attempts()] {
        if (!m->harness.loader()->Blocks()) {
          self->CallLoader(m, work, attempt);
          return;
        }
        WorkThreads& threads =
            work == Work::kLoad ? *self->load_threads_ : *self->unload_threads_;
        threads.Schedule(
            [self, m, work, attempt] { self->CallLoader(m, work, attempt); });
      });
}

void BasicManager::CallLoader(const ManagedPtr& m, Work work, int attempt) {
  const auto self = shared_from_this();
  const SelfMemory self_memory = ReadSelf();
  if (work == Work::kUnload) {
    {
      std::lock_guard<std::mutex> lock(mu_);
      BeginWorkLocked(m, work, self_memory);
    }
    m->harness.loader()->Unload([self, m](Status outcome) {
      self->OnUnloadDone(m, std::move(outcome));
    });
    return;
  }
  LoadContext context{m->id(), attempt};
  uint64_t run = 0;
  {
    std::unique_lock<std::mutex> lock(mu_);
    if (m->harness.cancelled() || IsTerminal(m->harness.state())) {
      // Cancelled, or abandoned, between its admission and its thread:
      // CancelLoad() of the loader came too early to be heard, so the loader is
      // not called at all.
      lock.unlock();
      OnLoadDone(m, run,
                 {Status(ErrorCode::kLoadCancelled,
                         m->id().ToString() + " was dropped"),
                  /*retriable=*/false});
      return;
    }
    BeginWorkLocked(m, work, self_memory);
    if (m->account) context.reserved = m->account->reserved;
    run = next_run_++;
  }
  // Weak: it may never come.
  context.over = [weak = weak_from_this(), run] {
    if (const auto manager = weak.lock()) manager->OnLoadOver(run);
  };
  m->harness.loader()->Load(context, [self, m, run](LoadOutcome outcome) {
    self->OnLoadDone(m, run, std::move(outcome));
  });
}

// `run`: of next_run_; 0: the loader was not called.
void BasicManager::OnLoadDone(const ManagedPtr& m, uint64_t run,
                              LoadOutcome outcome) {
  if (!outcome.status.ok() && outcome.retriable && options_.should_retry) {
    outcome.retriable = options_.should_retry(outcome.status, m->id());
  }
  const SelfMemory self_memory = ReadSelf();
  bool came_late = false;
  {
    std::lock_guard<std::mutex> lock(mu_);
    --loads_under_way_;
    if (outcome.given_up && m->account && !m->account->reserved.empty()) {
      GiveUpLocked(m, run);
    } else {
      EndLoadLocked(m, self_memory);
    }
    if (IsTerminal(m->harness.state())) {
      came_late = outcome.status.ok();  // abandoned meanwhile
    } else {
      const auto verdict = m->harness.FinishAttempt(
          outcome, m->load_options.max_num_load_retries.value_or(
                       options_.retry.max_num_load_retries));
      switch (verdict) {
        case LoaderHarness::Verdict::kReady:
          SettleAccountLocked(m);
          if (options_.readers != nullptr) {
            effects_.Push([readers = options_.readers, m] {
              readers->Open(m->id(), *m->harness.loader());
            });
          }
          PublishLocked(*m, ManagerState::kAvailable, Status::Ok());
          CompleteLocked(m->load_done, Status::Ok());
          break;
        case LoaderHarness::Verdict::kRetry:
          // The reservation stays: the pause is short, and the retry is part
          // of the load. (That of one that was given up is not its own.)
          if (m->account) ledger_->ForgetMeasured(m->account.get());
          ScheduleRetryLocked(m, m->harness.attempts());
          break;
        case LoaderHarness::Verdict::kUnloadCancelled:
          QueueUnloadLocked(m);
          break;
        case LoaderHarness::Verdict::kFailed:
        case LoaderHarness::Verdict::kCancelled:
          ReleaseLocked(m);
          EndLocked(m, m->harness.status());
          break;
      }
    }
    AdmitLoadsLocked();
  }
  Flush();
  if (options_.wake) options_.wake();
  // A servable that nobody waits for is not leaked. Here, because there may be
  // no unload thread any more; not as an effect, because it may block.
  if (came_late) m->harness.loader()->Unload([m](Status) {});
}

// The next attempt of `m` may begin before this one is over, and both have
// memory then: it needs another reservation. REQUIRES: `m` has one.
void BasicManager::GiveUpLocked(const ManagedPtr& m, uint64_t run) {
  auto next = ResourceAccount::For(m->id().name);
  next->estimated = m->account->estimated;
  // Its work goes on, so what the process grows by is also its own.
  given_up_.insert_or_assign(run, GivenUp{m->id(), std::move(m->account)});
  m->account = std::move(next);
}

void BasicManager::OnLoadOver(uint64_t run) {
  const SelfMemory self_memory = ReadSelf();
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto node = given_up_.extract(run);
    if (node.empty()) return;
    ResourceAccount* const account = node.mapped().second.get();
    reading_wanted_ = true;  // it shows what came back
    ledger_->EndLoad(account, self_memory);
    ledger_->Release(account);
    MemoryChangedLocked();
    AdmitLoadsLocked();
  }
  Flush();
  if (options_.wake) options_.wake();
}

void BasicManager::ScheduleRetryLocked(const ManagedPtr& m, int failures) {
  const double random = std::uniform_real_distribution<double>(0, 1)(random_);
  const auto pause = options_.retry.quick.After(failures, random);
  if (pause.count() <= 0) {
    RetryLocked(m);
    return;
  }
  m->retry_due = options_.clock->Now() + pause;
  retries_.emplace(*m->retry_due, m);
}

void BasicManager::RetryLocked(const ManagedPtr& m) {
  const bool before_first = m->harness.state() == HarnessState::kLoadRequested;
  if (before_first) {
    StartEstimateLocked(m);
  } else {
    // Behind the others: one that fails all the time stops nobody.
    m->age = next_age_++;
    EnqueueLoadLocked(m);
  }
}

Status BasicManager::CancelLoad(const ServableId& id) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr) return NotManaged(id);
  if (m->harness.cancelled()) return Status::Ok();
  if (Status s = m->harness.CancelLoad(); !s.ok()) return s;
  if (IsTerminal(m->harness.state())) {
    // Its place in the load queue is skipped, its pause ends here.
    if (m->retry_due) {
      auto [begin, end] = retries_.equal_range(*m->retry_due);
      auto it = std::find_if(begin, end,
                             [&m](const auto& e) { return e.second == m; });
      if (it != end) retries_.erase(it);
      m->retry_due.reset();
    }
    ReleaseLocked(m);
    EndLocked(m, Status(ErrorCode::kLoadCancelled,
                        id.ToString() + " was dropped before it was loaded"));
  } else {
    effects_.Push([m = std::move(m)] { m->harness.loader()->CancelLoad(); });
  }
  return Status::Ok();
}

// --------------------------------------------------------------- unloading

void BasicManager::UnloadServable(const ServableId& id, UnloadOptions options,
                                  Done done) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr) return CompleteLocked(done, NotManaged(id));
  if (m->harness.state() == HarnessState::kError) {
    return CompleteLocked(done, m->harness.status());
  }
  if (Status s = m->harness.UnloadRequested(); !s.ok()) {
    return CompleteLocked(done, std::move(s));
  }
  m->unload_done = std::move(done);
  m->keep_drained = options.keep_drained;
  m->verdict = std::move(options.verdict);
  if (!m->keep_drained) {
    SetPhaseLocked(m, ResourceAccount::Phase::kLeaving);
  }
  Status s = m->harness.StartQuiescing();
  assert(s.ok());
  m->epoch = ++last_epoch_;
  PublishLocked(*m, ManagerState::kUnloading, Status::Ok());
  if (options_.readers == nullptr) {
    s = m->harness.DoneQuiescing();
    assert(s.ok());
    DrainedLocked(m);
    return;
  }
  effects_.Push([readers = options_.readers, m, epoch = m->epoch] {
    readers->Close(m->id(), *m->harness.loader(), epoch);
  });
}

Status BasicManager::RevokeUnload(const ServableId& id) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr) return NotManaged(id);
  const bool is_queued =
      m->harness.state() == HarnessState::kQuiesced && !m->standby;
  if (is_queued || !m->verdict.ok()) {
    return Status(ErrorCode::kIllegalTransition,
                  id.ToString() + " is on its way out");
  }
  const Managed before(id, nullptr, m->harness.incarnation());
  if (Status s = m->harness.RevokeUnload(next_incarnation_); !s.ok()) return s;
  ++next_incarnation_;
  m->epoch = ++last_epoch_;
  m->keep_drained = false;
  if (std::exchange(m->standby, false)) std::erase(standbys_, m);
  SetPhaseLocked(m, ResourceAccount::Phase::kResident);
  // Its Unloading was published: the old incarnation ends, a new one begins,
  // and neither goes backwards.
  PublishLocked(before, ManagerState::kEnd, Status::Ok());
  PublishLocked(*m, ManagerState::kStart, Status::Ok());
  CompleteLocked(m->unload_done,
                 Status(ErrorCode::kLoadCancelled,
                        "The unload of " + id.ToString() + " was revoked"));
  if (options_.readers != nullptr) {
    effects_.Push([readers = options_.readers, m] {
      readers->Open(m->id(), *m->harness.loader());
    });
  }
  PublishLocked(*m, ManagerState::kAvailable, Status::Ok());
  return Status::Ok();
}

void BasicManager::Drained(const ServableId& id, uint64_t epoch) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    ManagedPtr m = FindLocked(id);
    if (m == nullptr || m->epoch != epoch) return;
    if (!m->harness.DoneQuiescing().ok()) return;
    DrainedLocked(m);
  }
  Flush();
}

void BasicManager::QueueUnloadLocked(const ManagedPtr& m) {
  SetPhaseLocked(m, ResourceAccount::Phase::kLeaving);
  unload_queue_.push_back(m);
  AdmitUnloadsLocked();
}

void BasicManager::AdmitUnloadsLocked() {
  while (!stopped_ && !unload_queue_.empty() &&
         unloads_under_way_ < unload_threads_->concurrency()) {
    ManagedPtr m = std::move(unload_queue_.front());
    unload_queue_.pop_front();
    if (m->harness.state() == HarnessState::kQuiesced) {
      Status s = m->harness.StartUnloading();
      assert(s.ok());
    } else if (m->harness.state() != HarnessState::kUnloading) {
      effects_.Push([m = std::move(m)] {});  // abandoned while it waited
      continue;
    }
    ++unloads_under_way_;
    DispatchLocked(m, Work::kUnload);
  }
}

void BasicManager::OnUnloadDone(const ManagedPtr& m, Status outcome) {
  const SelfMemory self_memory = ReadSelf();
  bool wake = false;
  {
    std::lock_guard<std::mutex> lock(mu_);
    --unloads_under_way_;
    EndUnloadLocked(m, self_memory);
    if (outcome.ok()) outcome = m->verdict;
    const bool was_cancelled = m->harness.cancelled();
    if (m->harness.FinishUnloading(outcome).ok()) {
      if (was_cancelled && outcome.ok()) {
        outcome = Status(ErrorCode::kLoadCancelled,
                         m->id().ToString() +
                             " was dropped while it was loading; it was never "
                             "visible");
      }
      EndLocked(m, std::move(outcome));
    }
    AdmitUnloadsLocked();
    AdmitLoadsLocked();
    wake = load_queue_.has_waiting();
  }
  Flush();
  if (wake && options_.wake) options_.wake();
}

}  // namespace aspired
