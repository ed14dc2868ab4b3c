// Bakes of AspiredVersionsManager: a new version proves itself while the one
// before it is still there.
//
// The core keeps the old version and knows how to go back. Whether the new one
// is good is judged by whoever counts its requests.
#include <algorithm>
#include <tuple>
#include <utility>

#include "core/aspired_versions_manager.h"

namespace aspired {

bool AspiredVersionsManager::BakesLocked(const Stream& stream) const {
  return stream.intent == nullptr ? options_.bake
                                  : stream.intent->bake.value_or(options_.bake);
}

// What the bake of a version may go back to: of those that are loaded one that
// has proved itself first; then one that stays aspired, for readers had it
// until now; then the one that was dropped last.
std::optional<int64_t> AspiredVersionsManager::LastGoodLocked(
    const Stream& stream, int64_t baking) const {
  const bool came_later = stream.records.at(baking).came_later;
  std::optional<int64_t> best;
  std::tuple<bool, bool, uint64_t> best_rank;
  for (const auto& [version, state] : basic_->GetStates(stream.name)) {
    const Record& record = stream.records.at(version);
    if (version == baking || record.bad || state != HarnessState::kReady) {
      continue;
    }
    // Versions that came together have nothing to prove to each other.
    if (record.aspired && !(record.baked && came_later)) continue;
    const std::tuple rank{record.baked, record.aspired, record.dropped};
    if (!best || rank > best_rank) {
      best = version;
      best_rank = rank;
    }
  }
  return best;
}

bool AspiredVersionsManager::HasGoodLocked(const Stream& stream) const {
  for (const auto& [version, state] : basic_->GetStates(stream.name)) {
    if (state == HarnessState::kReady && stream.records.at(version).baked) {
      return true;
    }
  }
  return false;
}

// Whether a plain name or a label leads readers to this version, which is
// loaded: as the registry resolves them.
bool AspiredVersionsManager::IsReadLocked(const Stream& stream,
                                          int64_t version) const {
  const auto is_ready = [&](int64_t other) {
    return basic_->GetSnapshot({stream.name, other})
               .value_or(BasicManager::Snapshot())
               .state == HarnessState::kReady;
  };
  if (stream.intent != nullptr) {
    for (const auto& [label, target] :
         stream.intent->labels.value_or(std::map<std::string, int64_t>())) {
      if (target == version) return true;
    }
    const auto primary = stream.intent->primary.value_or(std::nullopt);
    if (primary && is_ready(*primary)) return *primary == version;
  }
  for (auto it = stream.records.rbegin(); it != stream.records.rend(); ++it) {
    if (it->second.aspired && is_ready(it->first)) return it->first == version;
  }
  return false;
}

// Versions that are there before there is anything to go back to need no bake:
// said before a list drops them, which may be before the next round.
void AspiredVersionsManager::ProveLocked(Stream& stream) {
  if (!BakesLocked(stream)) return;
  for (const auto& [version, state] : basic_->GetStates(stream.name)) {
    Record& record = stream.records.at(version);
    if (record.aspired && !record.baking && state == HarnessState::kReady &&
        !LastGoodLocked(stream, version)) {
      record.baked = true;
    }
  }
}

// A policy that lets one of several old versions go does not know which of them
// has proved itself: that one stays.
AspiredVersionsManager::Snapshots::iterator
AspiredVersionsManager::UnprovenInsteadLocked(
    const Stream& stream, Snapshots& snapshots,
    Snapshots::iterator chosen) const {
  if (!BakesLocked(stream) || !stream.records.at(chosen->version).baked) {
    return chosen;
  }
  const auto other =
      std::find_if(snapshots.begin(), snapshots.end(), [&](const auto& s) {
        return !s.is_aspired && s.state == HarnessState::kReady &&
               !stream.records.at(s.version).baked;
      });
  return other == snapshots.end() ? chosen : other;
}

void AspiredVersionsManager::UpdateBakeLocked(Stream& stream) {
  stream.bake_previous.reset();
  if (closing_) return;
  const bool bakes = BakesLocked(stream);
  for (const auto& [version, state] : basic_->GetStates(stream.name)) {
    Record& record = stream.records.at(version);
    if (!record.aspired || state != HarnessState::kReady) continue;
    if (!record.baked && !record.baking) {
      const auto previous =
          bakes ? LastGoodLocked(stream, version) : std::optional<int64_t>();
      // The first version has nothing to be compared with or go back to.
      if (!previous || !options_.on_bake) {
        record.baked = true;
        continue;
      }
      // Beside one that stays aspired it begins when readers get to it.
      if (stream.records.at(*previous).aspired &&
          !IsReadLocked(stream, version)) {
        continue;
      }
      record.baking = true;
      const ServableId id{stream.name, version};
      basic_->PushEffect([told = options_.on_bake, id, previous = *previous,
                          incarnation = basic_->GetSnapshot(id)->incarnation] {
        told(id, incarnation, previous);
      });
    }
    if (record.baking && !stream.bake_previous) {
      stream.bake_previous = LastGoodLocked(stream, version);
    }
  }
}

Status AspiredVersionsManager::FinishBake(const ServableId& id,
                                          uint64_t incarnation,
                                          Status verdict) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    const Status not_on(ErrorCode::kIllegalTransition,
                        id.ToString() + " is not in that bake");
    auto it = streams_.find(id.name);
    if (closing_ || it == streams_.end()) return not_on;
    Stream& stream = *it->second;
    auto found = stream.records.find(id.version);
    const auto now = basic_->GetSnapshot(id);
    if (found == stream.records.end() || !found->second.baking || !now ||
        now->incarnation != incarnation || now->state != HarnessState::kReady) {
      return not_on;
    }
    Record& record = found->second;
    if (!verdict.ok() && !LastGoodLocked(stream, id.version)) {
      record.baking = false;
      record.baked = true;
      return Status(ErrorCode::kIllegalTransition,
                    id.ToString() +
                        " failed its bake, and there is nothing to "
                        "go back to: it stays");
    }
    record.baking = false;
    if (verdict.ok()) {
      record.baked = true;
    } else {
      record.bad = true;
      record.last_error = verdict;
      BasicManager::UnloadOptions options;
      options.verdict = std::move(verdict);
      basic_->UnloadServable(id, std::move(options), nullptr);
    }
    MarkDirtyLocked(stream);
  }
  basic_->Flush();
  Wake();
  return Status::Ok();
}

}  // namespace aspired
