// Standbys, and room for new versions at the cost of old ones, of
// AspiredVersionsManager.
#include <algorithm>
#include <cassert>
#include <chrono>
#include <tuple>
#include <utility>

#include "core/aspired_versions_manager.h"

namespace aspired {
namespace {

constexpr std::chrono::seconds kFallbackPatience{1};

}  // namespace

// ------------------------------------------------------------------ standbys

StandbyOptions AspiredVersionsManager::StandbyOfLocked(
    const Stream& stream) const {
  return stream.intent == nullptr
             ? options_.standby
             : stream.intent->standby.value_or(options_.standby);
}

bool AspiredVersionsManager::WantsStandbyLocked(const Stream& stream,
                                                const Record& record) const {
  if (closing_ || record.aspired || record.bad) return false;
  if (StandbyOfLocked(stream).versions == 0) return false;
  // Where nothing is aspired, nothing is expected back.
  return std::any_of(stream.records.begin(), stream.records.end(),
                     [](const auto& entry) { return entry.second.aspired; });
}

void AspiredVersionsManager::OnStandby(const ServableId& id,
                                       uint64_t incarnation) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto it = streams_.find(id.name);
    if (it == streams_.end()) return;
    Stream& stream = *it->second;
    auto found = stream.records.find(id.version);
    const auto now = basic_->GetSnapshot(id);
    // Aspired again, or on its way out, since.
    if (found == stream.records.end() || !now || !now->standby ||
        now->incarnation != incarnation) {
      return;
    }
    const auto keep_for = StandbyOfLocked(stream).keep_for;
    if (keep_for.count() > 0) {
      found->second.standby_due = options_.clock->Now() + keep_for;
      standbys_due_.emplace(*found->second.standby_due, id);
    }
    for (auto& transition : stream.transitions) {
      transition->OnGone(id.version, incarnation);
    }
    SettleLocked(stream);
    MarkDirtyLocked(stream);
  }
  Wake();
}

void AspiredVersionsManager::ExpireStandbysLocked(TimePoint now) {
  while (!standbys_due_.empty() && standbys_due_.begin()->first <= now) {
    auto node = standbys_due_.extract(standbys_due_.begin());
    const ServableId& id = node.mapped();
    auto stream = streams_.find(id.name);
    if (stream == streams_.end()) continue;
    if (stream->second->fallback_due == node.key()) {
      MarkDirtyLocked(*stream->second);
    }
    auto found = stream->second->records.find(id.version);
    if (found == stream->second->records.end()) continue;
    if (found->second.standby_due != node.key()) continue;
    found->second.standby_due.reset();
    basic_->EvictStandby(id);
  }
}

void AspiredVersionsManager::LimitStandbysLocked(Stream& stream) {
  // Oldest first; before them what was dropped without having proved itself.
  std::vector<std::tuple<bool, uint64_t, int64_t>> standbys;
  const bool bakes = BakesLocked(stream);
  for (const auto& [version, record] : stream.records) {
    if (record.aspired) continue;
    const auto now = basic_->GetSnapshot({stream.name, version});
    if (now && (now->standby || now->keep_drained)) {
      standbys.emplace_back(!bakes || record.baked, record.dropped, version);
    }
  }
  const auto allowed = static_cast<size_t>(StandbyOfLocked(stream).versions);
  if (standbys.size() <= allowed) return;
  std::sort(standbys.begin(), standbys.end());
  standbys.resize(standbys.size() - allowed);
  for (const auto& [proved, dropped, version] : standbys) {
    basic_->EvictStandby({stream.name, version});
  }
}

// ------------------------------------------------------------------ pressure

bool AspiredVersionsManager::MayFreeOwnLocked(const Stream& stream,
                                              const Record& record) const {
  const auto choice = stream.intent == nullptr
                          ? options_.on_insufficient_memory
                          : stream.intent->on_insufficient_memory.value_or(
                                options_.on_insufficient_memory);
  return choice == OnInsufficientMemory::kResourcePreserving &&
         record.aspired && !record.freed_for;
}

void AspiredVersionsManager::OnPressure(const ServableId& id) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto it = streams_.find(id.name);
    if (it == streams_.end()) return;
    it->second->pressed = true;
    MarkDirtyLocked(*it->second);
  }
  Wake();
}

void AspiredVersionsManager::FreeOwnLocked(Stream& stream) {
  if (!std::exchange(stream.pressed, false)) return;
  for (auto& [version, record] : stream.records) {
    if (!MayFreeOwnLocked(stream, record)) continue;
    const auto now = basic_->GetSnapshot({stream.name, version});
    if (!now || now->state != HarnessState::kLoadRequested) continue;
    FreeForLocked(stream, version, record);
    // What could not go yet, because it was loading, may go later.
    stream.pressed |= !record.freed_for;
  }
}

