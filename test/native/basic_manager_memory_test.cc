// BasicManager and memory: what is reserved, when it comes back, who waits, who
// goes for whom.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "native/test_util/memory_fixture.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::Allocation;
using test::AnyCuda;
using test::Completion;
using test::Cuda;
using test::kMiB;
using test::Main;
using test::MemoryTest;
using test::ProbePtr;
using test::TestManager;
using enum HarnessState;
using ::testing::HasSubstr;

const Status kBroken(ErrorCode::kLoadFailed, "loader broken");
const Status kLost(ErrorCode::kInternal, "GPU is lost");

// 100 MiB of main memory and two GPUs of 50 MiB; no threads: Pump() does all.
class BasicManagerMemoryTest : public MemoryTest {
 protected:
  using MemoryTest::MemoryTest;
};

// ------------------------------------------------------------- reservations

TEST_F(BasicManagerMemoryTest, AReservationIsThereBeforeTheLoad) {
  auto probe = Managed({"A", 1}, {Main(60), AnyCuda(20)});
  uint64_t reserved = 0;
  probe->OnLoad([&] { reserved = Device(0).reserved; });
  probe->HoldLoads();
  Load({"A", 1});
  EXPECT_EQ(reserved, 60 * kMiB);
  EXPECT_EQ(probe->reserved(),
            Allocation({Main(60 * kMiB), Cuda(0, 20 * kMiB)}));
  probe->FinishLoad();
  EXPECT_EQ(t_.State({"A", 1}), kReady);
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  EXPECT_EQ(Device(1).reserved, 20 * kMiB);
}

TEST_F(BasicManagerMemoryTest, AndUntilTheUnloadHasReturned) {
  auto probe = Loaded({"A", 1}, {Main(60)});
  probe->HoldUnloads();
  auto lease = t_.readers->Acquire({"A", 1});
  const Completion end = Unload({"A", 1});
  EXPECT_EQ(Device(0).reserved, 60 * kMiB) << "while it drains";
  lease.Release();
  Pump();
  EXPECT_TRUE(probe->unloading());
  EXPECT_EQ(Device(0).reserved, 60 * kMiB) << "while it unloads";
  probe->FinishUnload();
  EXPECT_TRUE(end.status().ok());
  ExpectBaseline();
}

TEST_F(BasicManagerMemoryTest, AFailedLoadGivesAllBack) {
  auto probe = Managed({"A", 1}, {Main(60), AnyCuda(20)});
  probe->FailAllLoads(kBroken);
  probe->OnLoad([this] {
    meter_->Grow(0, 30 * kMiB);
    meter_->Grow(1, 10 * kMiB);
  });
  EXPECT_EQ(Load({"A", 1}).status(), kBroken);
  ExpectBaseline();
}

TEST_F(BasicManagerMemoryTest, AnUnloadThatFailsGivesAllBack) {
  auto probe = Loaded({"A", 1}, {Main(60)});
  probe->FailUnloads(kBroken);
  EXPECT_EQ(Unload({"A", 1}).status(), kBroken);
  ExpectBaseline();
}

class BasicManagerMemoryRetryTest : public BasicManagerMemoryTest {
 protected:
  BasicManagerMemoryRetryTest()
      : BasicManagerMemoryTest({.max_num_load_retries = 2,
                                .retry_interval = milliseconds(1000)}) {}
};

TEST_F(BasicManagerMemoryRetryTest, ARetryKeepsItsReservation) {
  auto probe = Managed({"A", 1}, {Main(60)});
  probe->ScriptLoad(kBroken);
  probe->OnLoad([this] { meter_->Grow(0, 10 * kMiB); });
  const Completion end = Load({"A", 1});
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  EXPECT_EQ(Device(0).measured, 0) << "of the failed attempt";
  Managed({"B", 1}, {Main(60)});
  const Completion other = Load({"B", 1});
  t_.Advance(milliseconds(1300));
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(probe->attempts(), (std::vector<int>{1, 2}));
  EXPECT_EQ(probe->estimates(), 1);
  EXPECT_FALSE(other.is_done());
}

