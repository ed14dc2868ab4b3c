// AspiredVersionsManager: standbys, and room for a new version at the cost of
// the old one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "native/test_util/avm_memory_fixture.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::AvmMemoryTest;
using test::FreesFirst;
using test::kResourcePreserving;
using test::Settled;
using enum HarnessState;
using ::testing::HasSubstr;

StreamIntent Standbys(int versions, milliseconds keep_for = milliseconds(0)) {
  StreamIntent intent;
  intent.standby = StandbyOptions{versions, keep_for};
  return intent;
}
// ------------------------------------------------------------------ standbys

TEST_F(AvmMemoryTest, ADroppedVersionStaysAsAStandbyAndTheListSettles) {
  auto first = t_.Needs(40);
  t_.Aspire("m", {{1, first}}, Standbys(1));
  const Settled list = t_.Aspire("m", {{2, t_.Needs(40)}});
  EXPECT_EQ(list.Text(), "2:Available");
  EXPECT_TRUE(IsStandby(1));
  EXPECT_FALSE(t_.IsOpen({"m", 1}));
  EXPECT_EQ(first->unloads(), 0);
}

TEST_F(AvmMemoryTest, TheListSettlesOnlyWhenTheOldOneHasDrained) {
  t_.Aspire("m", {{1, t_.Needs(40)}}, Standbys(1));
  auto lease = t_.readers->Acquire({"m", 1});
  const Settled list = t_.Aspire("m", {{2, t_.Needs(40)}});
  EXPECT_FALSE(list.is_settled());
  lease.Release();
  t_.Step();
  EXPECT_EQ(list.Text(), "2:Available");
}

TEST_F(AvmMemoryTest, AStandbyIsAspiredAgainAtOnceWithItsFirstLoader) {
  auto first = t_.Needs(40);
  t_.Aspire("m", {{1, first}}, Standbys(1));
  t_.Aspire("m", {{2, t_.Needs(40)}});
  auto other = t_.Needs(40);
  const Settled list = t_.Aspire("m", {{1, other}});
  EXPECT_EQ(list.Text(), "1:Available");
  EXPECT_EQ(first->loads(), 1);
  EXPECT_EQ(other->loads(), 0);
  EXPECT_TRUE(other->destroyed());
  EXPECT_TRUE(t_.IsOpen({"m", 1}));
  EXPECT_TRUE(IsStandby(2)) << "and there is a way forward";
}

TEST_F(AvmMemoryTest, TheLastDroppedStayAndNoMoreThanAllowed) {
  t_.Aspire("m", {{1, t_.Needs(10)}}, Standbys(2));
  t_.Aspire("m", {{5, t_.Needs(10)}});
  t_.Aspire("m", {{3, t_.Needs(10)}});
  EXPECT_TRUE(IsStandby(1));
  EXPECT_TRUE(IsStandby(5));
  t_.Aspire("m", {{4, t_.Needs(10)}});
  EXPECT_EQ(State(1), std::nullopt) << "the oldest";
  EXPECT_TRUE(IsStandby(5));
  EXPECT_TRUE(IsStandby(3));
  EXPECT_TRUE(t_.manager->SetIntent("m", Standbys(1)).ok());
  t_.Step();
  EXPECT_EQ(State(5), std::nullopt);
  EXPECT_TRUE(IsStandby(3));
}

TEST_F(AvmMemoryTest, AStandbyExpires) {
  t_.Aspire("m", {{1, t_.Needs(10)}}, Standbys(1, milliseconds(5000)));
  t_.Aspire("m", {{2, t_.Needs(10)}});
  EXPECT_EQ(t_.manager->NextDue(), t_.clock->Now() + milliseconds(5000));
  t_.Advance(milliseconds(4999));
  EXPECT_TRUE(IsStandby(1));
  t_.Advance(milliseconds(1));
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_FALSE(t_.manager->NextDue());
}

TEST_F(AvmMemoryTest, WhatWasAspiredAgainDoesNotExpire) {
  t_.Aspire("m", {{1, t_.Needs(10)}}, Standbys(1, milliseconds(5000)));
  t_.Aspire("m", {{2, t_.Needs(10)}});
  t_.Advance(milliseconds(3000));
  t_.Aspire("m", {{1, t_.Needs(10)}});
  t_.Advance(milliseconds(1000));
  t_.Aspire("m", {{2, t_.Needs(10)}});
  EXPECT_TRUE(IsStandby(1));
  t_.Advance(milliseconds(4000));
  EXPECT_TRUE(IsStandby(1)) << "its time began anew";
  t_.Advance(milliseconds(1000));
  EXPECT_EQ(State(1), std::nullopt);
}