void AspiredVersionsManager::FreeForLocked(Stream& stream, int64_t version,
                                           Record& record) {
  std::vector<std::pair<uint64_t, int64_t>> old;  // last dropped last
  for (const auto& [v, r] : stream.records) {
    if (r.aspired || stream.bake_previous == v) continue;
    const auto now = basic_->GetSnapshot({stream.name, v});
    if (now && now->state == HarnessState::kReady)
      old.emplace_back(r.dropped, v);
  }
  std::sort(old.begin(), old.end());
  std::vector<ServableId> victims;
  // Without any of them: it has its turn soon.
  if (basic_->FitsWithout({stream.name, version}, victims).value_or(false)) {
    return;
  }
  bool fits = false;
  for (size_t i = 0; i < old.size() && !fits; ++i) {
    victims.push_back({stream.name, old[i].second});
    fits = basic_->FitsWithout({stream.name, version}, victims).value_or(false);
  }
  // Going without the old ones must buy something.
  if (!fits) return;
  for (const ServableId& victim : victims) {
    // The last one is the last good one.
    DisposeLocked(std::move(stream.fallback));
    stream.fallback = basic_->RenewLoader(victim);
    stream.fallback_version = victim.version;
    basic_->UnloadServable(victim, nullptr);
  }
  record.freed_for = true;
  // Nothing serves until it is there: one attempt, then the last good one.
  basic_->GiveRoom({stream.name, version});
}

// Whether the version waits for memory that is not there, nor on its way.
bool AspiredVersionsManager::IsStuckLocked(const Stream& stream,
                                           int64_t version) const {
  return !basic_->FitsWithout({stream.name, version}, {}).value_or(true);
}

// Memory that was given back is seen a moment later, so what waits for it has
// that moment. It may also wait for ever, and meanwhile nothing serves.
bool AspiredVersionsManager::OutlastedLocked(Stream& stream,
                                             const ServableId& fallback) {
  const TimePoint now = options_.clock->Now();
  if (!stream.fallback_due) {
    stream.fallback_due = now + kFallbackPatience;
    standbys_due_.emplace(*stream.fallback_due, fallback);
  }
  return *stream.fallback_due <= now;
}

void AspiredVersionsManager::FallBackLocked(Stream& stream) {
  const bool is_on = std::any_of(
      stream.records.begin(), stream.records.end(), [](const auto& entry) {
        return entry.second.fallback && !entry.second.aspired;
      });
  if (!is_on && stream.fallback == nullptr) return;
  const auto states = basic_->GetStates(stream.name);
  const bool is_served =
      std::any_of(states.begin(), states.end(), [&stream](const auto& entry) {
        return entry.second == HarnessState::kReady &&
               stream.records.at(entry.first).aspired;
      });
  for (auto& [version, record] : stream.records) {
    if (!is_served || !record.fallback || record.aspired) continue;
    // It was loaded again for want of anything better, and that is there. It
    // may wait for memory that it would never get, and a list with it.
    record.fallback = false;
    (void)basic_->CancelLoad({stream.name, version});
  }
  if (stream.fallback == nullptr) return;
  const ServableId id{stream.name, stream.fallback_version};
  // It is still there, or aspired again, or a standby.
  if (const auto own = basic_->GetSnapshot(id)) {
    if (own->state == HarnessState::kReady) {
      DisposeLocked(std::move(stream.fallback));
    }
    return;
  }
  bool any_ready = false;
  bool any_coming = false;
  bool any_stuck = false;
  for (const auto& [version, state] : states) {
    any_ready |= state == HarnessState::kReady;
    if (state >= HarnessState::kReady || !stream.records.at(version).aspired) {
      continue;
    }
    (IsStuckLocked(stream, version) ? any_stuck : any_coming) = true;
  }
  if (any_ready) stream.fallback_due.reset();
  if (any_coming) return;
  if (any_ready) {
    if (!any_stuck) DisposeLocked(std::move(stream.fallback));
    return;
  }
  if (any_stuck && !OutlastedLocked(stream, id)) return;
  stream.fallback_due.reset();
  Record& record = stream.records[id.version];
  record = Record();
  record.aspired = false;
  record.fallback = true;
  record.baked = true;
  record.dropped = next_dropped_++;
  ManageLocked(stream, id.version, record, std::move(stream.fallback),
               Status::Ok());
  PerformLocked({PolicyAction::Kind::kLoad, id});
}

// -------------------------------------------------------------------- limits

void AspiredVersionsManager::SetLimits(const std::vector<uint64_t>& limits) {
  basic_->SetLimits(limits);
  {
    std::lock_guard<std::mutex> lock(mu_);
    const TimePoint now = options_.clock->Now();
    std::vector<ServableId> ids;
    for (const auto& [due, id] : incarnations_due_) ids.push_back(id);
    for (const ServableId& id : ids) {
      Record& record = streams_.at(id.name)->records.at(id.version);
      if (record.last_error.code() != ErrorCode::kResourceExhausted) continue;
      CancelIncarnationLocked(id, record);
      record.retry_due = now;
      incarnations_due_.emplace(now, id);
    }
  }
  basic_->Flush();
  Wake();
}

}  // namespace aspired