TEST_F(BasicManagerMemoryRetryTest, ACancelInThePauseGivesAllBack) {
  auto probe = Managed({"A", 1}, {Main(60)});
  probe->FailAllLoads(kBroken);
  const Completion end = Load({"A", 1});
  Managed({"B", 1}, {Main(60)});
  const Completion other = Load({"B", 1});
  EXPECT_TRUE(t_.Cancel({"A", 1}).ok());
  EXPECT_EQ(end.status().code(), ErrorCode::kLoadCancelled);
  Pump();
  EXPECT_TRUE(other.status().ok());
}

TEST_F(BasicManagerMemoryTest, ACancelWhileItEstimatesEndsIt) {
  auto probe = Managed({"A", 1}, {Main(60)});
  probe->HoldEstimates();
  const Completion end = Load({"A", 1});
  EXPECT_TRUE(t_.Cancel({"A", 1}).ok());
  EXPECT_EQ(end.status().code(), ErrorCode::kLoadCancelled);
  EXPECT_TRUE(t_.StopManaging({"A", 1}).ok());
  EXPECT_FALSE(probe->destroyed()) << "its answer is still to come";
  probe->FinishEstimate();
  EXPECT_TRUE(probe->destroyed());
  ExpectBaseline();
}

TEST_F(BasicManagerMemoryTest, ACancelWhileItWaitsEndsIt) {
  Loaded({"A", 1}, {Main(60)});
  auto probe = Managed({"A", 2}, {Main(60)});
  const Completion end = Load({"A", 2});
  EXPECT_TRUE(t_.Cancel({"A", 2}).ok());
  EXPECT_EQ(end.status().code(), ErrorCode::kLoadCancelled);
  EXPECT_TRUE(t_.StopManaging({"A", 2}).ok());
  EXPECT_TRUE(probe->destroyed());
  EXPECT_EQ(t_.manager->ExplainWait({"A", 2}), "");
  Pump();
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
}

TEST_F(BasicManagerMemoryTest, ACancelledLoadKeepsItsMemoryUntilItIsUnloaded) {
  auto probe = Managed({"A", 1}, {Main(60)});
  probe->HoldLoads();
  probe->HoldUnloads();
  const Completion end = Load({"A", 1});
  EXPECT_TRUE(t_.Cancel({"A", 1}).ok());
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  probe->FinishLoad();
  Pump();
  EXPECT_TRUE(probe->unloading());
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  probe->FinishUnload();
  EXPECT_EQ(end.status().code(), ErrorCode::kLoadCancelled);
  ExpectBaseline();
}

TEST_F(BasicManagerMemoryTest, ACancelledLoadThatFailsGivesAllBack) {
  auto probe = Managed({"A", 1}, {Main(60)});
  probe->HoldLoads();
  probe->ListenToCancel();
  Load({"A", 1});
  EXPECT_TRUE(t_.Cancel({"A", 1}).ok());
  EXPECT_EQ(t_.State({"A", 1}), kDisabled);
  ExpectBaseline();
}

TEST_F(BasicManagerMemoryTest, WhatIsAbandonedGivesAllBackWhenItIsForgotten) {
  auto standby = Loaded({"A", 4}, {Main(20)});
  standby->AllowLeak();
  Unload({"A", 4}, {.keep_drained = true});
  auto loading = Managed({"A", 1}, {Main(40), AnyCuda(5)});
  loading->HoldLoads();
  Load({"A", 1});
  auto estimating = Managed({"A", 2}, {Main(40)});
  estimating->HoldEstimates();
  Load({"A", 2});
  Managed({"A", 3}, {Main(90)});
  Load({"A", 3});
  EXPECT_EQ(t_.manager->AbandonAll("now").size(), 4u);
  t_.Sync();
  for (int64_t version : {1, 2, 3, 4}) {
    EXPECT_TRUE(t_.StopManaging({"A", version}).ok());
  }
  loading->FinishLoad();
  EXPECT_EQ(loading->unloads(), 1) << "nobody waits for it";
  estimating->FinishEstimate();
  Pump();
  ExpectBaseline();
  Loaded({"B", 1}, {Main(100)});
}

// ------------------------------------------------------------------- waiting

TEST_F(BasicManagerMemoryTest, TheReasonHasTheArithmetic) {
  Loaded({"A", 1}, {Main(60)});
  Managed({"A", 2}, {Main(60)});
  Load({"A", 2});
  const std::string why = t_.manager->ExplainWait({"A", 2});
  EXPECT_THAT(why, HasSubstr("needs 60.00 MiB (62914560), has 40.00 MiB"));
  EXPECT_THAT(why, HasSubstr("limit 100.00 MiB"));
  EXPECT_THAT(why, HasSubstr("reserved 60.00 MiB"));
  const auto report = t_.manager->GetResources();
  ASSERT_EQ(report.versions.size(), 2u);
  EXPECT_EQ(report.versions[1].waiting, why);
  EXPECT_EQ(report.versions[0].waiting, "");
}

