// AdmissionQueue: the order in which loads get a slot and memory.
//
// Loads are taken by priority, then by age. One that needs memory and does not
// fit is passed by, so that what fits runs: a load that waits for memory which
// only an operator can free stops nobody.
//
// No load starves. When kMaxOvertaken others have gone past the first of those
// that wait, and it would fit if those that keep it waiting were gone, then
// nobody who competes with it is admitted until it is, for a hold of 1 s, then
// 2 s, 4 s, ... up to kMaxHold, should it take several. Those that keep it
// waiting are what loads and leaves just now, and the residents that came while
// it waited. After a hold that was in vain, residents that outlasted it count
// no more: for what stays, only an operator can make room, and nobody is held
// for that. And the others have four times as long as it held them, so that a
// version that drains for ever, because a handle leaked, takes a fifth of the
// time at most. (Without the growth, gaps in the memory could stay too short.)
//
// What can not be had by holding: a room that is never free though nobody is
// admitted, because each resident waits for its successor before it goes.
//
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
  static constexpr int kPausePerHold = 4;

  // What the queue asks about its items.
  class Judge {
   public:
    virtual ~Judge() = default;
    // Whether the item may be admitted now; called again for the same item.
    virtual Admission Look(const Item& item) = 0;
    // Whether it would fit if those that keep it waiting were gone.
    virtual bool FitsAtRest(const Item& item) = 0;
    // A hold for it has ended, and it was not admitted.
    virtual void HeldInVain(const Item& item) = 0;
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

  // One that waits changes its place, and is held as if it had been overtaken
  // too often already.
  void Prefer(AdmissionKey from, AdmissionKey to) {
    auto node = waiting_.extract(from);
    if (node.empty()) return;
    if (hold_ && hold_->key == from) hold_->key = to;
    node.key() = to;
    node.mapped().overtaken = kMaxOvertaken;
    node.mapped().no_hold_before = TimePoint::min();
    waiting_.insert(std::move(node));
    fresh_.erase(from);
    fresh_.insert(to);
  }

  // More may fit than before.
  void NotifyChange() { changed_ = true; }
  bool changed() const { return changed_; }
  bool has_waiting() const { return !waiting_.empty(); }
  bool has_free() const { return !free_.empty(); }
  // Take() may have an answer about what waits for memory.
  bool wants_look(TimePoint now) const {
    return !waiting_.empty() && (changed_ || !fresh_.empty() || HoldOver(now));
  }
  // When a hold ends, and others may be admitted without any change.
  std::optional<TimePoint> hold_until() const {
    return hold_ ? std::optional(hold_->until) : std::nullopt;
  }
  size_t num_waiting() const { return waiting_.size(); }

  // The next one, or none. `look`: also at what waits for memory. Without it
  // what should be looked at, and comes first, holds up what comes behind it.
  std::optional<Item> Take(bool look, TimePoint now, Judge& judge) {
    // First, so that none of them hides what comes behind it.
    while (!free_.empty() &&
           judge.Look(free_.begin()->second) == Admission::kGone) {
      judge.Drop(PopFree());
    }
    if (wants_look(now)) {
      if (look) {
        if (auto item = TakeWaiting(now, judge)) return item;
      } else if (!free_.empty() &&
                 waiting_.begin()->first < free_.begin()->first) {
        return std::nullopt;
      }
    }
    if (free_.empty()) return std::nullopt;
    return PopFree();
  }

  // Out with those that wait of which this is true.
  template <typename Predicate>
  std::vector<Item> TakeWaitingIf(Predicate is_gone) {
    std::vector<Item> items;
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      if (!is_gone(it->second.item)) {
        ++it;
        continue;
      }
      items.push_back(std::move(it->second.item));
      it = Erase(it);
    }
    return items;
  }

  // Everything, in order.
  std::vector<Item> Clear() {
    std::vector<Item> items;
    for (auto& [key, item] : free_) items.push_back(std::move(item));
    for (auto& [key, w] : waiting_) items.push_back(std::move(w.item));
    free_.clear();
    waiting_.clear();
    fresh_.clear();
    hold_.reset();
    return items;
  }

 private:
  struct Waiting {
    Item item;
    int overtaken = 0;
    Duration hold = kFirstHold;
    TimePoint no_hold_before = TimePoint::min();
  };
  using WaitingMap = std::map<AdmissionKey, Waiting>;
  using Iterator = typename WaitingMap::iterator;
  // For the first of those that wait.
  struct Hold {
    AdmissionKey key;
    TimePoint until;
  };

  bool HoldOver(TimePoint now) const { return hold_ && now >= hold_->until; }

  Item PopFree() {
    Item item = std::move(free_.begin()->second);
    free_.erase(free_.begin());
    return item;
  }

  // It was not admitted in its time: the others go on, and it gets more time
  // when it is due again.
  void EndHold(TimePoint now, Judge& judge) {
    auto it = waiting_.find(hold_->key);
    if (it != waiting_.end()) {
      Waiting& first = it->second;
      first.overtaken = 0;
      first.no_hold_before = now + kPausePerHold * first.hold;
      first.hold = std::min<Duration>(first.hold * 2, kMaxHold);
      judge.HeldInVain(first.item);
    }
    hold_.reset();
    changed_ = true;
  }

  // From `it` on; `all`: also what was looked at before.
  Iterator NextToLookAt(Iterator it, bool all) {
    if (all || it == waiting_.end()) return it;
    const auto fresh = fresh_.lower_bound(it->first);
    return fresh == fresh_.end() ? waiting_.end() : waiting_.find(*fresh);
  }

  std::optional<Item> TakeWaiting(TimePoint now, Judge& judge) {
    if (HoldOver(now)) EndHold(now, judge);
    // Taken back where the look ends early.
    const bool all = std::exchange(changed_, false);
    auto head = waiting_.end();
    if (!all && !fresh_.contains(waiting_.begin()->first)) {
      head = waiting_.begin();
    }
    for (auto it = NextToLookAt(waiting_.begin(), all); it != waiting_.end();
         it = NextToLookAt(it, all)) {
      // What needs no memory and is older, or more important, goes first.
      if (!free_.empty() && free_.begin()->first < it->first) {
        changed_ |= all;
        return std::nullopt;
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
        changed_ |= all;
        return item;
      }
      if (head == waiting_.end()) head = it;
      fresh_.erase(it->first);
      ++it;
    }
    return std::nullopt;
  }

  Iterator Erase(Iterator it) {
    // Those that were held back for it may go.
    if (hold_ && hold_->key == it->first) {
      hold_.reset();
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
    if (now < first.no_hold_before) return true;
    if (!judge.Compete(other.second.item, first.item)) return true;
    if (!judge.FitsAtRest(first.item)) return true;
    if (!hold_ || !(hold_->key == head.first)) {
      hold_ = Hold{head.first, now + first.hold};
    }
    return false;
  }

  std::map<AdmissionKey, Item> free_;
  WaitingMap waiting_;
  // Those of waiting_ that nobody has looked at since they came.
  std::set<AdmissionKey> fresh_;
  bool changed_ = false;
  std::optional<Hold> hold_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_ADMISSION_QUEUE_H_
