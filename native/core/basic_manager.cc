#include "core/basic_manager.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace aspired {

// One managed version. Guarded by mu_, but for `id` and the loader's own calls.
struct BasicManager::Managed {
  Managed(ServableId id, std::unique_ptr<Loader> loader, uint64_t incarnation)
      : harness(std::move(id), std::move(loader), incarnation) {}

  const ServableId& id() const { return harness.id(); }

  LoaderHarness harness;
  Done load_done;
  Done unload_done;
  // Counts Close() calls, so that a late Drained() is told from a present one.
  uint64_t epoch = 0;
  std::optional<TimePoint> retry_due;
};

std::shared_ptr<BasicManager> BasicManager::Create(Options options) {
  return std::shared_ptr<BasicManager>(new BasicManager(std::move(options)));
}

BasicManager::BasicManager(Options options)
    : options_(std::move(options)),
      load_threads_(std::make_shared<WorkThreads>(
          "aspired-load", options_.num_load_threads, options_.wake)),
      unload_threads_(std::make_shared<WorkThreads>(
          "aspired-unload", options_.num_unload_threads, options_.wake)),
      random_(static_cast<uint32_t>(options_.random_seed)) {
  assert(options_.clock != nullptr);
}

BasicManager::~BasicManager() { Shutdown(std::nullopt); }

// ---------------------------------------------------------------- managing

Status BasicManager::ManageServable(const ServableId& id,
                                    std::unique_ptr<Loader>& loader) {
  std::lock_guard<std::mutex> lock(mu_);
  return ManageLocked(id, loader, Status::Ok());
}

Status BasicManager::ManageServableWithError(const ServableId& id,
                                             Status error,
                                             std::unique_ptr<Loader>& loader) {
  assert(!error.ok());
  std::lock_guard<std::mutex> lock(mu_);
  return ManageLocked(id, loader, error);
}

Status BasicManager::ManageLocked(const ServableId& id,
                                  std::unique_ptr<Loader>& loader,
                                  const Status& error) {
  auto& versions = streams_[id.name];
  auto it = std::lower_bound(
      versions.begin(), versions.end(), id.version,
      [](const ManagedPtr& m, int64_t v) { return m->id().version < v; });
  if (it != versions.end() && (*it)->id().version == id.version) {
    return Status(ErrorCode::kAlreadyManaged,
                  id.ToString() + " is already being managed");
  }
  auto m = std::make_shared<Managed>(id, std::move(loader), next_incarnation_++);
  versions.insert(it, m);
  ++num_managed_;
  if (error.ok()) {
    PublishLocked(*m, ManagerState::kStart, Status::Ok());
  } else {
    Status s = m->harness.Error(error);
    assert(s.ok());
    PublishLocked(*m, ManagerState::kEnd, error);
  }
  return Status::Ok();
}

Status BasicManager::StopManagingServable(const ServableId& id,
                                          std::unique_ptr<Loader>* loader) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr) return NotManaged(id);
  const HarnessState state = m->harness.state();
  if (state != HarnessState::kNew && !IsTerminal(state)) {
    return Status(ErrorCode::kIllegalTransition,
                  id.ToString() + " cannot be forgotten while it is " +
                      std::string(Name(state)));
  }
  if (state == HarnessState::kNew) {
    PublishLocked(*m, ManagerState::kEnd,
                  Status(ErrorCode::kLoadCancelled,
                         id.ToString() + " was dropped before its load"));
  }
  if (loader != nullptr) *loader = m->harness.TakeLoader();
  auto stream = streams_.find(id.name);
  std::erase(stream->second, m);
  if (stream->second.empty()) streams_.erase(stream);
  --num_managed_;
  // The loader's destructor is foreign code: not under the lock.
  effects_.Push([m = std::move(m)]() mutable { m.reset(); });
  return Status::Ok();
}

