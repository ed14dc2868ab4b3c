// ReaderGroup: several registries as one. The manager is played by the test,
// or is the real one in step mode.
#include "core/reader_group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "native/test_util/deadline.h"
#include "native/test_util/test_avm.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::FakeReaders;
using test::Notification;
using test::ProbePtr;
using test::Settled;
using test::TestAvm;
using Log = std::vector<std::string>;

// The number of a loader that does nothing.
class NumberedLoader final : public Loader {
 public:
  explicit NumberedLoader(uint64_t k, std::shared_ptr<void> s = nullptr)
      : key(k), shared(std::move(s)) {}
  bool Blocks() const override { return false; }
  void Load(const LoadContext&, LoadDone done) override { done({}); }
  void Unload(UnloadDone done) override { done(Status::Ok()); }
  const uint64_t key;
  const std::shared_ptr<void> shared;
};

std::string TextOf(const ReaderIntent& intent) {
  std::string text;
  for (int64_t version : intent.aspired) text += std::to_string(version) + ",";
  for (const auto& [label, version] : intent.labels) {
    text += label + "=" + std::to_string(version) + ",";
  }
  if (intent.primary) text += "primary=" + std::to_string(*intent.primary);
  return text;
}

// Writes down what it hears.
class LogMember final : public ReaderMember {
 public:
  void Open(const OpenServable& s) override {
    log.push_back("open " + std::to_string(s.key) + " " + s.id.ToString() +
                  (s.shared != nullptr ? " shared" : ""));
  }
  void Close(uint64_t key, uint64_t epoch) override {
    log.push_back("close " + std::to_string(key) + " " + std::to_string(epoch));
  }
  void Gone(uint64_t key) override {
    log.push_back("gone " + std::to_string(key));
  }
  void SetIntent(const std::string& name, const ReaderIntent& i) override {
    log.push_back("intent " + name + " " + TextOf(i));
  }
  void CaughtUp() override { log.push_back("caught up"); }
  void Shut() override { log.push_back("shut"); }
  Log Take() { return std::exchange(log, {}); }
  Log log;
};

// The owner's registry: writes down, and leaves answers to the test.
class LogReaders final : public Readers {
 public:
  void Open(const ServableId& id, Loader&) override {
    log.push_back("open " + id.ToString());
  }
  void Close(const ServableId& id, Loader&, uint64_t epoch) override {
    log.push_back("close " + id.ToString() + " " + std::to_string(epoch));
  }
  Log log;
};

class ReaderGroupTest : public ::testing::Test {
 protected:
  ReaderGroupTest() {
    group_.set_drained([this](const ServableId& id, uint64_t epoch) {
      drained_.push_back(id.ToString() + " " + std::to_string(epoch));
    });
  }

  uint64_t Attach(const std::shared_ptr<LogMember>& member) {
    ReaderGroup::Snapshot snapshot;
    const uint64_t number = group_.Attach(member, &snapshot);
    for (const auto& [name, intent] : snapshot.intents) {
      member->SetIntent(name, intent);
    }
    for (const auto& servable : snapshot.open) member->Open(servable);
    return number;
  }

  const ServableId v1_{"m", 1};
  const ServableId v2_{"m", 2};
  NumberedLoader loader1_{11};
  NumberedLoader loader2_{12, std::make_shared<int>(0)};
  const std::shared_ptr<LogReaders> owner_ = std::make_shared<LogReaders>();
  ReaderGroup group_{{owner_,
                      [](Loader& loader) {
                        auto& numbered = static_cast<NumberedLoader&>(loader);
                        return std::pair(numbered.key, numbered.shared);
                      },
                      [](std::vector<double>* sum, const auto& words) {
                        sum->resize(std::max(sum->size(), words.size()));
                        for (size_t i = 0; i < words.size(); ++i) {
                          (*sum)[i] += words[i];
                        }
                      }}};
  const std::shared_ptr<LogMember> a_ = std::make_shared<LogMember>();
  const std::shared_ptr<LogMember> b_ = std::make_shared<LogMember>();
  Log drained_;
};

