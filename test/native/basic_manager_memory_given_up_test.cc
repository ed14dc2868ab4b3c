// BasicManager and memory of loads that were given up and still run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "native/test_util/memory_fixture.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::Completion;
using test::Cuda;
using test::kMiB;
using test::Main;
using test::MemoryTest;
using test::ProbePtr;
using enum HarnessState;
using ::testing::HasSubstr;

const Status kDropped(ErrorCode::kLoadCancelled, "dropped");
const Status kTimeout(ErrorCode::kLoadTimeout, "timeout");

class BasicManagerMemoryGivenUpTest : public MemoryTest {
 protected:
  using MemoryTest::MemoryTest;

  // A version whose load is under way.
  ProbePtr Loading(const ServableId& id, std::vector<test::Entry> entries) {
    auto probe = Managed(id, std::move(entries));
    probe->HoldLoads();
    Load(id);
    EXPECT_TRUE(probe->loading());
    return probe;
  }
  // The same, dropped, given up and forgotten.
  ProbePtr GivenUp(const ServableId& id, std::vector<test::Entry> entries) {
    auto probe = Loading(id, std::move(entries));
    EXPECT_TRUE(t_.Cancel(id).ok());
    probe->GiveUpLoad(kDropped);
    EXPECT_EQ(t_.State(id), kDisabled);
    EXPECT_TRUE(t_.StopManaging(id).ok());
    EXPECT_TRUE(probe->destroyed());
    return probe;
  }
};

TEST_F(BasicManagerMemoryGivenUpTest, ItsMemoryIsReservedUntilItIsOver) {
  auto deaf = GivenUp({"A", 1}, {Main(60), Cuda(0, 20)});
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  EXPECT_EQ(Device(1).reserved, 20 * kMiB);
  Managed({"B", 1}, {Main(60)});
  const Completion end = Load({"B", 1});
  EXPECT_FALSE(end.is_done());
  EXPECT_THAT(t_.manager->ExplainWait({"B", 1}),
              HasSubstr("loads that were given up and still run have"));
  const auto report = t_.manager->GetResources();
  ASSERT_EQ(report.versions.size(), 2u);
  EXPECT_EQ(report.versions[0].waiting, t_.manager->ExplainWait({"B", 1}));
  EXPECT_EQ(report.versions[1].id, (ServableId{"A", 1}));
  EXPECT_EQ(report.versions[1].state, kLoading);
  EXPECT_TRUE(report.versions[1].given_up);
  EXPECT_EQ(report.versions[1].shares.at(0).reserved, 60 * kMiB);
  deaf->LoadIsOver();
  Pump();
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  EXPECT_EQ(Device(1).reserved, 0u);
  Unload({"B", 1});
  Pump();
  ExpectBaseline();
}

TEST_F(BasicManagerMemoryGivenUpTest, ItsSlotIsFree) {
  auto deaf = GivenUp({"A", 1}, {Main(60)});
  Loaded({"B", 1}, {Main(40)});
  Loaded({"C", 1}, {});
  deaf->LoadIsOver();
}

TEST_F(BasicManagerMemoryGivenUpTest, WhatItGrowsByIsItsOwn) {
  auto deaf = GivenUp({"A", 1}, {Main(60)});
  meter_->Grow(0, 30 * kMiB);
  auto beside = Managed({"B", 1}, {Main(20)});
  beside->OnLoad([this] { meter_->Grow(0, 20 * kMiB); });
  EXPECT_TRUE(Load({"B", 1}).status().ok());
  const auto report = t_.manager->GetResources();
  ASSERT_EQ(report.versions.size(), 2u);
  EXPECT_GE(report.versions[1].shares.at(0).measured, 30 * kMiB);
  EXPECT_TRUE(t_.manager->ExportFootprints().empty())
      << "what was measured beside it is not certain";
  meter_->Grow(0, -30 * kMiB);
  deaf->LoadIsOver();
  EXPECT_EQ(Device(0).reserved, 20 * kMiB);
}

