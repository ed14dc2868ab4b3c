// Transition: the way of one stream from what was to what one list aspires to,
// and the knowledge of when it is done.
//
// Settles when every version of the list is Available or has ended and every
// version that the list dropped is gone. When no version of the list came to be
// Available, a policy may keep what was dropped: it settles then, too. A list
// that a later one replaces (superseded) stops caring for what it dropped, and
// settles when its own versions have come out one way or the other.
//
// Not thread-safe: guarded by the mutex of the manager that owns it.
#ifndef ASPIRED_CORE_TRANSITION_H_
#define ASPIRED_CORE_TRANSITION_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/servable_state.h"

namespace aspired {

struct TransitionResult {
  struct Version {
    int64_t version = 0;
    ManagerState manager_state = ManagerState::kStart;
    Status error;
  };
  std::string name;
  // In the order of the list.
  std::vector<Version> versions;
  bool superseded = false;
};

class Transition {
 public:
  using Done = std::function<void(const TransitionResult&)>;

  Transition(std::string name, Done done) : done_(std::move(done)) {
    result_.name = std::move(name);
  }

  // A version of the list that has yet to come out. Events of incarnations up
  // to `after_incarnation` are those of an earlier life: they may still be on
  // their way when the list comes.
  void Await(int64_t version, uint64_t after_incarnation) {
    Add(version, ManagerState::kStart, Status::Ok(),
        {after_incarnation, false});
  }
  // A version of the list that is what it should be, or will not get better.
  void AddSettled(int64_t version, ManagerState state, Status error) {
    Add(version, state, std::move(error), {0, true});
  }
  // A version that the list dropped and that is still there, in that
  // incarnation.
  void AwaitGone(int64_t version, uint64_t incarnation) {
    dropped_.emplace(version, incarnation);
  }

  void Supersede() {
    result_.superseded = true;
    dropped_.clear();
  }

  // The version will not come out by an event any more.
  void SettleVersion(int64_t version, const Status& error) {
    const auto found = index_.find(version);
    if (found == index_.end() || items_[found->second].settled) return;
    items_[found->second].settled = true;
    --unsettled_;
    result_.versions[found->second].manager_state = ManagerState::kEnd;
    result_.versions[found->second].error = error;
  }
  void SettleAll(const Status& error) {
    dropped_.clear();
    for (const auto& [version, index] : index_) SettleVersion(version, error);
  }

  // A version that was dropped is out of the way: it ended, or it is a standby.
  void OnGone(int64_t version, uint64_t incarnation) {
    const auto gone = dropped_.find(version);
    if (gone != dropped_.end() && incarnation >= gone->second) {
      dropped_.erase(gone);
    }
  }

  void OnEvent(const ServableState& event) {
    if (event.manager_state == ManagerState::kEnd) {
      OnGone(event.id.version, event.incarnation);
    }
    const auto found = index_.find(event.id.version);
    if (found == index_.end()) return;
    Item& item = items_[found->second];
    if (event.incarnation <= item.after_incarnation) return;
    TransitionResult::Version& version = result_.versions[found->second];
    // It came out already; while others are waited for a retry may do better,
    // and one that was Available may turn out to be bad.
    const bool went_bad = version.manager_state == ManagerState::kAvailable &&
                          event.manager_state == ManagerState::kEnd &&
                          !event.health.ok();
    if (item.settled && event.manager_state != ManagerState::kAvailable &&
        !went_bad) {
      return;
    }
    version.manager_state = event.manager_state;
    version.error = event.health;
    const bool out = event.manager_state == ManagerState::kAvailable ||
                     event.manager_state == ManagerState::kEnd;
    if (out && !item.settled) {
      item.settled = true;
      --unsettled_;
    }
  }

  // Only what was dropped is waited for, and nothing came that replaces it.
  bool has_failed() const {
    return unsettled_ == 0 && !result_.versions.empty() &&
           std::none_of(result_.versions.begin(), result_.versions.end(),
                        [](const TransitionResult::Version& version) {
                          return version.manager_state ==
                                 ManagerState::kAvailable;
                        });
  }
  // Version to incarnation.
  const std::map<int64_t, uint64_t>& dropped() const { return dropped_; }
  // The policy keeps what was dropped.
  void KeepDropped() { dropped_.clear(); }

  bool settled() const { return unsettled_ == 0 && dropped_.empty(); }
  const TransitionResult& result() const { return result_; }
  Done TakeDone() { return std::exchange(done_, nullptr); }

 private:
  struct Item {
    uint64_t after_incarnation;
    bool settled;
  };
  void Add(int64_t version, ManagerState state, Status error, Item item) {
    index_.emplace(version, items_.size());
    items_.push_back(item);
    if (!item.settled) ++unsettled_;
    result_.versions.push_back({version, state, std::move(error)});
  }

  TransitionResult result_;
  std::vector<Item> items_;  // beside result_.versions
  std::unordered_map<int64_t, size_t> index_;
  size_t unsettled_ = 0;
  std::map<int64_t, uint64_t> dropped_;
  Done done_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_TRANSITION_H_