BasicManager::ManagedPtr BasicManager::FindLocked(const ServableId& id) const {
  auto stream = streams_.find(id.name);
  if (stream == streams_.end()) return nullptr;
  const auto& versions = stream->second;
  auto it = std::lower_bound(
      versions.begin(), versions.end(), id.version,
      [](const ManagedPtr& m, int64_t v) { return m->id().version < v; });
  if (it == versions.end() || (*it)->id().version != id.version) return nullptr;
  return *it;
}

Status BasicManager::NotManaged(const ServableId& id) const {
  return Status(ErrorCode::kServableNotManaged,
                id.ToString() + " is not being managed");
}

void BasicManager::PublishLocked(const Managed& m, ManagerState state,
                                 Status health) {
  if (options_.bus == nullptr) return;
  effects_.Push([bus = options_.bus,
                 event = ServableState{m.id(), state, std::move(health),
                                       m.harness.incarnation(),
                                       options_.clock->WallMillis()}] {
    bus->Publish(event);
  });
}

void BasicManager::CompleteLocked(Done& done, Status status) {
  if (!done) return;
  effects_.Push([done = std::exchange(done, nullptr),
                 status = std::move(status)] { done(status); });
}

void BasicManager::EndLocked(const ManagedPtr& m, Status health) {
  PublishLocked(*m, ManagerState::kEnd, health);
  CompleteLocked(m->load_done, health);
  CompleteLocked(m->unload_done, std::move(health));
}

// ----------------------------------------------------------------- loading

void BasicManager::LoadServable(const ServableId& id, Done done) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr) return CompleteLocked(done, NotManaged(id));
  if (m->harness.state() == HarnessState::kError) {
    return CompleteLocked(done, m->harness.status());
  }
  if (Status s = m->harness.LoadRequested(); !s.ok()) {
    return CompleteLocked(done, std::move(s));
  }
  m->load_done = std::move(done);
  load_queue_.push_back(std::move(m));
  AdmitLoadsLocked();
}

void BasicManager::AdmitLoadsLocked() {
  while (!stopped_ && !load_queue_.empty() &&
         loads_under_way_ < load_threads_->concurrency()) {
    ManagedPtr m = std::move(load_queue_.front());
    load_queue_.pop_front();
    // Cancelled while it waited.
    if (IsTerminal(m->harness.state())) continue;
    if (m->harness.state() == HarnessState::kLoadRequested) {
      Status s = m->harness.LoadApproved();
      assert(s.ok());
      PublishLocked(*m, ManagerState::kLoading, Status::Ok());
    }
    Status s = m->harness.StartAttempt();
    assert(s.ok());
    ++loads_under_way_;
    DispatchLocked(m, Work::kLoad);
  }
}

void BasicManager::DispatchLocked(const ManagedPtr& m, Work work) {
  effects_.Push([self = shared_from_this(), m, work,
                 attempt = m->harness.attempts()] {
    if (!m->harness.loader()->Blocks()) {
      self->CallLoader(m, work, attempt);
      return;
    }
    WorkThreads& threads =
        work == Work::kLoad ? *self->load_threads_ : *self->unload_threads_;
    threads.Schedule([self, m, work, attempt] {
      self->CallLoader(m, work, attempt);
    });
  });
}

void BasicManager::CallLoader(const ManagedPtr& m, Work work, int attempt) {
  const auto self = shared_from_this();
  if (work == Work::kUnload) {
    m->harness.loader()->Unload(
        [self, m](Status outcome) { self->OnUnloadDone(m, std::move(outcome)); });
    return;
  }
  {
    std::unique_lock<std::mutex> lock(mu_);
    if (m->harness.cancelled()) {
      // Cancelled between its admission and its thread: CancelLoad() of the
      // loader came too early to be heard, so the loader is not called at all.
      lock.unlock();
      OnLoadDone(m, {Status(ErrorCode::kLoadCancelled,
                            m->id().ToString() + " was dropped")});
      return;
    }
  }
  m->harness.loader()->Load({m->id(), attempt}, [self, m](LoadOutcome outcome) {
    self->OnLoadDone(m, std::move(outcome));
  });
}

