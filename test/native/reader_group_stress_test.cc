// ReaderGroup around a manager with threads: members come, answer late, and go
// at any moment, while versions switch. Every list settles, and no servable is
// unloaded while a member that is there has it.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "core/aspired_versions_manager.h"
#include "core/reader_group.h"
#include "native/test_util/test_avm.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::kAvailabilityPreserving;
using test::kDeadline;
using test::Promised;
using test::Settled;

constexpr int kMemberThreads = 3;
constexpr int kLists = 300;

std::atomic<uint64_t> next_key{1};

// A servable of which the readers and the loader share whether it is loaded.
class FlagLoader final : public Loader {
 public:
  explicit FlagLoader(const std::weak_ptr<ReaderGroup>& group)
      : group_(group) {}
  bool Blocks() const override { return false; }
  void Load(const LoadContext&, LoadDone done) override {
    loaded->store(true);
    done({});
  }
  void Unload(UnloadDone done) override {
    if (const auto group = group_.lock()) group->Gone(key);
    loaded->store(false);
    done(Status::Ok());
  }
  const uint64_t key = next_key++;
  const std::shared_ptr<std::atomic<bool>> loaded =
      std::make_shared<std::atomic<bool>>(false);

 private:
  const std::weak_ptr<ReaderGroup> group_;
};

// A registry whose closes wait for Answer().
class LateMember final : public ReaderMember {
 public:
  // 0 when the group is shut. What is told meanwhile waits until the start is
  // known, as messages wait in an isolate.
  static uint64_t Attach(ReaderGroup& group,
                         const std::shared_ptr<LateMember>& member) {
    std::lock_guard<std::mutex> lock(member->mu_);
    ReaderGroup::Snapshot snapshot;
    const uint64_t number = group.Attach(member, &snapshot);
    for (const auto& servable : snapshot.open) member->OpenLocked(servable);
    return number;
  }

  void Open(const OpenServable& servable) override {
    std::lock_guard<std::mutex> lock(mu_);
    OpenLocked(servable);
  }
  void Close(uint64_t key, uint64_t epoch) override {
    std::lock_guard<std::mutex> lock(mu_);
    closing_[key] = epoch;
  }
  void Gone(uint64_t key) override {
    std::lock_guard<std::mutex> lock(mu_);
    open_.erase(key);
  }
  void SetIntent(const std::string&, const ReaderIntent&) override {}
  void CaughtUp() override {}
  void Shut() override {}

  // Everything that is here is loaded.
  void Check() const {
    std::lock_guard<std::mutex> lock(mu_);
    for (const auto& [key, loaded] : open_) {
      EXPECT_TRUE(loaded->load()) << "unloaded under a member";
    }
  }
  void Answer(ReaderGroup& group, uint64_t number) {
    std::map<uint64_t, uint64_t> closing;
    {
      std::lock_guard<std::mutex> lock(mu_);
      closing.swap(closing_);
      for (const auto& [key, epoch] : closing) open_.erase(key);
    }
    for (const auto& [key, epoch] : closing) group.MemberDrained(number, epoch);
  }

 private:
  void OpenLocked(const OpenServable& servable) {
    open_[servable.key] =
        std::static_pointer_cast<std::atomic<bool>>(servable.shared);
    closing_.erase(servable.key);
  }

  mutable std::mutex mu_;
  std::map<uint64_t, std::shared_ptr<std::atomic<bool>>> open_;
  std::map<uint64_t, uint64_t> closing_;  // key -> epoch
};

class OwnerReaders final : public Readers {
 public:
  void Open(const ServableId&, Loader&) override {}
  void Close(const ServableId& id, Loader&, uint64_t epoch) override {
    if (auto group = group_.lock()) group->OwnerDrained(id, epoch);
  }
  void set_group(std::weak_ptr<ReaderGroup> group) {
    group_ = std::move(group);
  }

 private:
  std::weak_ptr<ReaderGroup> group_;
};

class ReaderGroupStressTest : public ::testing::Test {
 protected:
  ReaderGroupStressTest() {
    AspiredVersionsManager::Options o;
    o.policy = &kAvailabilityPreserving;
    o.manage_state_interval = milliseconds(5);
    o.clock = std::make_shared<SystemClock>();
    o.readers = group_;
    owner_->set_group(group_);
    manager_ = AspiredVersionsManager::Create(std::move(o));
    group_->set_drained(
        [weak = std::weak_ptr(manager_)](const ServableId& id, uint64_t epoch) {
          if (auto manager = weak.lock()) manager->Drained(id, epoch);
        });
  }

  // Comes, reads, answers and goes, again and again.
  void Run(unsigned seed) {
    std::minstd_rand random(seed);
    while (!done_) {
      auto member = std::make_shared<LateMember>();
      const uint64_t number = LateMember::Attach(*group_, member);
      if (number == 0) return;
      for (int i = static_cast<int>(random() % 50); i >= 0; --i) {
        member->Check();
        if (random() % 2 == 0) member->Answer(*group_, number);
        std::this_thread::yield();
      }
      group_->Detach(number);
    }
  }

  const std::shared_ptr<OwnerReaders> owner_ = std::make_shared<OwnerReaders>();
  const std::shared_ptr<ReaderGroup> group_ =
      std::make_shared<ReaderGroup>(ReaderGroup::Options{
          owner_,
          [](Loader& loader) -> std::pair<uint64_t, std::shared_ptr<void>> {
            const auto& flag = static_cast<const FlagLoader&>(loader);
            return {flag.key, flag.loaded};
          }});
  std::shared_ptr<AspiredVersionsManager> manager_;
  std::atomic<bool> done_{false};
};

TEST_F(ReaderGroupStressTest, SwitchesSettleWhileMembersComeAndGo) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kMemberThreads; ++i) {
    threads.emplace_back([this, i] { Run(static_cast<unsigned>(i) + 1); });
  }
  std::minstd_rand random(7);
  std::vector<Settled> lists(kLists);
  for (int i = 0; i < kLists; ++i) {
    if (i == kLists / 10) {
      group_->StartSharing();
      manager_->ShareReaders();
    }
    std::vector<AspiredVersion> list;
    const size_t count = 1 + random() % 2;
    for (size_t v = 0; v < count; ++v) {
      list.push_back({static_cast<int64_t>((random() % 2) * 2 + v),
                      std::make_unique<FlagLoader>(group_), Status::Ok()});
    }
    ASSERT_TRUE(
        manager_->SetAspiredVersions("m", std::move(list), {}, lists[i].done())
            .ok());
    if (random() % 4 == 0) std::this_thread::yield();
    if (random() % 16 == 0) {
      ASSERT_TRUE(lists[i].Wait());
    }
  }
  for (int i = 0; i < kLists; ++i) EXPECT_TRUE(lists[i].Wait()) << i;
  group_->Shut();
  Promised<std::vector<ServableId>> closed;
  ASSERT_TRUE(manager_
                  ->Close(kDeadline,
                          [&](std::vector<ServableId> abandoned) {
                            closed.Set(std::move(abandoned));
                          })
                  .ok());
  ASSERT_TRUE(closed.Wait());
  EXPECT_TRUE(closed.Peek()->empty()) << "a member held up the end";
  done_ = true;
  for (std::thread& thread : threads) thread.join();
  manager_->Join();
  EXPECT_EQ(group_->num_members(), 0u);
}

}  // namespace
}  // namespace aspired