TEST_F(ReaderGroupTest, WithoutSharingTheOwnerIsAlone) {
  EXPECT_FALSE(group_.WantsIntent());
  group_.Open(v1_, loader1_);
  group_.Close(v1_, loader1_, 5);
  EXPECT_EQ(owner_->log, (Log{"open m/1", "close m/1 5"}));
  EXPECT_EQ(drained_, Log{});
  group_.OwnerDrained(v1_, 5);
  EXPECT_EQ(drained_, (Log{"m/1 5"}));
}

TEST_F(ReaderGroupTest, AMemberStartsWithWhatIsOpenThenHearsChanges) {
  group_.StartSharing();
  group_.SetIntent("m", {{1, 2}, {{"canary", 2}}, 1});
  group_.Open(v1_, loader1_);
  ASSERT_NE(Attach(a_), 0u);
  group_.Open(v2_, loader2_);
  group_.Close(v1_, loader1_, 5);
  EXPECT_EQ(a_->Take(), (Log{"intent m 1,2,canary=2,primary=1", "open 11 m/1",
                             "open 12 m/2 shared", "close 11 5"}));
  // What is closed is no part of a later start.
  Attach(b_);
  EXPECT_EQ(b_->Take(),
            (Log{"intent m 1,2,canary=2,primary=1", "open 12 m/2 shared"}));
  group_.Gone(11);
  EXPECT_EQ(a_->Take(), (Log{"gone 11"}));
}

TEST_F(ReaderGroupTest, DrainedWhenAllWhoWereThereHaveSaidSo) {
  group_.StartSharing();
  const uint64_t a = Attach(a_);
  const uint64_t b = Attach(b_);
  group_.Open(v1_, loader1_);
  group_.Close(v1_, loader1_, 5);
  // One that comes later has nothing to drain.
  Attach(std::make_shared<LogMember>());
  group_.MemberDrained(b, 5);
  group_.MemberDrained(b, 5);
  group_.OwnerDrained(v1_, 5);
  EXPECT_EQ(drained_, Log{});
  group_.MemberDrained(a, 5);
  EXPECT_EQ(drained_, (Log{"m/1 5"}));
  group_.MemberDrained(a, 5);
  EXPECT_EQ(drained_, (Log{"m/1 5"}));
}

TEST_F(ReaderGroupTest, AMemberThatIsGoneHasDrainedEverything) {
  group_.StartSharing();
  const uint64_t a = Attach(a_);
  const uint64_t b = Attach(b_);
  group_.Open(v1_, loader1_);
  group_.Open(v2_, loader2_);
  group_.Close(v1_, loader1_, 5);
  group_.Close(v2_, loader2_, 6);
  group_.OwnerDrained(v1_, 5);
  group_.OwnerDrained(v2_, 6);
  group_.MemberDrained(a, 6);
  group_.Detach(a);
  EXPECT_EQ(drained_, Log{});
  group_.Detach(b);
  EXPECT_EQ(drained_, (Log{"m/1 5", "m/2 6"}));
  group_.Detach(b);
  group_.MemberDrained(b, 5);
  EXPECT_EQ(drained_.size(), 2u);
  EXPECT_EQ(group_.num_members(), 0u);
  a_->Take();
  group_.Open(v1_, loader1_);
  EXPECT_EQ(a_->log, Log{});
}

TEST_F(ReaderGroupTest, AnOpenTakesBackTheCloseForAll) {
  group_.StartSharing();
  const uint64_t a = Attach(a_);
  group_.Open(v1_, loader1_);
  group_.Close(v1_, loader1_, 5);
  const uint64_t b = Attach(b_);
  group_.Open(v1_, loader1_);
  EXPECT_EQ(a_->Take(), (Log{"open 11 m/1", "close 11 5", "open 11 m/1"}));
  // It was not there at the close.
  EXPECT_EQ(b_->Take(), (Log{"open 11 m/1"}));
  group_.MemberDrained(a, 5);
  EXPECT_EQ(drained_, Log{});
  group_.Close(v1_, loader1_, 7);
  group_.OwnerDrained(v1_, 7);
  group_.MemberDrained(a, 7);
  EXPECT_EQ(drained_, Log{});
  group_.MemberDrained(b, 7);
  EXPECT_EQ(drained_, (Log{"m/1 7"}));
}