void BasicManager::OnLoadDone(const ManagedPtr& m, LoadOutcome outcome) {
  if (!outcome.status.ok() && outcome.retriable && options_.should_retry) {
    outcome.retriable = options_.should_retry(outcome.status, m->id());
  }
  {
    std::lock_guard<std::mutex> lock(mu_);
    --loads_under_way_;
    if (IsTerminal(m->harness.state())) {
      // Abandoned meanwhile. A servable that came all the same is not leaked.
      if (outcome.status.ok()) {
        effects_.Push([m] { m->harness.loader()->Unload([m](Status) {}); });
      }
    } else {
      const auto verdict = m->harness.FinishAttempt(
          outcome, options_.retry.max_num_load_retries);
      switch (verdict) {
        case LoaderHarness::Verdict::kReady:
          if (options_.readers != nullptr) {
            effects_.Push([readers = options_.readers, m] {
              readers->Open(m->id(), *m->harness.loader());
            });
          }
          PublishLocked(*m, ManagerState::kAvailable, Status::Ok());
          CompleteLocked(m->load_done, Status::Ok());
          break;
        case LoaderHarness::Verdict::kRetry:
          ScheduleRetryLocked(m);
          break;
        case LoaderHarness::Verdict::kUnloadCancelled:
          QueueUnloadLocked(m);
          break;
        case LoaderHarness::Verdict::kFailed:
        case LoaderHarness::Verdict::kCancelled:
          EndLocked(m, m->harness.status());
          break;
      }
    }
    AdmitLoadsLocked();
  }
  Flush();
  if (options_.wake) options_.wake();
}

void BasicManager::ScheduleRetryLocked(const ManagedPtr& m) {
  const double random =
      std::uniform_real_distribution<double>(0, 1)(random_);
  const auto pause =
      options_.retry.quick.After(m->harness.attempts(), random);
  if (pause.count() <= 0) {
    load_queue_.push_back(m);
    return;
  }
  m->retry_due = options_.clock->Now() + pause;
  retries_.emplace(*m->retry_due, m);
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
    EndLocked(m, Status(ErrorCode::kLoadCancelled,
                        id.ToString() + " was dropped before it was loaded"));
  } else {
    effects_.Push([m = std::move(m)] { m->harness.loader()->CancelLoad(); });
  }
  return Status::Ok();
}

// --------------------------------------------------------------- unloading

void BasicManager::UnloadServable(const ServableId& id, Done done) {
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
  Status s = m->harness.StartQuiescing();
  assert(s.ok());
  ++m->epoch;
  PublishLocked(*m, ManagerState::kUnloading, Status::Ok());
  if (options_.readers == nullptr) {
    s = m->harness.DoneQuiescing();
    assert(s.ok());
    QueueUnloadLocked(m);
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
  const Managed before(id, nullptr, m->harness.incarnation());
  if (Status s = m->harness.RevokeUnload(next_incarnation_); !s.ok()) return s;
  ++next_incarnation_;
  ++m->epoch;
  // Its Unloading was published: the old incarnation ends, a new one begins,
  // and neither goes backwards.
  PublishLocked(before, ManagerState::kEnd, Status::Ok());
  PublishLocked(*m, ManagerState::kStart, Status::Ok());
  CompleteLocked(m->unload_done,
                 Status(ErrorCode::kLoadCancelled,
                        "The unload of " + id.ToString() + " was revoked"));
  effects_.Push([readers = options_.readers, m] {
    readers->Open(m->id(), *m->harness.loader());
  });
  PublishLocked(*m, ManagerState::kAvailable, Status::Ok());
  return Status::Ok();
}

void BasicManager::Drained(const ServableId& id, uint64_t epoch) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    ManagedPtr m = FindLocked(id);
    if (m == nullptr || m->epoch != epoch) return;
    if (!m->harness.DoneQuiescing().ok()) return;
    QueueUnloadLocked(m);
  }
  Flush();
}

void BasicManager::QueueUnloadLocked(const ManagedPtr& m) {
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
      continue;  // abandoned while it waited
    }
    ++unloads_under_way_;
    DispatchLocked(m, Work::kUnload);
  }
}

