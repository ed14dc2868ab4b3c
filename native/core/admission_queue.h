// AdmissionQueue: the order in which loads get a slot and memory.
//
// Loads are taken by priority, then by age. One that needs memory and does not
// fit is passed by, so that what fits runs: a load that waits for memory which
// only an operator can free stops nobody.
//
// No load starves. When kMaxOvertaken others have gone past the first of those
// that wait, and it would fit if only what loads and leaves just now were gone,
// then nobody who competes with it is admitted until it is, for a hold of 1 s,
// then 2 s, 4 s, ... up to kMaxHold, should it take several. (Without the time
// limit a version that drains for ever, because a handle leaked, would stop
// all others; without the growth, gaps in the memory could stay too short.)
// That is EASY backfilling of batch schedulers, for jobs of unknown length.
//
// Cost: what needs no memory is O(log n). What waits for memory is looked at
// only when something changed, O(waiting); a newcomer alone otherwise.
//
// Not thread-safe: guarded by the mutex of the manager that owns it.
#ifndef ASPIRED_CORE_ADMISSION_QUEUE_H_
#define ASPIRED_CORE_ADMISSION_QUEUE_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "concurrency/clock.h"

namespace aspired {

// Higher priority first, then lower age.
struct AdmissionKey {
  int priority = 0;
  uint64_t age = 0;

  friend bool operator<(const AdmissionKey& a, const AdmissionKey& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.age < b.age;
  }
  friend bool operator==(const AdmissionKey&, const AdmissionKey&) = default;
};

enum class Admission {
  kFits,
  kWaits,
  kGone,  // drop it: it ended meanwhile, or can never fit
};

template <typename Item>
class AdmissionQueue {
 public:
  static constexpr int kMaxOvertaken = 8;
  static constexpr std::chrono::seconds kFirstHold{1};
  static constexpr std::chrono::seconds kMaxHold{600};

  // What the queue asks about its items.
  class Judge {
   public:
    virtual ~Judge() = default;
    // Whether the item may be admitted now; called again for the same item.
    virtual Admission Look(const Item& item) = 0;
    virtual bool FitsAtRest(const Item& item) = 0;
    // Whether what one gets is taken from the other.
    virtual bool Compete(const Item& a, const Item& b) = 0;
    // The item is dropped.
    virtual void Drop(Item item) = 0;
  };

  void PushFree(AdmissionKey key, Item item) {
    free_.emplace_hint(free_.end(), key, std::move(item));
  }
  // One that needs memory.
  void PushWaiting(AdmissionKey key, Item item) {
    waiting_.emplace(key, Waiting{std::move(item)});
    fresh_.insert(key);
  }

  // More may fit than before.
  void NotifyChange() { changed_ = true; }
  bool has_waiting() const { return !waiting_.empty(); }
  bool has_free() const { return !free_.empty(); }
  // Take() may have an answer about what waits for memory.
  bool wants_look(TimePoint now) const {
    return !waiting_.empty() && (changed_ || !fresh_.empty() || HoldOver(now));
  }
  // When a hold ends, and others may be admitted without any change.
  std::optional<TimePoint> hold_until() const { return hold_until_; }
  size_t num_waiting() const { return waiting_.size(); }

  // The next one, or none. `look`: also at what waits for memory.
  std::optional<Item> Take(bool look, TimePoint now, Judge& judge) {
    if (look && wants_look(now)) {
      if (auto item = TakeWaiting(now, judge)) return item;
    }
    while (!free_.empty()) {
      Item item = std::move(free_.begin()->second);
      free_.erase(free_.begin());
      if (judge.Look(item) == Admission::kFits) return item;
      judge.Drop(std::move(item));
    }
    return std::nullopt;
  }

  // Everything, in order.
  std::vector<Item> Clear() {
    std::vector<Item> items;
    for (auto& [key, item] : free_) items.push_back(std::move(item));
    for (auto& [key, w] : waiting_) items.push_back(std::move(w.item));
    free_.clear();
    waiting_.clear();
    fresh_.clear();
    hold_until_.reset();
    return items;
  }

  // `visit(item)` for all that wait for memory, in order.
  template <typename Visit>
  void ForEachWaiting(Visit visit) const {
    for (const auto& [key, w] : waiting_) visit(w.item);
  }

 private:
  struct Waiting {
    Item item;
    int overtaken = 0;
    Duration hold = kFirstHold;
  };
  using WaitingMap = std::map<AdmissionKey, Waiting>;

  bool HoldOver(TimePoint now) const {
    return hold_until_ && now >= *hold_until_;
  }

  std::optional<Item> TakeWaiting(TimePoint now, Judge& judge) {
    const bool all = changed_ || HoldOver(now);
    auto head = waiting_.end();
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      // What needs no memory and is older, or more important, goes first.
      if (!free_.empty() && free_.begin()->first < it->first) return {};
      if (!all && !fresh_.contains(it->first)) {
        if (head == waiting_.end()) head = it;
        ++it;
        continue;
      }
      const Admission verdict = judge.Look(it->second.item);
      if (verdict == Admission::kGone) {
        // Out of the map first: the judge may look at what waits.
        Item gone = std::move(it->second.item);
        it = Erase(it);
        judge.Drop(std::move(gone));
        continue;
      }
      const bool admit =
          verdict == Admission::kFits &&
          (head == waiting_.end() || MayOvertake(*it, *head, now, judge));
      if (admit) {
        if (head != waiting_.end() &&
            judge.Compete(it->second.item, head->second.item)) {
          ++head->second.overtaken;
        }
        Item item = std::move(it->second.item);
        Erase(it);
        return item;
      }
      if (head == waiting_.end()) head = it;
      ++it;
    }
    changed_ = false;
    fresh_.clear();
    return std::nullopt;
  }

  typename WaitingMap::iterator Erase(typename WaitingMap::iterator it) {
    // The hold was for the first one: those that it held back may go.
    if (it == waiting_.begin() && hold_until_) {
      hold_until_.reset();
      changed_ = true;
    }
    fresh_.erase(it->first);
    return waiting_.erase(it);
  }

  bool MayOvertake(const typename WaitingMap::value_type& other,
                   typename WaitingMap::value_type& head, TimePoint now,
                   Judge& judge) {
    Waiting& first = head.second;
    if (first.overtaken < kMaxOvertaken) return true;
    if (!judge.Compete(other.second.item, first.item)) return true;
    if (!judge.FitsAtRest(first.item)) return true;
    if (!hold_until_) hold_until_ = now + first.hold;
    if (now < *hold_until_) return false;
    hold_until_.reset();
    first.overtaken = 0;
    first.hold = std::min<Duration>(first.hold * 2, kMaxHold);
    return true;
  }

  std::map<AdmissionKey, Item> free_;
  WaitingMap waiting_;
  // Those of waiting_ that nobody has looked at since they came.
  std::set<AdmissionKey> fresh_;
  bool changed_ = false;
  std::optional<TimePoint> hold_until_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_ADMISSION_QUEUE_H_