TEST_F(ReaderGroupTest, AReminderOfWhatIsKnownIsNoNews) {
  group_.StartSharing();
  Attach(a_);
  group_.Remind(v1_, loader1_);
  group_.Remind(v1_, loader1_);
  EXPECT_EQ(a_->log, (Log{"open 11 m/1"}));
  EXPECT_EQ(owner_->log, Log{}) << "the owner knows";
}

TEST_F(ReaderGroupTest, WhatClosesBeforeItsReminderConcernsTheOwnerAlone) {
  group_.Open(v1_, loader1_);
  group_.StartSharing();
  Attach(a_);
  group_.Close(v1_, loader1_, 5);
  EXPECT_EQ(a_->log, Log{});
  group_.OwnerDrained(v1_, 5);
  EXPECT_EQ(drained_, (Log{"m/1 5"}));
}

TEST_F(ReaderGroupTest, ShutTellsMembersOnceAndTakesNoMore) {
  group_.StartSharing();
  const uint64_t a = Attach(a_);
  group_.Open(v1_, loader1_);
  a_->Take();
  group_.Shut();
  group_.Shut();
  EXPECT_EQ(a_->Take(), (Log{"shut"}));
  EXPECT_EQ(Attach(b_), 0u);
  // Drains go on.
  group_.Close(v1_, loader1_, 5);
  group_.OwnerDrained(v1_, 5);
  EXPECT_EQ(drained_, Log{});
  group_.MemberDrained(a, 5);
  EXPECT_EQ(drained_, (Log{"m/1 5"}));
}

TEST_F(ReaderGroupTest, CountersOutliveTheMemberButNotTheVersion) {
  group_.StartSharing();
  const uint64_t a = Attach(a_);
  const uint64_t b = Attach(b_);
  double of_a[] = {0, 0};
  double of_b[] = {0};
  EXPECT_FALSE(group_.AddCounters(a, 11, of_a, 2)) << "not open yet";
  group_.Open(v1_, loader1_);
  EXPECT_TRUE(group_.AddCounters(a, 11, of_a, 2));
  EXPECT_TRUE(group_.AddCounters(b, 11, of_b, 1));
  of_a[1] = 7;
  of_b[0] = 3;
  group_.FreezeCounters(b, 11);
  of_b[0] = 4;
  auto counters = group_.CountersOf(11);
  ASSERT_EQ(counters.size(), 2u);
  EXPECT_EQ(counters[0].words, (std::vector<double>{0, 7}));
  EXPECT_TRUE(counters[0].is_attached);
  EXPECT_EQ(counters[1].words, (std::vector<double>{3}));
  group_.Detach(a);
  of_a[0] = 1;
  counters = group_.CountersOf(11);
  ASSERT_EQ(counters.size(), 2u);
  EXPECT_EQ(counters[0].words, (std::vector<double>{3}));
  EXPECT_TRUE(counters[0].is_attached);
  EXPECT_EQ(counters[1].words, (std::vector<double>{0, 7}));
  EXPECT_FALSE(counters[1].is_attached);
  group_.Gone(11);
  EXPECT_TRUE(group_.CountersOf(11).empty());
}

// A thread per job, for the life of a version.
TEST_F(ReaderGroupTest, WhatMembersCountedThatAreGoneIsOneSum) {
  group_.StartSharing();
  group_.Open(v1_, loader1_);
  for (int i = 1; i <= 100; ++i) {
    const uint64_t a = Attach(a_);
    std::vector<double> words{1, static_cast<double>(i)};
    EXPECT_TRUE(group_.AddCounters(a, 11, words.data(), words.size()));
    if (i % 2 == 0) group_.FreezeCounters(a, 11);
    group_.Detach(a);
  }
  const auto counters = group_.CountersOf(11);
  ASSERT_EQ(counters.size(), 1u);
  EXPECT_EQ(counters[0].words, (std::vector<double>{100, 5050}));
  EXPECT_FALSE(counters[0].is_attached);
}

