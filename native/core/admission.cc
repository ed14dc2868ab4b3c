// Estimates, reservations and standbys of BasicManager: who may load now.
#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include "core/basic_manager.h"
#include "core/managed_version.h"

namespace aspired {
namespace {

bool ShareADevice(const ResourceAllocation& a, const ResourceAllocation& b) {
  for (const auto& x : a.entries) {
    for (const auto& y : b.entries) {
      const bool same_instance = !x.resource.instance || !y.resource.instance ||
                                 *x.resource.instance == *y.resource.instance;
      if (x.resource.device == y.resource.device && same_instance) return true;
    }
  }
  return false;
}

}  // namespace

// ------------------------------------------------------------------ estimates

void BasicManager::LoadServable(const ServableId& id, LoadOptions options,
                                Done done) {
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
  m->load_options = options;
  m->age = next_age_++;
  if (ledger_ && m->harness.loader()->Estimates()) {
    StartEstimateLocked(m);
  } else {
    EnqueueLoadLocked(m);
  }
  AdmitLoadsLocked();
}

void BasicManager::StartEstimateLocked(const ManagedPtr& m) {
  m->estimating = true;
  effects_.Push([self = shared_from_this(), m] {
    m->harness.loader()->EstimateResources(
        m->id(), [self, m](EstimateOutcome outcome) {
          self->OnEstimated(m, std::move(outcome));
        });
  });
}

void BasicManager::OnEstimated(const ManagedPtr& m, EstimateOutcome outcome) {
  if (outcome.status.ok()) {
    // Of the devices only, which never change.
    outcome.status = ledger_->Verify(outcome.estimate);
    outcome.retriable = false;
  } else if (outcome.retriable && options_.should_retry) {
    outcome.retriable = options_.should_retry(outcome.status, m->id());
  }
  {
    std::lock_guard<std::mutex> lock(mu_);
    m->estimating = false;
    if (m->harness.state() != HarnessState::kLoadRequested) {
      // Dropped meanwhile. A loader that goes is foreign code.
      effects_.Push([m] {});
    } else if (!outcome.status.ok()) {
      OnEstimateFailedLocked(m, std::move(outcome));
    } else {
      m->estimated = true;
      m->account = ResourceAccount::For(m->id().name);
      m->account->estimated =
          ledger_->util().Normalize(std::move(outcome.estimate));
      EnqueueLoadLocked(m);
    }
    AdmitLoadsLocked();
  }
  Flush();
  if (options_.wake) options_.wake();
}

void BasicManager::OnEstimateFailedLocked(const ManagedPtr& m,
                                          EstimateOutcome outcome) {
  ++m->estimate_failures;
  const int budget = m->load_options.max_num_load_retries.value_or(
      options_.retry.max_num_load_retries);
  if (outcome.retriable && m->estimate_failures <= budget) {
    ScheduleRetryLocked(m, m->estimate_failures);
    return;
  }
  Status s = m->harness.Fail(outcome.status, outcome.retriable);
  assert(s.ok());
  (void)s;
  EndLocked(m, m->harness.status());
}

void BasicManager::EnqueueLoadLocked(const ManagedPtr& m) {
  const AdmissionKey key{m->load_options.priority, m->age};
  const bool has_estimate =
      m->account != nullptr && !m->account->estimated.empty();
  const bool needs_memory =
      ledger_ && (has_estimate || !footprints_.empty()) &&
      (m->account == nullptr || m->account->reserved.empty());
  if (!needs_memory) return load_queue_.PushFree(key, m);
  ResourceAllocation wanted =
      footprints_.Correct(m->id().name, has_estimate ? m->account->estimated
                                                     : ResourceAllocation());
  wanted = ledger_->util().Normalize(std::move(wanted));
  // Experience may come from a host with other devices.
  std::erase_if(wanted.entries, [this](const auto& entry) {
    return !ledger_->Verify({{entry}}).ok();
  });
  if (wanted.empty()) return load_queue_.PushFree(key, m);
  if (m->account == nullptr) m->account = ResourceAccount::For(m->id().name);
  m->account->requested = m->account->wanted = std::move(wanted);
  // Before it gets its turn: every slot may be taken for long.
  if (const std::string why = ledger_->NeverFits(m->account->estimated);
      !why.empty()) {
    return EndHopelessLocked(m, why);
  }
  m->waiting = true;
  m->waits_since = ledger_->NextResidency();
  load_queue_.PushWaiting(key, m);
  // Memory is read before it is given away.
  if (options_.meter && !ReadingIsFreshLocked() && options_.wake) {
    effects_.Push([wake = options_.wake] { wake(); });
  }
}

// Sets what it may have of what experience makes of its estimate, as things
// are. REQUIRES: it waits.
void BasicManager::BoundLocked(const ManagedPtr& m) {
  if (!m->account->raised()) return;
  ResourceAllocation own;
  for (const ManagedPtr& other : streams_.at(m->id().name)) {
    if (other == m || other->account == nullptr) continue;
    Status s = ledger_->util().Add(other->account->reserved, &own);
    assert(s.ok());
    (void)s;
  }
  ledger_->Bound(m->account.get(), own);
}

// ------------------------------------------------------------------ admission

class BasicManager::Judge final : public AdmissionQueue<ManagedPtr>::Judge {
 public:
  explicit Judge(BasicManager* manager) : manager_(*manager) {}