TEST_F(BasicManagerMemoryTest, WhoWaitsForASlotAloneSaysSo) {
  auto probe = Managed({"A", 1}, {Main(1)});
  probe->HoldLoads();
  Load({"A", 1});
  Managed({"A", 2}, {Main(1)});
  const Completion end = Load({"A", 2});
  EXPECT_EQ(t_.manager->ExplainWait({"A", 2}),
            "It fits and waits for its turn");
  probe->FinishLoad();
  Pump();
  EXPECT_TRUE(end.status().ok());
}

TEST_F(BasicManagerMemoryTest, WhoseLoaderOwesAnEstimateSaysSo) {
  auto probe = Managed({"A", 1}, {Main(60)});
  probe->HoldEstimates();
  const Completion end = Load({"A", 1});
  EXPECT_EQ(t_.manager->ExplainWait({"A", 1}),
            "Its loader is asked for an estimate");
  probe->FinishEstimate();
  Pump();
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(t_.manager->ExplainWait({"A", 1}), "");
}

TEST_F(BasicManagerMemoryTest, WhatCanNeverFitFailsThoughEverySlotIsTaken) {
  auto busy = Managed({"A", 1}, {Main(10)});
  busy->HoldLoads();
  Load({"A", 1});
  auto hopeless = Managed({"A", 2}, {Main(200)});
  const Completion end = Load({"A", 2});
  ASSERT_TRUE(end.is_done());
  EXPECT_EQ(end.status().code(), ErrorCode::kResourceExhausted);
  EXPECT_THAT(std::string(end.status().message()),
              HasSubstr("A/2 can never fit: "));
  EXPECT_EQ(t_.State({"A", 2}), kError);
  EXPECT_EQ(Device(0).estimated, 10 * kMiB);
  busy->FinishLoad();
}

TEST_F(BasicManagerMemoryTest, AndThoughItWaitsWhenTheLimitIsLowered) {
  auto busy = Managed({"A", 1}, {Main(10)});
  busy->HoldLoads();
  Load({"A", 1});
  Managed({"A", 2}, {Main(80)});
  const Completion hopeless = Load({"A", 2});
  Managed({"A", 3}, {Main(70)});
  const Completion other = Load({"A", 3});
  Managed({"A", 4}, {Main(80)});
  Load({"A", 4});
  EXPECT_TRUE(t_.Cancel({"A", 4}).ok());
  SetLimits(75);
  ASSERT_TRUE(hopeless.is_done());
  EXPECT_EQ(hopeless.status().code(), ErrorCode::kResourceExhausted);
  EXPECT_FALSE(other.is_done());
  SetLimits(100);
  busy->FinishLoad();
  Pump();
  EXPECT_TRUE(other.status().ok());
}

TEST_F(BasicManagerMemoryTest, HigherPriorityThenOlderGoesFirst) {
  Loaded({"H", 1}, {Main(100)});
  std::vector<int64_t> order;
  std::vector<Completion> ends;
  for (const auto& [version, priority] :
       std::vector<std::pair<int64_t, int>>{{1, 0}, {2, 7}, {3, 0}, {4, 7}}) {
    const int64_t v = version;
    auto probe = Managed({"A", v}, {Main(20)});
    probe->OnLoad([&order, v] { order.push_back(v); });
    ends.push_back(Load({"A", v}, {.priority = priority}));
  }
  Unload({"H", 1});
  Pump();
  for (const auto& end : ends) EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(order, (std::vector<int64_t>{2, 4, 1, 3}));
}

TEST_F(BasicManagerMemoryTest, WhatFitsGoesPastWhatDoesNot) {
  Loaded({"A", 1}, {Main(60)});
  Managed({"A", 2}, {Main(60)});
  const Completion big = Load({"A", 2});
  Loaded({"B", 1}, {Main(40)});
  Loaded({"C", 1}, {});
  Loaded({"D", 1}, {AnyCuda(50)});
  EXPECT_FALSE(big.is_done());
}