TEST_F(ReaderGroupTest, AnEmptyIntentIsForgotten) {
  group_.StartSharing();
  group_.SetIntent("m", {{1}, {}, {}});
  group_.SetIntent("m", {});
  Attach(a_);
  EXPECT_EQ(a_->log, Log{});
}

// ------------------------------------------------ with AspiredVersionsManager

// The group around the fake readers of a TestAvm. Probes have no numbers, so
// the address of the loader is the key.
class SharedAvmTest : public ::testing::Test {
 protected:
  SharedAvmTest()
      : avm_([this](AspiredVersionsManager::Options* options) {
          group_ = std::make_shared<ReaderGroup>(ReaderGroup::Options{
              options->readers,
              [](Loader& loader) -> std::pair<uint64_t, std::shared_ptr<void>> {
                return {reinterpret_cast<uintptr_t>(&loader), nullptr};
              }});
          options->readers = group_;
        }) {
    group_->set_drained([weak = std::weak_ptr(avm_.manager)](
                            const ServableId& id, uint64_t epoch) {
      if (auto manager = weak.lock()) manager->Drained(id, epoch);
    });
    group_->set_catch_up([this](std::function<void()> late) {
      return avm_.manager->CatchUpReaders(std::move(late), patience_);
    });
    avm_.readers->set_drained([this](const ServableId& id, uint64_t epoch) {
      group_->OwnerDrained(id, epoch);
    });
  }

  // So that the end of the manager waits for nobody.
  ~SharedAvmTest() override {
    for (uint64_t number : attached_) group_->Detach(number);
  }

  void Share() {
    group_->StartSharing();
    avm_.manager->ShareReaders();
  }

  // Without the keys, which differ from run to run.
  static Log Verbs(const Log& log) {
    Log verbs;
    for (const std::string& line : log) {
      const size_t space = line.find(' ');
      const bool keyed = line.compare(0, space, "intent") != 0 &&
                         line.compare(0, space, "caught") != 0;
      verbs.push_back(keyed ? line.substr(0, space) +
                                  (line.find('/') == std::string::npos
                                       ? ""
                                       : line.substr(line.find(' ', space + 1)))
                            : line);
    }
    return verbs;
  }

  Log Attach() {
    ReaderGroup::Snapshot snapshot;
    attached_.push_back(group_->Attach(member_, &snapshot));
    EXPECT_NE(attached_.back(), 0u);
    Log log;
    if (!snapshot.is_complete) log.push_back("incomplete");
    for (const auto& [name, intent] : snapshot.intents) {
      log.push_back(name + " " + TextOf(intent));
    }
    for (const auto& servable : snapshot.open) {
      log.push_back(servable.id.ToString());
    }
    return log;
  }

  std::shared_ptr<ReaderGroup> group_;
  std::vector<uint64_t> attached_;
  milliseconds patience_{10'000};
  TestAvm avm_;
  const std::shared_ptr<LogMember> member_ = std::make_shared<LogMember>();
};

// A thread that is delivering effects, and is held up amid them from the
// constructor until End(), or for that long.
class HeldDelivery {
 public:
  HeldDelivery(AspiredVersionsManager& manager, milliseconds longest)
      : thread_([this, &manager, longest] {
          const Status status = manager.SetAspiredVersions(
              "other", {}, {}, [&](const TransitionResult&) {
                held_.Notify();
                (void)end_.Wait(longest);
              });
          EXPECT_TRUE(status.ok());
        }) {
    EXPECT_TRUE(held_.Wait());
  }
  ~HeldDelivery() { End(); }

  void End() {
    end_.Notify();
    if (thread_.joinable()) thread_.join();
  }

