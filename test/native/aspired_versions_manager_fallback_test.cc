// AspiredVersionsManager: the last good version comes back when what it went
// for is not to be had.
#include <gtest/gtest.h>

#include <chrono>

#include "native/test_util/avm_memory_fixture.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::Allocation;
using test::AvmMemoryTest;
using test::FreesFirst;
using test::kLoadBroken;
using test::kResourcePreserving;
using test::Main;
using test::ProbePtr;
using test::Settled;
using test::TestAvm;
using enum HarnessState;

TEST_F(AvmMemoryTest, WhenTheNewOneFailsTheLastGoodOneIsLoadedAgain) {
  auto first = t_.Needs(60);
  auto renewal = t_.RenewalOf(first);
  renewal->Estimate(Allocation({Main(60)}));
  t_.Aspire("m", {{1, first}}, FreesFirst());
  auto second = t_.Needs(60);
  second->FailAllLoads(kLoadBroken);
  const Settled list = t_.Aspire("m", {{2, second}});
  EXPECT_EQ(list.Text(), "2:End(ERR_LOAD_FAILED)");
  EXPECT_EQ(first->unloads(), 1);
  EXPECT_EQ(renewal->loads(), 1);
  EXPECT_EQ(State(1), kReady);
  EXPECT_TRUE(t_.IsOpen({"m", 1}));
  EXPECT_FALSE(Row(1).aspired);
  EXPECT_TRUE(Row(2).degraded);
}

