#include "core/reader_group.h"

#include <algorithm>

namespace aspired {

ReaderGroup::Members ReaderGroup::MembersLocked() const {
  Members members;
  members.reserve(members_.size());
  for (const auto& [number, member] : members_) members.push_back(member);
  return members;
}

size_t ReaderGroup::num_members() const {
  std::lock_guard<std::mutex> lock(mu_);
  return members_.size();
}

// ----------------------------------------------------------------- membership

uint64_t ReaderGroup::Attach(std::shared_ptr<ReaderMember> member,
                             Snapshot* snapshot) {
  // Else it could miss a version that is available: what opened, or was there
  // when the sharing began, may be waiting behind another thread's effects.
  snapshot->is_complete = catch_up_([member] { member->CaughtUp(); });
  std::lock_guard<std::mutex> lock(mu_);
  if (shut_) return 0;
  snapshot->intents.assign(intents_.begin(), intents_.end());
  for (const auto& [key, entry] : entries_) {
    if (entry.open) snapshot->open.push_back({key, entry.id, entry.shared});
  }
  members_.emplace(++last_member_, std::move(member));
  return last_member_;
}

void ReaderGroup::Detach(uint64_t member) {
  std::vector<std::pair<ServableId, uint64_t>> drained;
  std::shared_ptr<ReaderMember> detached;  // dies unlocked
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto node = members_.extract(member);
    if (node.empty()) return;
    detached = std::move(node.mapped());
    for (auto& [key, entry] : entries_) SumCountersLocked(entry, member);
    for (auto it = closing_.begin(); it != closing_.end();) {
      Entry& entry = entries_.at(it->second);
      const uint64_t epoch = it->first;
      ++it;  // before its element goes
      if (AnswerLocked(entry, member)) drained.emplace_back(entry.id, epoch);
    }
  }
  for (const auto& [id, epoch] : drained) drained_(id, epoch);
}

void ReaderGroup::Shut() {
  Members members;
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (shut_) return;
    shut_ = true;
    members = MembersLocked();
  }
  for (const auto& member : members) member->Shut();
}

// --------------------------------------------------------------------- drains

void ReaderGroup::EndCloseLocked(Entry& entry) {
  if (entry.epoch == 0) return;
  closing_.erase(entry.epoch);
  entry.epoch = 0;
  entry.missing.clear();
}

bool ReaderGroup::AnswerLocked(Entry& entry, uint64_t who) {
  if (std::erase(entry.missing, who) == 0 || !entry.missing.empty()) {
    return false;
  }
  EndCloseLocked(entry);
  return true;
}

void ReaderGroup::OwnerDrained(const ServableId& id, uint64_t epoch) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    // A close that is not in the books concerns the owner alone, or was taken
    // back, and then the manager ignores the answer.
    auto it = closing_.find(epoch);
    if (it != closing_.end() && !AnswerLocked(entries_.at(it->second), kOwner))
      return;
  }
  drained_(id, epoch);
}

void ReaderGroup::MemberDrained(uint64_t member, uint64_t epoch) {
  ServableId id;
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto it = closing_.find(epoch);
    if (it == closing_.end()) return;
    Entry& entry = entries_.at(it->second);
    if (!AnswerLocked(entry, member)) return;
    id = entry.id;
  }
  drained_(id, epoch);
}

// ------------------------------------------------------------------- counters

std::vector<double> ReaderGroup::CounterBlock::Words() const {
  if (live == nullptr) return kept;
  // Its owner writes meanwhile.
  const volatile double* from = live;
  return std::vector<double>(from, from + length);
}

void ReaderGroup::CounterBlock::Freeze() {
  kept = Words();
  live = nullptr;
}

void ReaderGroup::SumCountersLocked(Entry& entry, uint64_t member) {
  std::erase_if(entry.counters, [&](const CounterBlock& block) {
    if (block.member != member) return false;
    options_.add(&entry.ended, block.Words());
    return true;
  });
}

bool ReaderGroup::AddCounters(uint64_t member, uint64_t key,
                              const double* words, size_t length) {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = entries_.find(key);
  if (it == entries_.end() || !members_.contains(member)) return false;
  it->second.counters.push_back({member, words, length, {}});
  return true;
}

void ReaderGroup::FreezeCounters(uint64_t member, uint64_t key) {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = entries_.find(key);
  if (it == entries_.end()) return;
  for (CounterBlock& block : it->second.counters) {
    if (block.member == member) block.Freeze();
  }
}

std::vector<ReaderGroup::Counters> ReaderGroup::CountersOf(uint64_t key) const {
  std::vector<Counters> all;
  std::lock_guard<std::mutex> lock(mu_);
  auto it = entries_.find(key);
  if (it == entries_.end()) return all;
  const Entry& entry = it->second;
  for (const CounterBlock& block : entry.counters) {
    all.push_back({block.Words(), true});
  }
  if (!entry.ended.empty()) all.push_back({entry.ended, false});
  return all;
}

// -------------------------------------------------------------------- readers

void ReaderGroup::Open(const ServableId& id, Loader& loader) {
  options_.owner->Open(id, loader);
  if (WantsIntent()) OpenEntry(id, loader);
}

void ReaderGroup::Remind(const ServableId& id, Loader& loader) {
  OpenEntry(id, loader);
}

void ReaderGroup::OpenEntry(const ServableId& id, Loader& loader) {
  const auto [key, shared] = options_.identify(loader);
  Members members;
  {
    std::lock_guard<std::mutex> lock(mu_);
    Entry& entry = entries_[key];
    if (entry.open) return;  // a reminder of what opened after the sharing
    EndCloseLocked(entry);
    entry.id = id;
    entry.shared = shared;
    entry.open = true;
    members = MembersLocked();
  }
  for (const auto& member : members) member->Open({key, id, shared});
}

void ReaderGroup::Close(const ServableId& id, Loader& loader, uint64_t epoch) {
  Members members;
  uint64_t key = 0;
  if (WantsIntent()) {
    key = options_.identify(loader).first;
    std::lock_guard<std::mutex> lock(mu_);
    // One that opened before the sharing and closes before its reminder is
    // unknown to the members.
    if (auto it = entries_.find(key); it != entries_.end()) {
      Entry& entry = it->second;
      EndCloseLocked(entry);
      entry.open = false;
      entry.epoch = epoch;
      entry.missing.push_back(kOwner);
      for (const auto& [number, member] : members_) {
        entry.missing.push_back(number);
      }
      closing_.emplace(epoch, key);
      members = MembersLocked();
    }
  }
  options_.owner->Close(id, loader, epoch);
  for (const auto& member : members) member->Close(key, epoch);
}

void ReaderGroup::SetIntent(const std::string& name,
                            const ReaderIntent& intent) {
  Members members;
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (intent.empty()) {
      intents_.erase(name);
    } else {
      intents_[name] = intent;
    }
    members = MembersLocked();
  }
  for (const auto& member : members) member->SetIntent(name, intent);
}

void ReaderGroup::Gone(uint64_t key) {
  if (!WantsIntent()) return;
  Members members;
  std::shared_ptr<void> shared;  // dies unlocked
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto node = entries_.extract(key);
    if (node.empty()) return;
    EndCloseLocked(node.mapped());
    shared = std::move(node.mapped().shared);
    members = MembersLocked();
  }
  for (const auto& member : members) member->Gone(key);
}

}  // namespace aspired