  Admission Look(const ManagedPtr& m) override {
    if (IsTerminal(m->harness.state())) return Admission::kGone;
    if (!m->waiting) return Admission::kFits;
    ResourceLedger& ledger = *manager_.ledger_;
    manager_.BoundLocked(m);
    if (ledger.Fits(m->account->requested)) return Admission::kFits;
    // By what its loader says: experience may be wrong, and only loads mend it.
    if (const std::string why = ledger.NeverFits(m->account->estimated);
        !why.empty()) {
      never_ = why;
      return Admission::kGone;
    }
    manager_.raised_waits_ |= m->account->raised();
    manager_.MakeRoomLocked(m);
    return Admission::kWaits;
  }
  bool FitsAtRest(const ManagedPtr& m) override {
    // One that has ended waits for nothing, though it is still in the queue.
    return m->waiting &&
           manager_.ledger_->FitsAtRest(m->account->requested, m->waits_since);
  }
  void HeldInVain(const ManagedPtr& m) override {
    m->waits_since = manager_.ledger_->NextResidency();
  }
  bool Compete(const ManagedPtr& a, const ManagedPtr& b) override {
    return a->waiting && b->waiting &&
           ShareADevice(a->account->requested, b->account->requested);
  }
  void Drop(ManagedPtr m) override {
    if (!IsTerminal(m->harness.state())) manager_.EndHopelessLocked(m, never_);
    // Its loader may die with it, and that is foreign code: not under the
    // lock.
    manager_.effects_.Push([m = std::move(m)] {});
  }