TEST_F(AvmMemoryTest, AnEmptyListLeavesNoStandby) {
  t_.Aspire("m", {{1, t_.Needs(10)}}, Standbys(2));
  t_.Aspire("m", {{2, t_.Needs(10)}});
  const Settled list = t_.Aspire("m", {});
  EXPECT_TRUE(list.is_settled());
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_EQ(State(2), std::nullopt);
}

TEST_F(AvmMemoryTest, AStandbyGoesForAnotherStream) {
  t_.Aspire("m", {{1, t_.Needs(40)}}, Standbys(1));
  t_.Aspire("m", {{2, t_.Needs(40)}});
  EXPECT_EQ(t_.Aspire("n", {{1, t_.Needs(60)}}).Text(), "1:Available");
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_EQ(State(2), kReady);
}

TEST_F(AvmMemoryTest, WhileAStandbyIsEvictedItsVersionIsReplaced) {
  auto first = t_.Needs(40);
  first->HoldUnloads();
  t_.Aspire("m", {{1, first}}, Standbys(1, milliseconds(1000)));
  t_.Aspire("m", {{2, t_.Needs(10)}});
  t_.Advance(milliseconds(1000));
  EXPECT_EQ(State(1), kUnloading);
  auto again = t_.Needs(40);
  const Settled list = t_.Aspire("m", {{1, again}});
  EXPECT_FALSE(list.is_settled());
  first->FinishUnload();
  t_.Step();
  EXPECT_EQ(list.Text(), "1:Available");
  EXPECT_EQ(again->loads(), 1);
}

