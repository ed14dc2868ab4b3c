// Standbys of BasicManager: who goes when memory is needed, and who is told
// that only its owner can make room.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "native/test_util/memory_fixture.h"

namespace aspired {
namespace {

using test::AnyCuda;
using test::Completion;
using test::Cuda;
using test::kMiB;
using test::Main;
using test::MemoryTest;
using test::ProbePtr;
using enum HarnessState;

class BasicManagerMemoryStandbyTest : public MemoryTest {
 protected:
  BasicManagerMemoryStandbyTest()
      : MemoryTest({.on_pressure = [this](const ServableId& id) {
          pressed_.push_back(id.ToString());
        }}) {}

  ProbePtr Standby(const ServableId& id, std::vector<test::Entry> entries) {
    auto probe = Loaded(id, std::move(entries));
    Unload(id, {.keep_drained = true});
    EXPECT_TRUE(IsStandby(id));
    return probe;
  }
  bool IsStandby(const ServableId& id) {
    return t_.manager->GetSnapshot(id)->standby;
  }

  std::vector<std::string> pressed_;
};

TEST_F(BasicManagerMemoryStandbyTest, AStandbyIsLoadedAndClosed) {
  auto probe = Standby({"A", 1}, {Main(60)});
  EXPECT_EQ(t_.State({"A", 1}), kQuiesced);
  EXPECT_FALSE(t_.readers->IsOpen({"A", 1}));
  EXPECT_EQ(probe->unloads(), 0);
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  EXPECT_TRUE(t_.manager->GetStates("A").empty()) << "nobody's concern";
  const auto report = t_.manager->GetResources();
  ASSERT_EQ(report.versions.size(), 1u);
  EXPECT_TRUE(report.versions[0].standby);
}

TEST_F(BasicManagerMemoryStandbyTest, ItIsRevokedWithoutALoad) {
  auto probe = Standby({"A", 1}, {Main(60)});
  EXPECT_TRUE(t_.Revoke({"A", 1}).ok());
  EXPECT_EQ(t_.State({"A", 1}), kReady);
  EXPECT_TRUE(t_.readers->IsOpen({"A", 1}));
  EXPECT_EQ(probe->loads(), 1);
  EXPECT_EQ(t_.events->Trace({"A", 1}),
            "Start Loading Available Unloading End Start Available");
  // It is none any more: nothing evicts it.
  Managed({"B", 1}, {Main(60)});
  EXPECT_FALSE(Load({"B", 1}).is_done());
  EXPECT_EQ(t_.State({"A", 1}), kReady);
  EXPECT_TRUE(Unload({"A", 1}).status().ok()) << "and unloads as any other";
}

TEST_F(BasicManagerMemoryStandbyTest,
       StandbysGoOldestFirstAndNoMoreThanNeeded) {
  Standby({"A", 1}, {Main(20)});
  Standby({"B", 1}, {Main(30)});
  Standby({"A", 2}, {Main(30)});
  Loaded({"C", 1}, {Main(60)});
  EXPECT_EQ(t_.State({"A", 1}), kDisabled);
  EXPECT_EQ(t_.State({"B", 1}), kDisabled);
  EXPECT_TRUE(IsStandby({"A", 2}));
  EXPECT_EQ(t_.events->Last({"A", 1})->manager_state, ManagerState::kEnd);
  Loaded({"C", 2}, {Main(10)});
  EXPECT_TRUE(IsStandby({"A", 2})) << "there was room";
}

TEST_F(BasicManagerMemoryStandbyTest, NoneGoesWhenAllWouldNotBeEnough) {
  Standby({"A", 1}, {Main(40)});
  Loaded({"B", 1}, {Main(50)});
  Managed({"C", 1}, {Main(60)});
  const Completion end = Load({"C", 1});
  EXPECT_TRUE(IsStandby({"A", 1}));
  EXPECT_FALSE(end.is_done());
  Unload({"B", 1});
  EXPECT_TRUE(end.is_done()) << "60 are free now";
  EXPECT_TRUE(IsStandby({"A", 1}));
}

TEST_F(BasicManagerMemoryStandbyTest, NoneGoesWhenWhatLeavesIsEnough) {
  Standby({"A", 1}, {Main(40)});
  auto leaving = Loaded({"B", 1}, {Main(60)});
  leaving->HoldUnloads();
  Unload({"B", 1});
  Managed({"C", 1}, {Main(50)});
  const Completion end = Load({"C", 1});
  EXPECT_TRUE(IsStandby({"A", 1}));
  leaving->FinishUnload();
  Pump();
  EXPECT_TRUE(end.is_done());
  EXPECT_TRUE(IsStandby({"A", 1}));
}

TEST_F(BasicManagerMemoryStandbyTest, OnlyThatWhichHelpsOnTheDeviceCounts) {
  Standby({"A", 1}, {Cuda(0, 50)});
  Standby({"A", 2}, {Cuda(1, 50)});
  Managed({"C", 1}, {Cuda(1, 10)});
  EXPECT_TRUE(Load({"C", 1}).is_done());
  EXPECT_EQ(t_.State({"A", 2}), kDisabled);
  EXPECT_TRUE(IsStandby({"A", 1})) << "it is on the other GPU";
}

TEST_F(BasicManagerMemoryStandbyTest, ForAnyGpuOnlyThoseOfOneGo) {
  Standby({"A", 1}, {Cuda(0, 20)});
  Loaded({"B", 1}, {Cuda(0, 20)});
  Standby({"A", 2}, {Cuda(1, 50)});
  Loaded({"C", 1}, {AnyCuda(40)});
  EXPECT_EQ(t_.State({"A", 2}), kDisabled);
  EXPECT_TRUE(IsStandby({"A", 1}));
}

TEST_F(BasicManagerMemoryStandbyTest, OneThatANewerOneMakesNeedlessStays) {
  Standby({"A", 1}, {Main(10)});
  Standby({"A", 2}, {Main(60)});
  Standby({"A", 3}, {Main(30)});
  Loaded({"C", 1}, {Main(60)});
  EXPECT_TRUE(IsStandby({"A", 1}));
  EXPECT_EQ(t_.State({"A", 2}), kDisabled);
  EXPECT_TRUE(IsStandby({"A", 3}));
}

TEST_F(BasicManagerMemoryStandbyTest, OneThatHoldsNothingStays) {
  auto probe = Managed({"A", 1}, {});
  probe->OnLoad([this] { meter_->Grow(0, 20 * kMiB); });
  EXPECT_TRUE(Load({"A", 1}).status().ok());
  Unload({"A", 1}, {.keep_drained = true});
  ASSERT_EQ(t_.manager->GetResources().versions.size(), 1u);
  Standby({"B", 1}, {Main(60)});
  Loaded({"C", 1}, {Main(70)});
  EXPECT_TRUE(IsStandby({"A", 1}));
  EXPECT_EQ(t_.State({"B", 1}), kDisabled);
}

TEST_F(BasicManagerMemoryStandbyTest, WhatDrainsIntoAStandbyGoesWhenItHas) {
  Loaded({"A", 1}, {Main(60)});
  auto lease = t_.readers->Acquire({"A", 1});
  Unload({"A", 1}, {.keep_drained = true});
  Managed({"B", 1}, {Main(60)});
  const Completion end = Load({"B", 1});
  EXPECT_FALSE(end.is_done());
  lease.Release();
  Pump();
  EXPECT_TRUE(end.is_done());
  EXPECT_EQ(t_.State({"A", 1}), kDisabled);
}

TEST_F(BasicManagerMemoryStandbyTest, WhatIsNotToBeOneAnyMoreCountsAsLeaving) {
  Loaded({"A", 1}, {Main(60)});
  auto lease = t_.readers->Acquire({"A", 1});
  Unload({"A", 1}, {.keep_drained = true});
  Standby({"B", 1}, {Main(40)});
  t_.manager->EvictStandby({"A", 1});
  Managed({"C", 1}, {Main(60)});
  const Completion end = Load({"C", 1});
  EXPECT_TRUE(IsStandby({"B", 1})) << "60 come back without it";
  lease.Release();
  Pump();
  EXPECT_TRUE(end.is_done());
  EXPECT_TRUE(IsStandby({"B", 1}));
  t_.manager->EvictStandbys();
  Pump();
  EXPECT_EQ(t_.State({"B", 1}), kDisabled);
}

TEST_F(BasicManagerMemoryStandbyTest, EvictingWhatIsNoneChangesNothing) {
  Loaded({"A", 1}, {Main(60)});
  t_.manager->EvictStandby({"A", 1});
  t_.manager->EvictStandby({"A", 7});
  t_.manager->EvictStandbys();
  Pump();
  EXPECT_EQ(t_.State({"A", 1}), kReady);
}

// ------------------------------------------------------------------ pressure

TEST_F(BasicManagerMemoryStandbyTest,
       AnOwnerThatCouldMakeRoomIsToldOncePerChange) {
  Loaded({"A", 1}, {Main(60)});
  Managed({"A", 2}, {Main(60)});
  Load({"A", 2}, {.frees_own = true});
  EXPECT_EQ(pressed_, std::vector<std::string>{"A/2"});
  for (int i = 0; i < 5; ++i) t_.Advance(std::chrono::milliseconds(500));
  EXPECT_EQ(pressed_.size(), 1u);
  SetLimits(90);
  EXPECT_EQ(pressed_.size(), 2u);
}

TEST_F(BasicManagerMemoryStandbyTest, NobodyIsToldWhereStandbysAreEnough) {
  Standby({"A", 1}, {Main(60)});
  Managed({"A", 2}, {Main(60)});
  EXPECT_TRUE(Load({"A", 2}, {.frees_own = true}).is_done());
  EXPECT_TRUE(pressed_.empty());
}

TEST_F(BasicManagerMemoryStandbyTest, AnOwnerMayBeAskedLater) {
  Loaded({"A", 1}, {Main(60)});
  Managed({"A", 2}, {Main(60)});
  Load({"A", 2});
  EXPECT_TRUE(pressed_.empty());
  t_.manager->SetFreesOwn({"A", 2}, true);
  Pump();
  EXPECT_EQ(pressed_, std::vector<std::string>{"A/2"});
}

TEST_F(BasicManagerMemoryStandbyTest, FitsWithoutCountsStandbysToo) {
  Standby({"S", 1}, {Main(30)});
  Loaded({"A", 1}, {Main(40)});
  Loaded({"A", 2}, {Main(30)});
  Managed({"A", 3}, {Main(70)});
  const Completion end = Load({"A", 3}, {.frees_own = true});
  EXPECT_EQ(t_.manager->FitsWithout({"A", 3}, {}), false);
  EXPECT_EQ(t_.manager->FitsWithout({"A", 3}, {{"A", 2}}), false);
  EXPECT_EQ(t_.manager->FitsWithout({"A", 3}, {{"A", 1}}), true);
  EXPECT_EQ(t_.manager->FitsWithout({"A", 1}, {}), std::nullopt)
      << "it does not wait";
  EXPECT_FALSE(t_.manager->FitsWithout({"A", 1}, {{"A", 2}}))
      << "it does not wait";
  Unload({"A", 1});
  EXPECT_TRUE(end.is_done()) << "the standby followed";
}

}  // namespace
}  // namespace aspired
