// ReaderGroup: the registries of several threads as one.
//
// The manager has one Readers: the registry of the thread that made it, the
// owner. A group puts the registries of other threads, its members, beside it:
// what opens opens everywhere, and a version that closed has drained when the
// owner and every member said so, or are gone. A member comes and goes at any
// moment, also by the end of its thread.
//
// Members know a version by the key of its loader: an Open() with the key of
// an earlier Close() takes that back, another key is another servable.
//
// A group that is not shared costs nothing: it keeps no books and forwards to
// the owner. StartSharing(), then AspiredVersionsManager::ShareReaders(), begin
// to keep them.
//
//   owner       Open -> Close(e) -> OwnerDrained(e) --------+
//   member 1    Open -> Close(e) -> MemberDrained(1, e) ----+-> drained(id, e)
//   member 2    Open -> Close(e) -> Detach(2) --------------+
//
// Thread-safe. The owner, the members, `drained` and `catch_up` are called with
// no lock held; Open(), Close(), SetIntent(), Remind() and Gone() come one at a
// time, as Readers promises, so members hear of them in that order.
#ifndef ASPIRED_CORE_READER_GROUP_H_
#define ASPIRED_CORE_READER_GROUP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/readers.h"

namespace aspired {

// A version that is open.
struct OpenServable {
  // Of its loader; unique over the life of the manager.
  uint64_t key = 0;
  ServableId id;
  // What another thread makes its own servable of; null: it cannot.
  std::shared_ptr<void> shared;
};

// The registry of another thread. Implementations return at once.
class ReaderMember {
 public:
  virtual ~ReaderMember() = default;

  // As Readers::Open(), by key. May name a version that was never closed here,
  // or one that is not known here.
  virtual void Open(const OpenServable& servable) = 0;
  // As Readers::Close(); answered by ReaderGroup::MemberDrained(). May name a
  // version that is not known here.
  virtual void Close(uint64_t key, uint64_t epoch) = 0;
  // The version is being unloaded: it will not be opened again.
  virtual void Gone(uint64_t key) = 0;
  virtual void SetIntent(const std::string& name,
                         const ReaderIntent& intent) = 0;
  // What an incomplete ReaderGroup::Snapshot lacked has been told.
  virtual void CaughtUp() = 0;
  // The manager is closing. Close() may follow, nothing else of interest.
  virtual void Shut() = 0;
};

class ReaderGroup final : public Readers {
 public:
  using Drained = std::function<void(const ServableId&, uint64_t epoch)>;

  struct Options {
    // Required.
    std::shared_ptr<Readers> owner;
    // Required: key and shared part of a loader. Called while it is open.
    std::function<std::pair<uint64_t, std::shared_ptr<void>>(Loader&)> identify;
    // Required where members count: adds their words to a sum, which is empty
    // at first. Called under the lock: plain arithmetic.
    std::function<void(std::vector<double>* sum,
                       const std::vector<double>& words)>
        add = {};
  };

  // What a new member starts with. Intents first: versions open under them.
  struct Snapshot {
    std::vector<std::pair<std::string, ReaderIntent>> intents;
    std::vector<OpenServable> open;
    // False: more was so at the call. The member hears of it, then CaughtUp().
    bool is_complete = true;
  };
  // True when the group has been told of all that is so; false: it calls `late`
  // when that is done.
  using CatchUp = std::function<bool(std::function<void()> late)>;

  explicit ReaderGroup(Options options) : options_(std::move(options)) {}

  // Who hears of drains; set before the group is used.
  void set_drained(Drained drained) { drained_ = std::move(drained); }
  // Set before the group is used.
  void set_catch_up(CatchUp catch_up) { catch_up_ = std::move(catch_up); }

  // From now on there may be members.
  void StartSharing() { sharing_.store(true, std::memory_order_release); }

  // Adds a member, which hears of everything after *snapshot. That holds what
  // is open at the call, or is not complete: the group catches up first.
  // Returns its number, or 0 when the group is shut. REQUIRES: StartSharing();
  // no lock held, and not from an effect of the manager.
  uint64_t Attach(std::shared_ptr<ReaderMember> member, Snapshot* snapshot);
  // The member has drained everything, and hears no more once this returned
  // (but for calls that are under way). A second call does nothing.
  void Detach(uint64_t member);

  // Answers to Close(). Those that come twice or too late are ignored, by this
  // or by the manager.
  void OwnerDrained(const ServableId& id, uint64_t epoch);
  void MemberDrained(uint64_t member, uint64_t epoch);

  // The version of this loader is being unloaded.
  void Gone(uint64_t key);

  // Numbers in which a member counts what happens to a version, in memory of
  // its own. It writes and others read without a lock: each number is right by
  // itself.
  struct Counters {
    std::vector<double> words;
    bool is_attached = false;
  };
  // False when the version is gone. The memory must stay until
  // FreezeCounters() or Detach(); what it holds then is kept, of members that
  // are gone as one sum: they may be many.
  bool AddCounters(uint64_t member, uint64_t key, const double* words,
                   size_t length);
  void FreezeCounters(uint64_t member, uint64_t key);
  // Copies of those of a version that is not gone: one for each call of
  // AddCounters() by a member that is there, and one for all others.
  std::vector<Counters> CountersOf(uint64_t key) const;

  // The manager is closing: members are told, and nobody attaches any more.
  // Drains are still waited for. A second call does nothing.
  void Shut();

  size_t num_members() const;

  // Readers.
  void Open(const ServableId& id, Loader& loader) override;
  void Close(const ServableId& id, Loader& loader, uint64_t epoch) override;
  bool WantsIntent() const override {
    return sharing_.load(std::memory_order_acquire);
  }
  void SetIntent(const std::string& name, const ReaderIntent& intent) override;
  void Remind(const ServableId& id, Loader& loader) override;

 private:
  static constexpr uint64_t kOwner = 0;

  struct CounterBlock {
    uint64_t member = kOwner;
    const double* live = nullptr;  // null: frozen
    size_t length = 0;
    std::vector<double> kept;

    std::vector<double> Words() const;
    void Freeze();
  };

  // A version that was open since the sharing began, and is not gone.
  struct Entry {
    ServableId id;
    std::shared_ptr<void> shared;
    bool open = false;
    // Of the Close() that waits, and whose answers are missing; 0: none waits.
    uint64_t epoch = 0;
    std::vector<uint64_t> missing;
    std::vector<CounterBlock> counters;
    std::vector<double> ended;  // the sum of members that are gone
  };
  using Members = std::vector<std::shared_ptr<ReaderMember>>;

  Members MembersLocked() const;
  // Makes the entry open, and tells the members.
  void OpenEntry(const ServableId& id, Loader& loader);
  void EndCloseLocked(Entry& entry);
  void SumCountersLocked(Entry& entry, uint64_t member);
  // True when that was the last answer.
  bool AnswerLocked(Entry& entry, uint64_t who);

  const Options options_;
  Drained drained_;
  CatchUp catch_up_ = [](const std::function<void()>&) { return true; };
  std::atomic<bool> sharing_{false};

  mutable std::mutex mu_;
  // Guarded by mu_.
  bool shut_ = false;
  uint64_t last_member_ = kOwner;
  std::map<uint64_t, std::shared_ptr<ReaderMember>> members_;  // by number
  std::map<uint64_t, Entry> entries_;                          // by key
  std::map<uint64_t, uint64_t> closing_;                       // epoch -> key
  std::map<std::string, ReaderIntent> intents_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_READER_GROUP_H_
