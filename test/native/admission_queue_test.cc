// AdmissionQueue alone: items are numbers that need a share of one memory.
#include "core/admission_queue.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "native/test_util/fake_clock.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A memory of one device, and who needs how much of it.
class Memory final : public AdmissionQueue<int>::Judge {
 public:
  Admission Look(const int& item) override {
    ++looks;
    if (gone.contains(item)) return Admission::kGone;
    return need[item] <= free ? Admission::kFits : Admission::kWaits;
  }
  bool FitsAtRest(const int& item) override {
    return need[item] <= free + transit + newcomers;
  }
  void HeldInVain(const int&) override {
    ++held_in_vain;
    newcomers = 0;  // those that are still there, stay
  }
  bool Compete(const int& a, const int& b) override {
    return device[a] == device[b];
  }
  void Drop(int item) override { dropped.push_back(item); }

  int free = 0;
  int transit = 0;    // comes back by itself
  int newcomers = 0;  // may come back
  std::map<int, int> need, device;
  std::map<int, bool> gone;
  std::vector<int> dropped;
  int looks = 0;
  int held_in_vain = 0;
};

class AdmissionQueueTest : public ::testing::Test {
 protected:
  void Waits(int item, int need, int priority = 0) {
    memory_.need[item] = need;
    queue_.PushWaiting({priority, age_++}, item);
  }
  void Free(int item, int priority = 0) {
    memory_.need[item] = 0;
    queue_.PushFree({priority, age_++}, item);
  }
  // What is admitted now takes its memory.
  std::vector<int> TakeAll(bool look = true) {
    std::vector<int> taken;
    while (auto item = queue_.Take(look, clock_.Now(), memory_)) {
      memory_.free -= memory_.need[*item];
      taken.push_back(*item);
    }
    return taken;
  }
  std::vector<int> ChangeAndTakeAll() {
    queue_.NotifyChange();
    return TakeAll();
  }
  // `item` and seven more go past what waits, each giving back what it took.
  void Overtake(int item, int times) {
    for (int i = 0; i < times; ++i) {
      Waits(item + i, 1);
      ASSERT_EQ(TakeAll(), std::vector<int>{item + i}) << i;
      memory_.free += 1;
    }
  }

  using Items = std::vector<int>;
  AdmissionQueue<int> queue_;
  Memory memory_;
  test::FakeClock clock_;
  uint64_t age_ = 1;
};

TEST_F(AdmissionQueueTest, TakesByPriorityThenAge) {
  memory_.free = 100;
  Waits(1, 1);
  Free(2);
  Waits(3, 1, 5);
  Free(4, 5);
  Waits(5, 1, -1);
  Free(6, -1);
  EXPECT_EQ(TakeAll(), (Items{3, 4, 1, 2, 5, 6}));
}

TEST_F(AdmissionQueueTest, WhatDoesNotFitIsPassedBy) {
  memory_.free = 5;
  Waits(1, 8);
  Waits(2, 3);
  Free(3);
  EXPECT_EQ(TakeAll(), (Items{2, 3}));
  EXPECT_EQ(queue_.num_waiting(), 1u);
  memory_.free = 8;
  EXPECT_EQ(TakeAll(), Items{}) << "nobody said that something changed";
  EXPECT_EQ(ChangeAndTakeAll(), Items{1});
}

TEST_F(AdmissionQueueTest, WithoutALookMemoryIsNotGivenAway) {
  memory_.free = 5;
  Free(1);
  Waits(2, 3);
  Free(3);
  EXPECT_EQ(TakeAll(/*look=*/false), Items{1})
      << "2 comes before 3, and is looked at soon";
  EXPECT_EQ(TakeAll(), (Items{2, 3}));
}

TEST_F(AdmissionQueueTest, WithoutALookWhatWasLookedAtHoldsUpNobody) {
  Waits(1, 3);
  EXPECT_EQ(TakeAll(), Items{});
  Free(2);
  EXPECT_EQ(TakeAll(/*look=*/false), Items{2});
}