TEST_F(BasicManagerMemoryTest, WhatNeedsNoMemoryDoesNotGoPastWhatFits) {
  // One slot, and a reading that is too old to decide by.
  auto busy = Managed({"A", 1}, {});
  busy->HoldLoads();
  Load({"A", 1});
  auto probe = Managed({"A", 2}, {Main(60)});
  probe->HoldLoads();
  Load({"A", 2});
  Managed({"A", 3}, {});
  const Completion younger = Load({"A", 3});
  t_.clock->Advance(milliseconds(1000));
  busy->FinishLoad();
  Pump();
  EXPECT_TRUE(probe->loading()) << "in the order of their ages";
  EXPECT_FALSE(younger.is_done());
  probe->FinishLoad();
  Pump();
  EXPECT_TRUE(younger.status().ok());
}

// -------------------------------------------------------------------- limits

TEST_F(BasicManagerMemoryTest, ARaisedLimitAdmits) {
  meter_->SetTotal(0, 200 * kMiB);
  Loaded({"A", 1}, {Main(60)});
  Managed({"A", 2}, {Main(60)});
  const Completion end = Load({"A", 2});
  EXPECT_FALSE(end.is_done());
  SetLimits(120);
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(Device(0).reserved, 120 * kMiB);
}

TEST_F(BasicManagerMemoryTest, ALoweredLimitTakesNothingBack) {
  Loaded({"A", 1}, {Main(60)});
  SetLimits(50);
  EXPECT_EQ(t_.State({"A", 1}), kReady);
  EXPECT_EQ(Device(0).reserved, 60 * kMiB);
  EXPECT_EQ(Device(0).limit, 50 * kMiB);
  EXPECT_EQ(Device(0).available, 0u);
  Managed({"B", 1}, {Main(50)});
  const Completion end = Load({"B", 1});
  EXPECT_FALSE(end.is_done());
  Unload({"A", 1});
  Pump();
  EXPECT_TRUE(end.status().ok());
}

