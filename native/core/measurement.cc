// Readings of memory, and what loads and unloads are measured to take, of
// BasicManager.
#include <algorithm>
#include <cassert>
#include <utility>

#include "core/basic_manager.h"
#include "core/managed_version.h"

namespace aspired {
namespace {

// A reading this old still decides: a load takes longer to fill its memory.
constexpr std::chrono::milliseconds kFreshReading{20};
// How often memory is read while loads wait, for what others give back.
constexpr std::chrono::milliseconds kReadingInterval{100};

}  // namespace

bool BasicManager::ReadingIsFreshLocked() const {
  if (options_.meter == nullptr) return true;
  return observed_at_ && options_.clock->Now() - *observed_at_ < kFreshReading;
}

std::optional<TimePoint> BasicManager::NextDue() const {
  std::lock_guard<std::mutex> lock(mu_);
  std::optional<TimePoint> due;
  if (!retries_.empty()) due = retries_.begin()->first;
  const auto earliest = [&due](std::optional<TimePoint> other) {
    if (other && (!due || *other < *due)) due = other;
  };
  // While every slot is taken nobody can go when a hold is over: the load that
  // ends looks at it.
  if (loads_under_way_ < load_threads_->concurrency()) {
    earliest(load_queue_.hold_until());
  }
  if (options_.meter && load_queue_.has_waiting() && !stopped_) {
    earliest(observed_at_.value_or(options_.clock->Now()) + kReadingInterval);
  }
  return due;
}

void BasicManager::ObserveMemory() {
  if (!ledger_ || options_.meter == nullptr) return;
  ResourceLedger::Mark mark;
  {
    std::lock_guard<std::mutex> lock(mu_);
    const TimePoint now = options_.clock->Now();
    const bool late = !observed_at_ || now - *observed_at_ >= kReadingInterval;
    const bool due = load_queue_.has_waiting() &&
                     (reading_wanted_ || late ||
                      (load_queue_.wants_look(now) && !ReadingIsFreshLocked()));
    if (stopped_ || (!due && !ledger_->wants_reading())) return;
    mark = ledger_->BeginReading();
    reading_wanted_ = false;
  }
  const auto readings = options_.meter->Read();
  std::lock_guard<std::mutex> lock(mu_);
  ObserveLocked(mark, readings);
}

void BasicManager::ObserveLocked(const ResourceLedger::Mark& mark,
                                 const std::vector<DeviceReading>& readings) {
  if (ledger_->Observe(mark, readings)) MemoryChangedLocked();
  // What a raised request may have does not depend on what is available alone.
  if (raised_waits_) load_queue_.NotifyChange();
  for (const Footprint& f : ledger_->TakeFootprints()) footprints_.Learn(f);
  observed_at_ = options_.clock->Now();
}

SelfMemory BasicManager::ReadSelf() const {
  return options_.meter == nullptr || !ledger_ ? SelfMemory()
                                               : options_.meter->ReadSelf();
}

void BasicManager::BeginWorkLocked(const ManagedPtr& m, Work work,
                                   const SelfMemory& self) {
  if (!ledger_ || options_.meter == nullptr) return;
  if (work == Work::kUnload) {
    if (m->account) ledger_->BeginUnload(m->account.get(), self);
    return;
  }
  if (!m->account) m->account = ResourceAccount::For(m->id().name);
  ledger_->BeginLoad(m->account.get(), self);
}

void BasicManager::EndLoadLocked(const ManagedPtr& m, const SelfMemory& self) {
  // What it did not take can be given to others, once it is seen.
  reading_wanted_ = true;
  if (!m->account) return;
  ledger_->EndLoad(m->account.get(), self);
  // What it did not take of its reservation may not be what was seen as used.
  if (options_.meter && !m->account->reserved.empty()) MemoryChangedLocked();
}

void BasicManager::SetPhaseLocked(const ManagedPtr& m,
                                  ResourceAccount::Phase phase) {
  if (!m->account) return;
  ledger_->SetPhase(m->account.get(), phase);
  // Less may be promised than before.
  MemoryChangedLocked();
}

void BasicManager::SettleAccountLocked(const ManagedPtr& m) {
  if (!m->account) return;
  ResourceAccount& account = *m->account;
  SetPhaseLocked(m, ResourceAccount::Phase::kResident);
  const int64_t ram = account.MainMemoryTaken();
  if (account.exclusive && ledger_->knows_self()) {
    footprints_.Learn(
        {m->id().name, kMain,
         ledger_->util().GetQuantity({kMain, 0, kRam}, account.estimated),
         static_cast<uint64_t>(std::max<int64_t>(ram, 0))});
  }
  if (account.raised()) {
    ledger_->TrimCut(&account);
    MemoryChangedLocked();
  }
  // Most versions of a process with many are small and say nothing: they pay
  // for no account.
  const bool trivial = account.reserved.empty() && account.estimated.empty() &&
                       ram < static_cast<int64_t>(Footprints::kNoiseBytes) / 8;
  if (!trivial) return;
  ledger_->Release(&account);
  m->account.reset();
}

std::string BasicManager::ShortageLocked(const Managed& m) const {
  std::string why = ledger_->Shortage(m.account->requested);
  if (!why.empty() && m.account->raised()) {
    why +=
        "; what earlier versions were measured to take raised the estimate, "
        "which is " +
        m.account->estimated.ToString();
  }
  if (why.empty() || given_up_.empty()) return why;
  // They may never come to an end, and no version shows them.
  ResourceAllocation held;
  for (const auto& [run, load] : given_up_) {
    Status s = ledger_->util().Add(load.second->reserved, &held);
    assert(s.ok());
    (void)s;
  }
  return why + "; of that, loads that were given up and still run have " +
         held.ToString();
}

void BasicManager::EndUnloadLocked(const ManagedPtr& m,
                                   const SelfMemory& self) {
  reading_wanted_ = true;  // it shows what came back
  if (m->account) ledger_->EndUnload(m->account.get(), self);
  ReleaseLocked(m);
}

}  // namespace aspired