TEST_F(AdmissionQueueTest, OfThoseThatWaitOnlyTheNewcomerIsLookedAt) {
  for (int i = 0; i < 100; ++i) Waits(i, 10);
  EXPECT_EQ(TakeAll(), Items{});
  memory_.looks = 0;
  Waits(100, 10);
  EXPECT_EQ(TakeAll(), Items{});
  EXPECT_EQ(memory_.looks, 1);
  EXPECT_FALSE(queue_.wants_look(clock_.Now()));
}

TEST_F(AdmissionQueueTest, ANewcomerOfHigherPriorityGoesFirst) {
  Waits(1, 3);
  EXPECT_EQ(TakeAll(), Items{});
  memory_.free = 3;
  Waits(2, 3, 1);
  EXPECT_EQ(ChangeAndTakeAll(), Items{2});
}

TEST_F(AdmissionQueueTest, AfterEightOvertakesTheFirstIsHeldFor) {
  memory_.free = 1;
  memory_.transit = 9;
  Waits(0, 10);
  Overtake(1, 8);
  Waits(20, 1);
  EXPECT_EQ(TakeAll(), Items{}) << "the ninth waits behind the first";
  ASSERT_EQ(queue_.hold_until(), clock_.Now() + seconds(1));
  memory_.free = 11;
  EXPECT_EQ(ChangeAndTakeAll(), (Items{0, 20}))
      << "then it fits, and the ninth may go";
  EXPECT_FALSE(queue_.hold_until());
}

TEST_F(AdmissionQueueTest, AHoldEndsByItselfAndTheNextIsTwiceAsLong) {
  memory_.free = 1;
  memory_.transit = 9;
  Waits(0, 10);
  seconds hold{1};
  for (int round = 0; round < 12; ++round) {
    // The one that was let go counts already.
    Overtake(100 * round + 1, round == 0 ? 8 : 7);
    Waits(100 * round + 50, 1);
    EXPECT_EQ(TakeAll(), Items{});
    ASSERT_EQ(queue_.hold_until(), clock_.Now() + hold) << round;
    clock_.Advance(hold - milliseconds(1));
    EXPECT_FALSE(queue_.wants_look(clock_.Now()));
    clock_.Advance(milliseconds(1));
    EXPECT_TRUE(queue_.wants_look(clock_.Now()));
    EXPECT_EQ(TakeAll(), Items{100 * round + 50});
    memory_.free += 1;
    ASSERT_FALSE(queue_.hold_until());
    clock_.Advance(4 * hold);
    hold = std::min(hold * 2, seconds(600));
  }
}

TEST_F(AdmissionQueueTest, AHoldThatNobodyWaitsForIsOverAllTheSame) {
  memory_.free = 1;
  memory_.transit = 9;
  Waits(0, 10);
  Overtake(1, 8);
  Waits(20, 1);
  EXPECT_EQ(TakeAll(), Items{});
  memory_.gone[20] = true;
  EXPECT_EQ(ChangeAndTakeAll(), Items{});
  clock_.Advance(seconds(1));
  EXPECT_EQ(TakeAll(), Items{});
  EXPECT_FALSE(queue_.hold_until()) << "or the loop would spin on it";
  EXPECT_FALSE(queue_.wants_look(clock_.Now()));
}

TEST_F(AdmissionQueueTest, AfterAHoldTheOthersHaveFourTimesAsLong) {
  memory_.free = 1;
  memory_.transit = 9;
  Waits(0, 10);
  seconds hold{1};
  int item = 1;
  for (int round = 0; round < 4; ++round) {
    Overtake(item, 8);
    Waits(item + 8, 1);
    EXPECT_EQ(TakeAll(), Items{});
    ASSERT_EQ(queue_.hold_until(), clock_.Now() + hold) << round;
    clock_.Advance(hold);
    EXPECT_EQ(TakeAll(), Items{item + 8});
    memory_.free += 1;
    Overtake(item + 9, 100);
    EXPECT_FALSE(queue_.hold_until());
    clock_.Advance(4 * hold - milliseconds(1));
    Overtake(item + 109, 1);
    clock_.Advance(milliseconds(1));
    hold *= 2;
    item += 110;
    // It has been overtaken often enough long since.
    Waits(item, 1);
    EXPECT_EQ(TakeAll(), Items{}) << round;
    memory_.gone[item] = true;
    EXPECT_EQ(ChangeAndTakeAll(), Items{});
    clock_.Advance(hold);
    EXPECT_EQ(TakeAll(), Items{});
    clock_.Advance(4 * hold);
    hold *= 2;
    ++item;
  }
  EXPECT_EQ(memory_.held_in_vain, 8);
}