TEST_F(AvmMemoryTest, TheSlowRetriesOfABadOneDoNotTakeTheGoodOneAgain) {
  auto first = t_.Needs(60);
  auto renewal = t_.RenewalOf(first);
  renewal->Estimate(Allocation({Main(60)}));
  t_.Aspire("m", {{1, first}}, FreesFirst());
  auto second = t_.Needs(60);
  second->FailAllLoads(kLoadBroken);
  t_.Aspire("m", {{2, second}});
  for (int i = 0; i < 10; ++i) {
    t_.Advance(milliseconds(20'000));
    ASSERT_EQ(State(1), kReady) << i;
  }
  EXPECT_EQ(second->loads(), 1);
  EXPECT_EQ(State(2), kLoadRequested) << "it waits for memory";
  // When there is room for both, it is tried.
  second->FailAllLoads(Status::Ok());
  t_.manager->SetLimits({120});
  t_.Step();
  EXPECT_EQ(State(2), kReady);
  EXPECT_EQ(State(1), std::nullopt);
}

TEST_F(AvmMemoryTest, OneAttemptThenTheLastGoodOne) {
  TestAvm t([](AspiredVersionsManager::Options* o) {
    o->limits = Allocation({Main(100)});
    o->retry.max_num_load_retries = 5;
  });
  auto first = t.Needs(60);
  t.RenewalOf(first);
  t.Aspire("m", {{1, first}}, FreesFirst());
  auto second = t.Needs(60);
  second->FailAllLoads(kLoadBroken);
  t.Aspire("m", {{2, second}});
  EXPECT_EQ(second->loads(), 1);
  EXPECT_EQ(t.State({"m", 1}), kReady);
}

TEST_F(AvmMemoryTest, WithoutARenewalTheNewOneIsTriedAgain) {
  t_.Aspire("m", {{1, t_.Needs(60)}}, FreesFirst());
  auto second = t_.Needs(60);
  second->ScriptLoad(kLoadBroken);
  t_.Aspire("m", {{2, second}});
  EXPECT_EQ(State(1), std::nullopt);
  t_.Advance(milliseconds(1300));
  EXPECT_EQ(State(2), kReady);
}

class AvmFallbackTest : public AvmMemoryTest {
 protected:
  // 1 went for 2, which failed; 1 is being loaded again.
  AvmFallbackTest() {
    auto first = t_.Needs(60);
    renewal_ = t_.RenewalOf(first);
    renewal_->Estimate(Allocation({Main(60)}));
    renewal_->HoldLoads();
    t_.Aspire("m", {{1, first}}, FreesFirst());
    auto second = t_.Needs(60);
    second->FailAllLoads(kLoadBroken);
    t_.Aspire("m", {{2, second}});
    EXPECT_EQ(State(1), kLoading);
  }
  ProbePtr renewal_;
};

TEST_F(AvmFallbackTest, AspiredAgainItIsTheSameLoad) {
  const Settled list = t_.Aspire("m", {{1, t_.Needs(60)}});
  EXPECT_FALSE(list.is_settled());
  renewal_->FinishLoad();
  t_.Step();
  EXPECT_EQ(list.Text(), "1:Available");
  EXPECT_TRUE(Row(1).aspired);
  EXPECT_EQ(State(2), std::nullopt);
}

TEST_F(AvmFallbackTest, ANewListDoesNotStopItAndComesAfterIt) {
  auto third = t_.Needs(60);
  const Settled list = t_.Aspire("m", {{3, third}});
  EXPECT_EQ(renewal_->cancels(), 0);
  auto again = t_.RenewalOf(renewal_);
  renewal_->FinishLoad();
  t_.Step();
  EXPECT_EQ(list.Text(), "3:Available") << "1 went for it";
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_EQ(again->loads(), 0);
}

TEST_F(AvmFallbackTest, AnEmptyListStopsIt) {
  renewal_->ListenToCancel();
  const Settled list = t_.Aspire("m", {});
  EXPECT_EQ(renewal_->cancels(), 1);
  EXPECT_TRUE(list.is_settled());
  EXPECT_EQ(State(1), std::nullopt);
}

TEST_F(AvmFallbackTest, CloseStopsIt) {
  renewal_->ListenToCancel();
  t_.Close(milliseconds(1000));
  EXPECT_EQ(renewal_->cancels(), 1);
  EXPECT_TRUE(t_.abandoned());
}

TEST_F(AvmFallbackTest, WhenItFailsTooTheNewOneIsTriedAgainInItsTime) {
  renewal_->FinishLoad(kLoadBroken);
  t_.Step();
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_EQ(State(2), kError);
  t_.Advance(milliseconds(1300));
  EXPECT_EQ(Row(2).incarnation, t_.events->Last({"m", 2})->incarnation);
  EXPECT_GE(t_.events->Of({"m", 2}).size(), 6u) << "a second incarnation";
}

TEST_F(AvmMemoryTest, AnEmptyListWhileTheNewOneLoadsBringsNothingBack) {
  auto first = t_.Needs(60);
  auto renewal = t_.RenewalOf(first);
  t_.Aspire("m", {{1, first}}, FreesFirst());
  auto second = t_.Needs(60);
  second->HoldLoads();
  second->ListenToCancel();
  t_.Aspire("m", {{2, second}});
  EXPECT_EQ(State(2), kLoading);
  EXPECT_TRUE(t_.Aspire("m", {}).is_settled());
  EXPECT_EQ(renewal->loads(), 0);
  EXPECT_TRUE(renewal->destroyed());
  EXPECT_EQ(State(1), std::nullopt);
}

TEST_F(AvmMemoryTest, AListWithAnotherVersionKeepsTheWayBack) {
  auto first = t_.Needs(60);
  auto renewal = t_.RenewalOf(first);
  t_.Aspire("m", {{1, first}}, FreesFirst());
  auto second = t_.Needs(60);
  second->HoldLoads();
  second->ListenToCancel();
  t_.Aspire("m", {{2, second}});
  auto third = t_.Needs(60);
  third->FailAllLoads(kLoadBroken);
  EXPECT_EQ(t_.Aspire("m", {{3, third}}).Text(), "3:End(ERR_LOAD_FAILED)");
  EXPECT_EQ(State(1), kReady);
  EXPECT_EQ(renewal->loads(), 1);
}

// 1 goes for 2, which fails, and n is before it then: 1 waits for memory.
class AvmLateFallbackTest : public AvmMemoryTest {
 protected:
  explicit AvmLateFallbackTest(int priority = 0) {
    StreamIntent intent = FreesFirst();
    intent.priority = priority;
    auto first = t_.Needs(60);
    renewal_ = t_.RenewalOf(first);
    renewal_->Estimate(Allocation({Main(60)}));
    t_.Aspire("m", {{1, first}}, intent);
    t_.Aspire("n", {{1, t_.Needs(60)}});
    t_.Aspire("o", {{1, t_.Needs(60)}});
    auto second = t_.Needs(60);
    second->FailAllLoads(kLoadBroken);
    t_.Aspire("m", {{2, second}});
    EXPECT_EQ(t_.State({"n", 1}), kReady);
    EXPECT_EQ(State(1), kLoadRequested);
  }
  ProbePtr renewal_;
};

TEST_F(AvmLateFallbackTest, ItIsDroppedWhenSomethingBetterIsThere) {
  const Settled list = t_.Aspire("m", {{3, t_.Needs(30)}});
  EXPECT_EQ(list.Text(), "3:Available");
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_EQ(renewal_->loads(), 0);
}

TEST_F(AvmLateFallbackTest, ItWaitsInItsTurn) {
  t_.Aspire("n", {});
  EXPECT_EQ(t_.State({"o", 1}), kReady);
  EXPECT_EQ(State(1), kLoadRequested);
}

class AvmImportantFallbackTest : public AvmLateFallbackTest {
 protected:
  AvmImportantFallbackTest() : AvmLateFallbackTest(5) {}
};

TEST_F(AvmImportantFallbackTest, ItHasThePriorityOfItsStream) {
  t_.Aspire("n", {});
  EXPECT_EQ(State(1), kReady);
  EXPECT_EQ(t_.State({"o", 1}), kLoadRequested);
}

TEST_F(AvmMemoryTest, AWayBackToWhatIsThereAgainIsForgotten) {
  StreamIntent intent;
  intent.standby = StandbyOptions{1, milliseconds(5000)};
  intent.on_insufficient_memory = OnInsufficientMemory::kResourcePreserving;
  auto first = t_.Needs(60);
  auto renewal = t_.RenewalOf(first);
  t_.Aspire("m", {{1, first}}, intent);
  auto lease = t_.readers->Acquire({"m", 1});
  t_.Aspire("m", {{2, t_.Needs(60)}});
  EXPECT_EQ(State(1), kQuiescing);
  t_.Aspire("m", {{1, t_.Needs(60)}});
  EXPECT_EQ(State(1), kReady);
  lease.Release();
  intent.policy = &kResourcePreserving;
  auto third = t_.Needs(10);
  third->FailAllLoads(kLoadBroken);
  EXPECT_EQ(t_.Aspire("m", {{3, third}}, intent).Text(),
            "3:End(ERR_LOAD_FAILED)");
  EXPECT_TRUE(IsStandby(1));
  EXPECT_EQ(renewal->loads(), 0);
  EXPECT_TRUE(renewal->destroyed());
  t_.Advance(milliseconds(5000));
  EXPECT_EQ(State(1), std::nullopt) << "its time is over";
}

// 1 went for 2, which failed; 3 waits for memory that n has.
class AvmStuckTest : public AvmMemoryTest {
 protected:
  AvmStuckTest() {
    t_.Aspire("n", {{1, t_.Needs(30)}});
    auto first = t_.Needs(50);
    renewal_ = t_.RenewalOf(first);
    renewal_->Estimate(Allocation({Main(50)}));
    t_.Aspire("m", {{1, first}}, FreesFirst());
    auto second = t_.Needs(60);
    second->FailAllLoads(kLoadBroken);
    t_.Aspire("m", {{2, second}, {3, t_.Needs(80)}});
    EXPECT_EQ(State(1), std::nullopt);
    EXPECT_EQ(State(3), kLoadRequested);
  }
  ProbePtr renewal_;
};

TEST_F(AvmStuckTest, TheLastGoodOneServesMeanwhile) {
  EXPECT_EQ(renewal_->loads(), 0) << "what was given back may be seen late";
  t_.Advance(milliseconds(1000));
  EXPECT_EQ(State(1), kReady);
  EXPECT_TRUE(t_.IsOpen({"m", 1}));
  EXPECT_EQ(State(3), kLoadRequested);
  for (int i = 0; i < 10; ++i) {
    t_.Advance(milliseconds(20'000));
    ASSERT_EQ(State(1), kReady) << i << ": it does not go again";
  }
  t_.manager->SetLimits({170});
  t_.Step();
  EXPECT_EQ(State(3), kReady);
  EXPECT_EQ(State(1), std::nullopt);
}

TEST_F(AvmStuckTest, ItIsNotNeededWhenMemoryComesInTime) {
  t_.Advance(milliseconds(900));
  t_.Aspire("n", {});
  EXPECT_EQ(State(3), kReady);
  t_.Advance(milliseconds(10'000));
  EXPECT_EQ(renewal_->loads(), 0);
  EXPECT_TRUE(renewal_->destroyed());
}

TEST_F(AvmStuckTest, AVersionWhoseLoaderIsAskedForAnEstimateIsComing) {
  auto fourth = t_.Needs(60);
  fourth->HoldEstimates();
  t_.Aspire("m", {{4, fourth}});
  t_.Advance(milliseconds(10'000));
  EXPECT_EQ(renewal_->loads(), 0);
  fourth->FinishEstimate();
  t_.Step();
  EXPECT_EQ(State(4), kReady);
  EXPECT_EQ(renewal_->loads(), 0);
}

TEST_F(AvmStuckTest, AnEmptyListBringsNothingBack) {
  t_.Aspire("m", {});
  t_.Advance(milliseconds(10'000));
  EXPECT_EQ(renewal_->loads(), 0);
  EXPECT_EQ(State(1), std::nullopt);
}

}  // namespace
}  // namespace aspired