TEST_F(BasicManagerMemoryGivenUpTest, OneWithoutAReservationLeavesNothing) {
  auto deaf = GivenUp({"A", 1}, {});
  ExpectBaseline();
  deaf->LoadIsOver();
  ExpectBaseline();
}

TEST_F(BasicManagerMemoryGivenUpTest, AStandbyGoesForWhatDoesNotFitBesideIt) {
  auto standby = Loaded({"S", 1}, {Main(40)});
  Unload({"S", 1}, {.keep_drained = true});
  Pump();
  auto deaf = GivenUp({"A", 1}, {Main(60)});
  Managed({"B", 1}, {Main(40)});
  const Completion end = Load({"B", 1});
  Pump();
  EXPECT_EQ(standby->unloads(), 1) << "it may never be over";
  EXPECT_TRUE(end.status().ok());
  deaf->LoadIsOver();
}

TEST_F(BasicManagerMemoryGivenUpTest, ItMayOutliveTheManager) {
  auto deaf = GivenUp({"A", 1}, {Main(60)});
  t_.Finish();
  t_.manager.reset();
  deaf->LoadIsOver();
}

class BasicManagerMemoryGivenUpRetryTest
    : public BasicManagerMemoryGivenUpTest {
 protected:
  BasicManagerMemoryGivenUpRetryTest()
      : BasicManagerMemoryGivenUpTest({.max_num_load_retries = 2}) {}
};

TEST_F(BasicManagerMemoryGivenUpRetryTest, TheNextAttemptNeedsRoomOfItsOwn) {
  auto probe = Loading({"A", 1}, {Main(60)});
  probe->GiveUpLoad(kTimeout);
  Pump();
  EXPECT_EQ(t_.State({"A", 1}), kLoading);
  EXPECT_FALSE(probe->loading());
  EXPECT_THAT(t_.manager->ExplainWait({"A", 1}),
              HasSubstr("needs 60.00 MiB (62914560), has 40.00 MiB"));
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  EXPECT_EQ(Device(0).estimated, 120 * kMiB);
  probe->LoadIsOver();
  Pump();
  EXPECT_EQ(t_.manager->ExplainWait({"A", 1}), "");
  probe->FinishLoad();
  EXPECT_EQ(t_.State({"A", 1}), kReady);
  EXPECT_EQ(probe->attempts(), (std::vector<int>{1, 2}));
  EXPECT_EQ(probe->estimates(), 1);
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
}

TEST_F(BasicManagerMemoryGivenUpRetryTest, WhereThereIsRoomItBeginsBesideIt) {
  auto probe = Loading({"A", 1}, {Main(40)});
  probe->GiveUpLoad(kTimeout);
  Pump();
  EXPECT_TRUE(probe->loading());
  EXPECT_EQ(Device(0).reserved, 80 * kMiB);
  probe->FinishLoad();
  probe->LoadIsOver();
  EXPECT_EQ(Device(0).reserved, 40 * kMiB);
}

TEST_F(BasicManagerMemoryGivenUpRetryTest, AnAttemptThatWaitsCanBeDropped) {
  auto probe = Loading({"A", 1}, {Main(60)});
  probe->GiveUpLoad(kTimeout);
  Pump();
  EXPECT_TRUE(t_.Cancel({"A", 1}).ok());
  EXPECT_EQ(t_.State({"A", 1}), kDisabled);
  EXPECT_TRUE(t_.StopManaging({"A", 1}).ok());
  Pump();
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  probe->LoadIsOver();
  ExpectBaseline();
}

TEST_F(BasicManagerMemoryGivenUpRetryTest,
       AnAttemptThatWaitsCanBecomeHopeless) {
  auto probe = Loading({"A", 1}, {Main(60)});
  probe->GiveUpLoad(kTimeout);
  Pump();
  SetLimits(50);
  EXPECT_EQ(t_.State({"A", 1}), kError);
  EXPECT_EQ(t_.manager->GetSnapshot({"A", 1})->status.code(),
            ErrorCode::kResourceExhausted);
  probe->LoadIsOver();
  ExpectBaseline();
}

}  // namespace
}  // namespace aspired