TEST_F(AdmissionQueueTest, ForNewcomersThatStayNobodyIsHeldTwice) {
  memory_.free = 1;
  memory_.newcomers = 9;
  Waits(0, 10);
  Overtake(1, 8);
  Waits(20, 1);
  EXPECT_EQ(TakeAll(), Items{});
  clock_.Advance(seconds(1));
  EXPECT_EQ(TakeAll(), Items{20});
  EXPECT_EQ(memory_.held_in_vain, 1);
  memory_.free += 1;
  clock_.Advance(seconds(100));
  Overtake(21, 200);
  EXPECT_FALSE(queue_.hold_until());
}

// However many go past it: it would throttle everybody for as long as it waits.
TEST_F(AdmissionQueueTest, NobodyIsHeldForWhatWouldNotFitAtRest) {
  memory_.free = 1;
  memory_.transit = 5;
  Waits(0, 10);
  Overtake(1, 200);
  EXPECT_FALSE(queue_.hold_until());
}

TEST_F(AdmissionQueueTest, OneThatIsPreferredComesFirstAndIsHeldForAtOnce) {
  memory_.free = 3;
  memory_.transit = 5;
  Waits(1, 6);
  Waits(2, 8);
  EXPECT_EQ(TakeAll(), Items{});
  queue_.Prefer({0, 2}, {1000, 2});
  Waits(3, 1);
  EXPECT_EQ(TakeAll(), Items{}) << "the room is for the one that made it";
  memory_.free = 8;
  memory_.transit = 0;
  EXPECT_EQ(ChangeAndTakeAll(), Items{2});
  memory_.free = 7;
  EXPECT_EQ(ChangeAndTakeAll(), (Items{1, 3}));
}

TEST_F(AdmissionQueueTest, AHoldForOneThatIsPreferredIsStillItsOwn) {
  memory_.free = 1;
  memory_.transit = 9;
  Waits(0, 10);
  Overtake(1, 8);
  Waits(20, 1);
  EXPECT_EQ(TakeAll(), Items{});
  queue_.Prefer({0, 1}, {1000, 1});
  EXPECT_EQ(queue_.hold_until(), clock_.Now() + seconds(1));
  memory_.free = 11;
  EXPECT_EQ(ChangeAndTakeAll(), (Items{0, 20}));
  EXPECT_FALSE(queue_.hold_until()) << "or the loop would spin on it";
}

TEST_F(AdmissionQueueTest, WhoDoesNotCompeteIsNeitherCountedNorHeld) {
  memory_.free = 1;
  memory_.transit = 9;
  Waits(0, 10);
  for (int i = 100; i < 120; ++i) memory_.device[i] = 1;
  Overtake(100, 20);
  EXPECT_FALSE(queue_.hold_until());
  Overtake(1, 8);
  Waits(20, 1);
  Waits(119, 1);
  EXPECT_EQ(TakeAll(), Items{119}) << "within the hold of 0";
}

TEST_F(AdmissionQueueTest, TheHoldIsTheFirstOnesOwn) {
  memory_.free = 1;
  memory_.transit = 9;
  Waits(0, 10);
  Overtake(1, 8);
  Waits(20, 1);
  EXPECT_EQ(TakeAll(), Items{});
  // Someone more important comes, and is the first now: overtaken by none.
  Waits(30, 10, 1);
  EXPECT_EQ(ChangeAndTakeAll(), Items{20});
  memory_.free += 1;
  clock_.Advance(milliseconds(900));
  Overtake(31, 7);
  Waits(50, 1);
  EXPECT_EQ(TakeAll(), Items{});
  EXPECT_EQ(queue_.hold_until(), clock_.Now() + seconds(1))
      << "a whole one, not what is left of the other's";
}