 private:
  BasicManager& manager_;
  std::string never_;
};

void BasicManager::EndHopelessLocked(const ManagedPtr& m,
                                     const std::string& why) {
  ReleaseLocked(m);
  Status s =
      m->harness.Fail(Status(ErrorCode::kResourceExhausted,
                             m->id().ToString() + " can never fit: " + why),
                      /*retriable=*/true);
  assert(s.ok());
  (void)s;
  EndLocked(m, m->harness.status());
}

void BasicManager::AdmitLoadsLocked() {
  const TimePoint now = options_.clock->Now();
  Judge judge(this);
  while (!stopped_ && loads_under_way_ < load_threads_->concurrency()) {
    const bool look = load_queue_.has_waiting() && ReadingIsFreshLocked();
    const bool looks = look && load_queue_.wants_look(now);
    const bool all = load_queue_.changed();
    if (look && all) raised_waits_ = false;
    auto next = load_queue_.Take(look, now, judge);
    if (looks) NoteLookLocked(all);
    if (!next) break;
    StartLoadLocked(*next);
  }
}

// All that wait were looked at with what is available now, or only newcomers.
void BasicManager::NoteLookLocked(bool all) {
  std::vector<uint64_t> available = ledger_->AvailableBytes();
  if (!all && !looked_with_.empty()) {
    for (size_t i = 0; i < available.size(); ++i) {
      available[i] = std::min(available[i], looked_with_[i]);
    }
  }
  looked_with_ = std::move(available);
}

void BasicManager::StartLoadLocked(const ManagedPtr& m) {
  if (m->waiting) {
    m->waiting = false;
    m->account->resident_since = ResidentSinceLocked(*m);
    const bool reserved = ledger_->Reserve(m->account.get());
    assert(reserved);
    (void)reserved;
  }
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

// A version that takes the place of another one of its servable goes on with
// its residency: the servable was there all the time.
uint64_t BasicManager::ResidentSinceLocked(const Managed& m) {
  uint64_t since = 0;
  for (const ManagedPtr& other : streams_.at(m.id().name)) {
    if (other.get() == &m || other->account == nullptr) continue;
    if (other->account->reserved.empty()) continue;
    since = std::max(since, other->account->resident_since);
  }
  return since > 0 ? since : ledger_->NextResidency();
}

void BasicManager::MakeRoomLocked(const ManagedPtr& m) {
  if (standbys_.empty() && !m->load_options.frees_own) return;
  const ResourceAllocation& request = m->account->requested;
  ResourceAllocation freed = ledger_->leaving();
  // What leaves already is enough, once it is gone.
  if (ledger_->Fits(request, freed)) return;
  std::vector<ManagedPtr> victims;
  for (const ManagedPtr& standby : standbys_) {
    if (standby->account == nullptr) continue;
    Status s = ledger_->util().Add(standby->account->reserved, &freed);
    assert(s.ok());
    (void)s;
    victims.push_back(standby);
    if (!ledger_->Fits(request, freed)) continue;
    // Whom it does not need stays, the newest first: who is on another device,
    // or small beside one that is newer.
    for (size_t i = victims.size(); i-- > 0;) {
      ResourceAllocation without = freed;
      s = ledger_->util().Subtract(victims[i]->account->reserved, &without);
      assert(s.ok());
      if (!ledger_->Fits(request, without)) continue;
      freed = std::move(without);
      victims.erase(victims.begin() + static_cast<ptrdiff_t>(i));
    }
    for (const ManagedPtr& victim : victims) EvictLocked(victim);
    return;
  }
  if (m->load_options.frees_own && m->pressed != memory_changes_ &&
      options_.on_pressure) {
    m->pressed = memory_changes_;
    effects_.Push([told = options_.on_pressure, id = m->id()] { told(id); });
  }
}

void BasicManager::ReleaseLocked(const ManagedPtr& m) {
  const bool waited = std::exchange(m->waiting, false);
  if (m->account == nullptr) return;
  const bool held = !m->account->reserved.empty();
  ledger_->Release(m->account.get());
  m->account.reset();
  // One that waited is still in the queue: a look takes it out.
  if (waited) look_at_all_ = true;
  if (held || waited) MemoryChangedLocked();
}

void BasicManager::MemoryChangedLocked() {
  if (!ledger_) return;  // nobody waits
  ++memory_changes_;
  // What did not fit into as much as there is now need not be looked at again,
  // and there may be thousands.
  const std::vector<uint64_t> available = ledger_->AvailableBytes();
  bool more = std::exchange(look_at_all_, false) || looked_with_.empty();
  for (size_t i = 0; i < looked_with_.size(); ++i) {
    more |= available[i] > looked_with_[i];
  }
  if (more) load_queue_.NotifyChange();
  if (!load_queue_.has_waiting() || !options_.wake) return;
  effects_.Push([wake = options_.wake] { wake(); });
}

// ------------------------------------------------------------------- standbys

void BasicManager::DrainedLocked(const ManagedPtr& m) {
  if (!m->keep_drained || stopped_) {
    QueueUnloadLocked(m);
    return;
  }
  m->standby = true;
  standbys_.push_back(m);
  look_at_all_ = true;  // it can go now, if it must
  MemoryChangedLocked();
  if (options_.on_standby) {
    effects_.Push(
        [told = options_.on_standby, id = m->id(),
         incarnation = m->harness.incarnation()] { told(id, incarnation); });
  }
}

void BasicManager::EvictLocked(const ManagedPtr& m) {
  m->standby = false;
  m->keep_drained = false;
  std::erase(standbys_, m);
  QueueUnloadLocked(m);
}

void BasicManager::EvictStandby(const ServableId& id) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m != nullptr) UnkeepLocked(m);
}