TEST_F(AvmMemoryTest, CloseUnloadsStandbysAndWhatWouldBecomeOne) {
  auto first = t_.Needs(10);
  auto second = t_.Needs(10);
  t_.Aspire("m", {{1, first}}, Standbys(2));
  t_.Aspire("m", {{2, second}});
  auto lease = t_.readers->Acquire({"m", 2});
  t_.Aspire("m", {{3, t_.Needs(10)}});
  t_.Close(milliseconds(60'000));
  EXPECT_EQ(first->unloads(), 1);
  EXPECT_FALSE(t_.abandoned());
  lease.Release();
  t_.Step();
  EXPECT_EQ(second->unloads(), 1);
  EXPECT_TRUE(t_.abandoned().value().empty());
}

TEST_F(AvmMemoryTest, AStandbyDoesNotBlockTheResourcePreservingPolicy) {
  StreamIntent intent = Standbys(1);
  intent.policy = &kResourcePreserving;
  auto first = t_.Needs(40);
  t_.Aspire("m", {{1, first}}, intent);
  EXPECT_EQ(t_.Aspire("m", {{2, t_.Needs(40)}}).Text(), "2:Available");
  EXPECT_TRUE(IsStandby(1));
  // But it goes when it must.
  EXPECT_EQ(t_.Aspire("m", {{3, t_.Needs(90)}}).Text(), "3:Available");
  EXPECT_EQ(first->unloads(), 1);
  EXPECT_EQ(State(2), std::nullopt);
}

TEST_F(AvmMemoryTest, OptionsGivenBeforeAnyListAreKept) {
  EXPECT_TRUE(t_.manager->SetIntent("m", Standbys(1)).ok());
  t_.Step();
  t_.Aspire("m", {{1, t_.Needs(10)}});
  t_.Aspire("m", {{2, t_.Needs(10)}});
  EXPECT_TRUE(IsStandby(1));
  t_.Aspire("m", {});
  t_.Step();
  EXPECT_EQ(t_.manager->GetIntent("m").standby->versions, 1);
}

// ----------------------------------------------------------- frees its own

TEST_F(AvmMemoryTest, WaitIsTheDefaultAndSaysWhy) {
  t_.Aspire("m", {{1, t_.Needs(60)}});
  const Settled list = t_.Aspire("m", {{2, t_.Needs(60)}});
  EXPECT_FALSE(list.is_settled());
  EXPECT_EQ(State(1), kReady);
  EXPECT_THAT(Row(2).waiting, HasSubstr("needs 60, has 40"));
  EXPECT_FALSE(Row(2).degraded);
  t_.manager->SetLimits({120});
  t_.Step();
  EXPECT_EQ(list.Text(), "2:Available");
}

TEST_F(AvmMemoryTest, TheOldOneGoesFirstWhereTheIntentSaysSo) {
  auto first = t_.Needs(60);
  auto renewal = t_.RenewalOf(first);
  t_.Aspire("m", {{1, first}}, FreesFirst());
  const Settled list = t_.Aspire("m", {{2, t_.Needs(60)}});
  EXPECT_EQ(list.Text(), "2:Available");
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_EQ(renewal->loads(), 0);
  EXPECT_TRUE(renewal->destroyed()) << "it was not needed";
}

TEST_F(AvmMemoryTest, AndWhenItIsSaidWhileItWaits) {
  t_.Aspire("m", {{1, t_.Needs(60)}});
  const Settled list = t_.Aspire("m", {{2, t_.Needs(60)}});
  EXPECT_FALSE(list.is_settled());
  EXPECT_TRUE(t_.manager->SetIntent("m", FreesFirst()).ok());
  t_.Step();
  EXPECT_EQ(list.Text(), "2:Available");
}

TEST_F(AvmMemoryTest, ItStaysWhenBothFit) {
  t_.Aspire("m", {{1, t_.Needs(50)}}, FreesFirst());
  auto second = t_.Needs(50);
  second->HoldLoads();
  t_.Aspire("m", {{2, second}});
  EXPECT_EQ(State(1), kReady);
  second->FinishLoad();
}

TEST_F(AvmMemoryTest, ItStaysWhenGoingWouldNotBeEnough) {
  t_.Aspire("n", {{1, t_.Needs(40)}});
  t_.Aspire("m", {{1, t_.Needs(40)}}, FreesFirst());
  const Settled list = t_.Aspire("m", {{2, t_.Needs(70)}});
  EXPECT_EQ(State(1), kReady);
  EXPECT_EQ(State(2), kLoadRequested);
  t_.Aspire("n", {});
  EXPECT_EQ(list.Text(), "2:Available") << "now it helps";
}

TEST_F(AvmMemoryTest, StandbysGoTogetherWithTheOldOne) {
  t_.Aspire("n", {{1, t_.Needs(30)}}, Standbys(1));
  t_.Aspire("n", {{2, t_.Needs(10)}});
  t_.Aspire("m", {{1, t_.Needs(40)}}, FreesFirst());
  EXPECT_EQ(t_.Aspire("m", {{2, t_.Needs(90)}}).Text(), "2:Available");
  EXPECT_EQ(t_.State({"n", 1}), std::nullopt);
  EXPECT_EQ(t_.State({"n", 2}), kReady);
}

// -------------------------------------------------------------------- limits

TEST_F(AvmMemoryTest, ARaisedLimitRetriesWhatCouldNeverFit) {
  auto probe = t_.Needs(150);
  const Settled list = t_.Aspire("m", {{1, probe}});
  EXPECT_EQ(list.Text(), "1:End(ERR_RESOURCE_EXHAUSTED)");
  EXPECT_THAT(Row(1).error.ToString(), HasSubstr("needs 150, has 100"));
  EXPECT_TRUE(Row(1).degraded);
  t_.manager->SetLimits({200});
  t_.Step();
  EXPECT_EQ(State(1), kReady) << "without waiting for its slow retry";
  EXPECT_FALSE(t_.manager->NextDue());
}

TEST_F(AvmMemoryTest, ALimitThatIsLoweredEndsAWaitAndTheOldOneStays) {
  t_.Aspire("m", {{1, t_.Needs(60)}});
  const Settled list = t_.Aspire("m", {{2, t_.Needs(70)}});
  t_.manager->SetLimits({65});
  t_.Step();
  EXPECT_EQ(list.Text(), "2:End(ERR_RESOURCE_EXHAUSTED)");
  EXPECT_EQ(State(1), kReady);
}

TEST_F(AvmMemoryTest, PriorityIsTheStreams) {
  t_.Aspire("h", {{1, t_.Needs(100)}});
  StreamIntent high;
  high.priority = 3;
  t_.Aspire("low", {{1, t_.Needs(100)}});
  t_.Aspire("high", {{1, t_.Needs(100)}}, high);
  t_.Aspire("h", {});
  EXPECT_EQ(t_.State({"high", 1}), kReady);
  EXPECT_EQ(t_.State({"low", 1}), kLoadRequested);
}

}  // namespace
}  // namespace aspired