TEST_F(AdmissionQueueTest, WhenTheFirstGoesThoseHeldForItAreLookedAt) {
  memory_.free = 1;
  memory_.transit = 9;
  Waits(0, 10);
  Overtake(1, 8);
  Waits(20, 1);
  EXPECT_EQ(TakeAll(), Items{});
  memory_.gone[0] = true;
  EXPECT_EQ(ChangeAndTakeAll(), Items{20});
  EXPECT_EQ(memory_.dropped, Items{0});
}

TEST_F(AdmissionQueueTest, WhatIsGoneIsDroppedOnce) {
  memory_.free = 2;
  Waits(1, 5);
  Free(2);
  Waits(3, 1);
  memory_.gone = {{1, true}, {2, true}};
  EXPECT_EQ(TakeAll(), Items{3});
  EXPECT_EQ(TakeAll(), Items{});
  EXPECT_EQ(memory_.dropped, (Items{2, 1}));
  EXPECT_FALSE(queue_.has_free());
  EXPECT_FALSE(queue_.has_waiting());
}

TEST_F(AdmissionQueueTest, WhatIsGoneHidesNobodyBehindIt) {
  memory_.free = 1;
  Free(1);
  Waits(2, 1);
  memory_.gone[1] = true;
  EXPECT_EQ(queue_.Take(true, clock_.Now(), memory_), 2);
}

TEST_F(AdmissionQueueTest, ADropMayTellOfAChange) {
  // As the manager does when the one that ends gives something back.
  class Telling final : public AdmissionQueue<int>::Judge {
   public:
    explicit Telling(AdmissionQueue<int>* queue) : queue_(*queue) {}
    Admission Look(const int& item) override {
      if (item == 1) return Admission::kGone;
      return free_ ? Admission::kFits : Admission::kWaits;
    }
    bool FitsAtRest(const int&) override { return false; }
    void HeldInVain(const int&) override { FAIL(); }
    bool Compete(const int&, const int&) override { return true; }
    void Drop(int item) override {
      EXPECT_EQ(item, 1);
      free_ = true;
      queue_.NotifyChange();
    }

   private:
    AdmissionQueue<int>& queue_;
    bool free_ = false;
  };
  Waits(0, 1);
  Waits(1, 1);
  Telling judge(&queue_);
  EXPECT_EQ(queue_.Take(true, clock_.Now(), judge), std::nullopt);
  EXPECT_TRUE(queue_.wants_look(clock_.Now())) << "0 was looked at before";
  EXPECT_EQ(queue_.Take(true, clock_.Now(), judge), 0);
}

TEST_F(AdmissionQueueTest, ClearGivesAllInOrder) {
  Waits(1, 1);
  Free(2);
  Free(3, 1);
  Waits(4, 1, 1);
  EXPECT_EQ(queue_.Clear(), (Items{3, 2, 4, 1}));
  EXPECT_FALSE(queue_.has_waiting());
  EXPECT_FALSE(queue_.has_free());
  EXPECT_FALSE(queue_.hold_until());
  EXPECT_EQ(TakeAll(), Items{});
}

TEST_F(AdmissionQueueTest, TenThousandThatWaitCostANewcomerNothing) {
  constexpr int kMany = 10'000;
  for (int i = 0; i < kMany; ++i) Waits(i, 10);
  EXPECT_EQ(TakeAll(), Items{});
  EXPECT_EQ(memory_.looks, kMany);
  memory_.looks = 0;
  memory_.free = 1;
  for (int i = 0; i < 1000; ++i) {
    memory_.device[kMany + i] = 1;
    Waits(kMany + i, 1);
    EXPECT_EQ(TakeAll(), Items{kMany + i});
    memory_.free += 1;
  }
  EXPECT_EQ(memory_.looks, 1000);
}

}  // namespace
}  // namespace aspired