void BasicManager::OnUnloadDone(const ManagedPtr& m, Status outcome) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    --unloads_under_way_;
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
  }
  Flush();
}

// ------------------------------------------------------------------ the rest

BasicManager::Snapshot BasicManager::SnapshotOf(const Managed& m) {
  return {m.id().version,        m.harness.state(),     m.harness.incarnation(),
          m.harness.attempts(),  m.harness.retriable(), m.harness.cancelled(),
          m.harness.status(),    m.retry_due};
}

std::vector<std::string> BasicManager::GetManagedServableNames() const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<std::string> names;
  names.reserve(streams_.size());
  for (const auto& [name, versions] : streams_) names.push_back(name);
  return names;
}

std::vector<BasicManager::Snapshot> BasicManager::GetSnapshots(
    const std::string& name) const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<Snapshot> snapshots;
  auto stream = streams_.find(name);
  if (stream == streams_.end()) return snapshots;
  snapshots.reserve(stream->second.size());
  for (const auto& m : stream->second) snapshots.push_back(SnapshotOf(*m));
  return snapshots;
}

std::optional<BasicManager::Snapshot> BasicManager::GetSnapshot(
    const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr) return std::nullopt;
  return SnapshotOf(*m);
}

std::vector<std::pair<int64_t, HarnessState>> BasicManager::GetStates(
    const std::string& name) const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<std::pair<int64_t, HarnessState>> states;
  auto stream = streams_.find(name);
  if (stream == streams_.end()) return states;
  states.reserve(stream->second.size());
  for (const auto& m : stream->second) {
    states.emplace_back(m->id().version, m->harness.state());
  }
  return states;
}

size_t BasicManager::num_managed() const {
  std::lock_guard<std::mutex> lock(mu_);
  return num_managed_;
}

void BasicManager::SetNumLoadThreads(int num_threads) {
  load_threads_->SetNumThreads(num_threads);
  std::lock_guard<std::mutex> lock(mu_);
  AdmitLoadsLocked();
}

void BasicManager::SetNumUnloadThreads(int num_threads) {
  unload_threads_->SetNumThreads(num_threads);
  std::lock_guard<std::mutex> lock(mu_);
  AdmitUnloadsLocked();
}

void BasicManager::Flush() { effects_.Drain(); }

void BasicManager::Pump() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    const TimePoint now = options_.clock->Now();
    while (!retries_.empty() && retries_.begin()->first <= now) {
      ManagedPtr m = std::move(retries_.begin()->second);
      retries_.erase(retries_.begin());
      m->retry_due.reset();
      load_queue_.push_back(std::move(m));
    }
    AdmitLoadsLocked();
  }
  Flush();
  // Unloads first: they free what a load may need.
  bool any = true;
  while (any) {
    any = unload_threads_->RunInline();
    any |= load_threads_->RunInline();
  }
}

std::optional<TimePoint> BasicManager::NextRetryDue() const {
  std::lock_guard<std::mutex> lock(mu_);
  if (retries_.empty()) return std::nullopt;
  return retries_.begin()->first;
}

std::vector<ServableId> BasicManager::AbandonAll(const std::string& reason) {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<ServableId> abandoned;
  for (const auto& [name, versions] : streams_) {
    for (const auto& m : versions) {
      if (IsTerminal(m->harness.state())) continue;
      const Status status(ErrorCode::kAbandoned,
                          m->id().ToString() + " was " +
                              std::string(Name(m->harness.state())) + " " +
                              reason);
      Status s = m->harness.Error(status);
      assert(s.ok());
      EndLocked(m, status);
      abandoned.push_back(m->id());
    }
  }
  retries_.clear();
  return abandoned;
}

int BasicManager::Shutdown(std::optional<Duration> wait) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    load_queue_.clear();
    unload_queue_.clear();
    retries_.clear();
  }
  return load_threads_->Shutdown(wait) + unload_threads_->Shutdown(wait);
}

}  // namespace aspired