 private:
  Notification held_, end_;
  std::thread thread_;
};

TEST_F(SharedAvmTest, WhatWasThereBeforeTheSharingIsToldToMembers) {
  StreamIntent intent;
  intent.labels.emplace().emplace("canary", 2);
  intent.primary.emplace(1);
  avm_.Aspire("m", {{1, avm_.Probe()}, {2, avm_.FailingProbe()}}, intent);
  avm_.Aspire("n", {{7, avm_.Probe()}});
  Share();
  Log now = Attach();
  std::sort(now.begin(), now.end());
  EXPECT_EQ(now, (Log{"m 1,2,canary=2,primary=1", "m/1", "n 7,", "n/7"}));
}

// Another thread is delivering, and is held up: what the members should hear of
// waits behind that.
TEST_F(SharedAvmTest, AMemberThatComesMeanwhileStartsWithAllThatIsOpen) {
  avm_.Aspire("m", {{1, avm_.Probe()}});
  // Who attaches waits for this one; who does not, has attached by now.
  HeldDelivery delivery(*avm_.manager, milliseconds(200));
  Share();
  EXPECT_EQ(Attach(), (Log{"m 1,", "m/1"}));
  delivery.End();
}

// Who does not wait that long hears of it, and that it was all.
TEST_F(SharedAvmTest, AMemberThatStartsIncompleteHearsWhenItHasCaughtUp) {
  patience_ = milliseconds(1);
  avm_.Aspire("m", {{1, avm_.Probe()}});
  HeldDelivery delivery(*avm_.manager, milliseconds(10'000));
  Share();
  EXPECT_EQ(Attach(), (Log{"incomplete"}));
  EXPECT_EQ(member_->log, Log{});
  delivery.End();
  const Log heard = Verbs(member_->log);
  EXPECT_EQ(std::count(heard.begin(), heard.end(), "open m/1"), 1);
  EXPECT_EQ(heard.back(), "caught up");
}

TEST_F(SharedAvmTest, IntentComesBeforeWhatItLeadsTo) {
  Share();
  Attach();
  avm_.Aspire("m", {{1, avm_.Probe()}});
  EXPECT_EQ(Verbs(member_->Take()), (Log{"intent m 1,", "open m/1"}));
  Settled switched = avm_.Aspire("m", {{2, avm_.Probe()}});
  EXPECT_EQ(Verbs(member_->Take()), (Log{"intent m 2,", "open m/2", "close"}));
  EXPECT_FALSE(switched.is_settled()) << "the member still has version 1";
  // Back before the drain: the close is taken back, nothing is loaded.
  Settled back = avm_.Aspire("m", {{1, avm_.Probe()}});
  EXPECT_EQ(Verbs(member_->Take()), (Log{"intent m 1,", "open m/1", "close"}));
  group_->Detach(attached_.back());
  avm_.Step();
  EXPECT_TRUE(back.is_settled());
  EXPECT_EQ(back.Text(), "1:Available");
}

TEST_F(SharedAvmTest, LabelsAloneAreToldWithTheAspiredVersions) {
  avm_.Aspire("m", {{1, avm_.Probe()}});
  Share();
  Attach();
  StreamIntent intent;
  intent.labels.emplace().emplace("stable", 1);
  ASSERT_TRUE(avm_.manager->SetIntent("m", intent).ok());
  EXPECT_EQ(member_->Take(), (Log{"intent m 1,stable=1,"}));
}

TEST_F(SharedAvmTest, AVersionThatDrainsWhenTheSharingBeginsIsNotTold) {
  avm_.Aspire("m", {{1, avm_.Probe()}});
  {
    FakeReaders::Lease lease = avm_.readers->Acquire({"m", 1});
    avm_.Aspire("m", {});
    Share();
    EXPECT_EQ(Attach(), Log{});
  }
  avm_.Step();
  EXPECT_EQ(avm_.State({"m", 1}), std::nullopt);
  EXPECT_EQ(member_->log, Log{});
}

}  // namespace
}  // namespace aspired