TEST_F(BasicManagerMemoryTest, ALimitThatMakesAWaitHopelessEndsIt) {
  Loaded({"A", 1}, {Main(60)});
  auto hopeless = Managed({"A", 2}, {Main(60)});
  const Completion end = Load({"A", 2});
  Managed({"A", 3}, {Main(50)});
  const Completion other = Load({"A", 3});
  SetLimits(55);
  EXPECT_EQ(end.status().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(t_.events->Trace({"A", 2}), "Start End(ERR_RESOURCE_EXHAUSTED)");
  EXPECT_EQ(hopeless->loads(), 0);
  EXPECT_FALSE(other.is_done());
  Unload({"A", 1});
  Pump();
  EXPECT_TRUE(other.status().ok());
}

// --------------------------------------------------------------------- meter

TEST_F(BasicManagerMemoryTest, WhatOthersUseBlocksAndUnblocks) {
  meter_->SetUsed(0, 70 * kMiB);
  Managed({"A", 1}, {Main(60)});
  const Completion end = Load({"A", 1});
  EXPECT_FALSE(end.is_done());
  EXPECT_THAT(t_.manager->ExplainWait({"A", 1}),
              HasSubstr("in use by all 70.00 MiB"));
  EXPECT_LE(t_.manager->NextDue().value(), t_.clock->Now() + milliseconds(100));
  meter_->SetUsed(0, 40 * kMiB);
  Pump();
  EXPECT_FALSE(end.is_done()) << "the reading is fresh";
  t_.Advance(milliseconds(100));
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(Device(0).used, 40 * kMiB);
  EXPECT_FALSE(t_.manager->NextDue()) << "nobody waits, nobody reads";
}

TEST_F(BasicManagerMemoryTest, MemoryIsReadOnlyWhileSomeoneWaits) {
  for (int64_t version = 1; version < 10; ++version) {
    Loaded({"A", version}, {});
    t_.Advance(milliseconds(1000));
  }
  EXPECT_EQ(meter_->reads(), 0);
  Loaded({"B", 1}, {Main(1)});
  EXPECT_GE(meter_->reads(), 1);
}

TEST_F(BasicManagerMemoryTest, AReadingFromBeforeALoadDoesNotCountAfterIt) {
  // Others have 40. The first one takes all of its 50 at once, within the
  // time for which a reading is fresh.
  meter_->SetUsed(0, 40 * kMiB);
  auto first = Managed({"A", 1}, {Main(50)});
  first->HoldLoads();
  Load({"A", 1});
  Managed({"A", 2}, {Main(50)});
  const Completion second = Load({"A", 2});
  EXPECT_FALSE(second.is_done());
  meter_->Grow(0, 50 * kMiB);
  first->FinishLoad();
  Pump();
  EXPECT_EQ(t_.State({"A", 1}), kReady);
  EXPECT_FALSE(second.is_done()) << "there are 10 left";
  meter_->Grow(0, -40 * kMiB);
  t_.Advance(milliseconds(100));
  EXPECT_TRUE(second.status().ok());
}

TEST_F(BasicManagerMemoryTest, AReadingMadeDuringALoadsEndDoesNotCountEither) {
  meter_->SetUsed(0, 40 * kMiB);
  auto first = Managed({"A", 1}, {Main(50)});
  first->HoldLoads();
  Load({"A", 1});
  Managed({"A", 2}, {Main(50)});
  const Completion second = Load({"A", 2});
  t_.clock->Advance(milliseconds(200));
  // Read, then overtaken by the load's end before it is taken note of.
  meter_->AfterNextRead([&] {
    meter_->Grow(0, 50 * kMiB);
    first->FinishLoad();
  });
  Pump();
  EXPECT_EQ(t_.State({"A", 1}), kReady);
  EXPECT_FALSE(second.is_done()) << "by a reading from before: 60 left";
  Unload({"A", 1});
  meter_->Grow(0, -50 * kMiB);
  t_.Advance(milliseconds(100));
  EXPECT_TRUE(second.status().ok());
}

TEST_F(BasicManagerMemoryTest, ALoadThatTakesLessThanItsReservationMakesRoom) {
  // No limit but the machine's.
  meter_->SetTotal(0, 100 * kMiB);
  SetLimits(1000);
  auto first = Managed({"A", 1}, {Main(60)});
  first->HoldLoads();
  Load({"A", 1});
  Managed({"A", 2}, {Main(60)});
  const Completion second = Load({"A", 2});
  EXPECT_FALSE(second.is_done());
  meter_->Grow(0, 10 * kMiB);
  first->FinishLoad();
  Pump();
  EXPECT_FALSE(second.is_done()) << "it may still touch the rest: 50";
  EXPECT_EQ(Device(0).available, 40 * kMiB);
}

TEST_F(BasicManagerMemoryTest, FreedMemoryAdmitsAtOnceNotAfterAnInterval) {
  Loaded({"A", 1}, {Main(60)});
  meter_->SetUsed(0, 60 * kMiB);
  Managed({"A", 2}, {Main(60)});
  const Completion end = Load({"A", 2});
  EXPECT_FALSE(end.is_done());
  meter_->SetUsed(0, 0);
  Unload({"A", 1});
  Pump();
  EXPECT_TRUE(end.is_done()) << "without the clock moving";
}

TEST_F(BasicManagerMemoryTest, ALostDeviceAdmitsNothingUntilItIsBack) {
  meter_->Lose(1, kLost);
  meter_->Lose(2, kLost);
  Managed({"A", 1}, {AnyCuda(10)});
  const Completion end = Load({"A", 1});
  Loaded({"B", 1}, {Main(10)});
  EXPECT_FALSE(end.is_done()) << "it may come back";
  EXPECT_THAT(t_.manager->ExplainWait({"A", 1}), HasSubstr("GPU is lost"));
  EXPECT_EQ(Device(1).status, kLost);
  EXPECT_FALSE(Device(1).total);
  meter_->Restore(2, 50 * kMiB, 0);
  t_.Advance(milliseconds(100));
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(Device(2).reserved, 10 * kMiB);
}

TEST_F(BasicManagerMemoryTest, AnUnboundEstimateIsPlacedWhereTheMostIsFree) {
  meter_->SetUsed(1, 30 * kMiB);
  EXPECT_EQ(Loaded({"A", 1}, {AnyCuda(20)})->reserved(),
            Allocation({Cuda(1, 20 * kMiB)}));
  EXPECT_EQ(Loaded({"A", 2}, {AnyCuda(30)})->reserved(),
            Allocation({Cuda(1, 30 * kMiB)}));
  EXPECT_EQ(Loaded({"A", 3}, {AnyCuda(20)})->reserved(),
            Allocation({Cuda(0, 20 * kMiB)}));
  Managed({"A", 4}, {AnyCuda(20)});
  const Completion end = Load({"A", 4});
  EXPECT_FALSE(end.is_done());
  Unload({"A", 2});
  Pump();
  EXPECT_TRUE(end.status().ok());
}

// --------------------------------------------------------------- measurement

TEST_F(BasicManagerMemoryTest, WhatALoadTookIsMeasuredAndGivenBack) {
  auto probe = Managed({"A", 1}, {Main(60), Cuda(1, 20)});
  probe->OnLoad([this] {
    meter_->Grow(0, 70 * kMiB);
    meter_->Grow(2, 15 * kMiB);
  });
  probe->OnUnload([this] {
    meter_->Grow(0, -70 * kMiB);
    meter_->Grow(2, -15 * kMiB);
  });
  meter_->SetUsed(0, 5 * kMiB);
  EXPECT_TRUE(Load({"A", 1}).status().ok());
  const auto report = t_.manager->GetResources();
  EXPECT_EQ(report.devices[0].measured, static_cast<int64_t>(70 * kMiB));
  EXPECT_EQ(report.devices[0].drift, static_cast<int64_t>(10 * kMiB));
  EXPECT_EQ(report.devices[0].used_by_others, 5 * kMiB);
  EXPECT_EQ(report.devices[2].measured, static_cast<int64_t>(15 * kMiB));
  EXPECT_EQ(report.devices[2].drift, -static_cast<int64_t>(5 * kMiB));
  ASSERT_EQ(report.versions.size(), 1u);
  EXPECT_EQ(report.versions[0].shares.size(), 2u);
  EXPECT_TRUE(Unload({"A", 1}).status().ok());
  ExpectBaseline();
}

TEST_F(BasicManagerMemoryTest, TheNextVersionIsGivenWhatTheLastOneTook) {
  auto probe = Managed({"A", 1}, {Main(20)});
  probe->OnLoad([this] { meter_->Grow(0, 40 * kMiB); });
  probe->OnUnload([this] { meter_->Grow(0, -40 * kMiB); });
  EXPECT_TRUE(Load({"A", 1}).status().ok());
  EXPECT_EQ(Loaded({"A", 2}, {Main(20)})->reserved(),
            Allocation({Main(40 * kMiB)}));
  EXPECT_EQ(Loaded({"B", 1}, {Main(20)})->reserved(),
            Allocation({Main(20 * kMiB)}));
  const auto footprints = t_.manager->ExportFootprints();
  EXPECT_EQ(footprints,
            (std::vector<Footprint>{{"A", kMain, 20 * kMiB, 40 * kMiB},
                                    {"A", kMain, 20 * kMiB, 0}}));
}

TEST_F(BasicManagerMemoryTest, ImportedFootprintsAreForDevicesThatAreHere) {
  t_.manager->ImportFootprints({{"A", kMain, 0, 30 * kMiB},
                                {"A", kCuda, 0, 20 * kMiB},
                                {"A", "tpu", 0, 10 * kMiB}});
  EXPECT_EQ(Loaded({"A", 1}, {})->reserved(),
            Allocation({Cuda(0, 20 * kMiB), Main(30 * kMiB)}));
}

TEST_F(BasicManagerMemoryTest, ALoaderThatSaysNothingHasNoAccount) {
  auto probe = t_.NewProbe(test::LoaderProbe::Kind::kNonBlocking);
  probe->OnLoad([this] { meter_->Grow(0, 100'000); });
  t_.Manage({"A", 1}, probe);
  EXPECT_TRUE(Load({"A", 1}).status().ok());
  EXPECT_TRUE(t_.manager->GetResources().versions.empty());
  ExpectBaseline();
  // One that takes much is counted all the same.
  auto big = t_.NewProbe(test::LoaderProbe::Kind::kNonBlocking);
  big->OnLoad([this] { meter_->Grow(0, 30 * kMiB); });
  t_.Manage({"A", 2}, big);
  EXPECT_TRUE(Load({"A", 2}).status().ok());
  EXPECT_EQ(Device(0).measured, static_cast<int64_t>(30 * kMiB));
  EXPECT_EQ(Device(0).reserved, 0u);
}

}  // namespace
}  // namespace aspired
