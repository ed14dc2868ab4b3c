// What is managed, and the rest of the surface. Loads and unloads are in
// load_and_unload.cc.
#include "core/basic_manager.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/managed_version.h"

namespace aspired {

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
  if (options_.limits) ledger_.emplace(*options_.limits);
}

BasicManager::~BasicManager() { Shutdown(std::nullopt); }

// ---------------------------------------------------------------- managing

Status BasicManager::ManageServable(const ServableId& id,
                                    std::unique_ptr<Loader>& loader) {
  std::lock_guard<std::mutex> lock(mu_);
  return ManageLocked(id, loader, Status::Ok());
}

Status BasicManager::ManageServableWithError(const ServableId& id, Status error,
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
  auto m =
      std::make_shared<Managed>(id, std::move(loader), next_incarnation_++);
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
  // One that was never called is free at once, though a queue may still hold
  // the version. Of one that was called and will not be again, effects and late
  // answers may still speak: it dies with the version, behind them.
  std::unique_ptr<Loader> taken;
  const bool untouched = m->harness.attempts() == 0 && !m->estimating;
  const bool may_be_called = m->harness.cancelled() || m->abandoned;
  if (untouched || (loader != nullptr && !may_be_called)) {
    taken = m->harness.TakeLoader();
  }
  if (loader != nullptr) *loader = std::move(taken);
  ReleaseLocked(m);
  auto stream = streams_.find(id.name);
  std::erase(stream->second, m);
  if (stream->second.empty()) streams_.erase(stream);
  --num_managed_;
  // The loader's destructor is foreign code: not under the lock.
  effects_.Push([m = std::move(m),
                 l = std::shared_ptr<Loader>(std::move(taken))]() mutable {
    l.reset();
    m.reset();
  });
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
                 event = ServableState{
                     m.id(), state, std::move(health), m.harness.incarnation(),
                     options_.clock->WallMillis()}] { bus->Publish(event); });
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

// ------------------------------------------------------------------ the rest

BasicManager::Snapshot BasicManager::SnapshotOf(const Managed& m) {
  return {m.id().version,          m.harness.state(),
          m.harness.incarnation(), m.harness.attempts(),
          m.harness.retriable(),   m.harness.cancelled(),
          m.harness.status(),      m.retry_due,
          m.keep_drained,          m.standby};
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
    if (m->standby || m->keep_drained) continue;
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

bool BasicManager::PumpOnce() {
  ObserveMemory();
  {
    std::lock_guard<std::mutex> lock(mu_);
    const TimePoint now = options_.clock->Now();
    while (!retries_.empty() && retries_.begin()->first <= now) {
      ManagedPtr m = std::move(retries_.begin()->second);
      retries_.erase(retries_.begin());
      m->retry_due.reset();
      RetryLocked(m);
    }
    AdmitLoadsLocked();
  }
  Flush();
  // Unloads first: they free what a load may need.
  const bool unloaded = unload_threads_->RunInline();
  return load_threads_->RunInline(1) || unloaded;
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
      m->abandoned = true;
      m->standby = m->keep_drained = false;
      m->retry_due.reset();
      EndLocked(m, status);
      abandoned.push_back(m->id());
    }
  }
  retries_.clear();
  standbys_.clear();
  return abandoned;
}

int BasicManager::Shutdown(std::optional<Duration> wait) {
  // Destroyed with no lock held: a loader may go with them.
  std::vector<ManagedPtr> loads;
  std::deque<ManagedPtr> unloads, standbys;
  std::multimap<TimePoint, ManagedPtr> retries;
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    loads = load_queue_.Clear();
    standbys.swap(standbys_);
    unloads.swap(unload_queue_);
    retries.swap(retries_);
  }
  return load_threads_->Shutdown(wait) + unload_threads_->Shutdown(wait);
}

}  // namespace aspired