void BasicManager::EvictStandbys() {
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& [name, versions] : streams_) {
    for (const auto& m : versions) {
      if (!m->standby) UnkeepLocked(m);
    }
  }
  while (!standbys_.empty()) EvictLocked(ManagedPtr(standbys_.front()));
}

void BasicManager::UnkeepLocked(const ManagedPtr& m) {
  if (m->standby) return EvictLocked(m);
  if (!std::exchange(m->keep_drained, false)) return;
  // It drains, and its memory comes back after all.
  SetPhaseLocked(m, ResourceAccount::Phase::kLeaving);
}

// ------------------------------------------------------------------- look-ups

void BasicManager::SetLimits(const std::vector<uint64_t>& limits) {
  std::lock_guard<std::mutex> lock(mu_);
  if (!ledger_) return;
  ledger_->SetLimits(limits);
  // Not in their turn, which comes only when a slot is free.
  for (const ManagedPtr& m : load_queue_.TakeWaitingIf([this](const auto& w) {
         return !IsTerminal(w->harness.state()) &&
                !ledger_->NeverFits(w->account->estimated).empty();
       })) {
    EndHopelessLocked(m, ledger_->NeverFits(m->account->estimated));
  }
  look_at_all_ = true;
  MemoryChangedLocked();
  AdmitLoadsLocked();
}

std::string BasicManager::ExplainWait(const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr) return "";
  if (m->estimating && m->harness.state() == HarnessState::kLoadRequested) {
    return "Its loader is asked for an estimate";
  }
  if (!m->waiting) return "";
  const std::string why = ShortageLocked(*m);
  return why.empty() ? "It fits and waits for its turn" : why;
}

std::optional<bool> BasicManager::FitsWithout(
    const ServableId& id, const std::vector<ServableId>& others) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr || !m->waiting) return std::nullopt;
  std::vector<ManagedPtr> gone(standbys_.begin(), standbys_.end());
  for (const ServableId& other : others) {
    if (ManagedPtr o = FindLocked(other)) gone.push_back(std::move(o));
  }
  ResourceAllocation freed = ledger_->leaving();
  for (const ManagedPtr& g : gone) {
    if (g->account == nullptr) continue;
    if (!ledger_->util().Add(g->account->reserved, &freed).ok()) return false;
  }
  BoundLocked(m);
  return ledger_->Fits(m->account->requested, freed);
}

void BasicManager::GiveRoom(const ServableId& id) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr || !m->waiting) return;
  m->load_options.max_num_load_retries = 0;
  const AdmissionKey before{m->load_options.priority, m->age};
  m->load_options.priority = std::numeric_limits<int>::max();
  load_queue_.Prefer(before, {m->load_options.priority, m->age});
}

void BasicManager::SetFreesOwn(const ServableId& id, bool frees_own) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr || m->load_options.frees_own == frees_own) return;
  m->load_options.frees_own = frees_own;
  if (!m->waiting) return;
  look_at_all_ = true;
  MemoryChangedLocked();
}

std::unique_ptr<Loader> BasicManager::RenewLoader(const ServableId& id) {
  std::lock_guard<std::mutex> lock(mu_);
  ManagedPtr m = FindLocked(id);
  if (m == nullptr || m->harness.loader() == nullptr) return nullptr;
  return m->harness.loader()->Renew();
}

std::vector<Footprint> BasicManager::ExportFootprints() const {
  std::lock_guard<std::mutex> lock(mu_);
  return footprints_.Export();
}

void BasicManager::ImportFootprints(const std::vector<Footprint>& footprints) {
  std::lock_guard<std::mutex> lock(mu_);
  footprints_.Import(footprints);
}

void BasicManager::ClearFootprints(const std::optional<std::string>& name) {
  std::lock_guard<std::mutex> lock(mu_);
  if (!ledger_) return;
  name ? footprints_.Clear(*name) : footprints_.Clear();
  // Those that wait want less now.
  for (const auto& [servable, versions] : streams_) {
    if (name && servable != *name) continue;
    for (const ManagedPtr& m : versions) {
      if (!m->waiting) continue;
      m->account->requested = m->account->wanted = m->account->estimated;
    }
  }
  look_at_all_ = true;
  MemoryChangedLocked();
  AdmitLoadsLocked();
}

}  // namespace aspired
