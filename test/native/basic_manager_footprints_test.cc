// BasicManager and experience: what a load took of a GPU, or in its cgroup, is
// what the next version of the servable is given there.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "native/test_util/memory_fixture.h"

namespace aspired {
namespace {

using test::Allocation;
using test::AnyCuda;
using test::Completion;
using test::Cuda;
using test::kMiB;
using test::Main;
using test::MemoryTest;
using test::ProbePtr;

// 100 MiB of main memory and two GPUs of 50 MiB; no threads: Pump() does all.
class BasicManagerFootprintsTest : public MemoryTest {
 protected:
  // A version whose load takes `takes` MiB of the GPU, whatever it estimated.
  ProbePtr Taking(const ServableId& id, std::vector<test::Entry> estimate,
                  size_t gpu, int64_t takes) {
    auto probe = Managed(id, std::move(estimate));
    probe->OnLoad([this, gpu, takes] { meter_->Grow(gpu, takes * kMiB); });
    probe->OnUnload([this, gpu, takes] { meter_->Grow(gpu, -takes * kMiB); });
    return probe;
  }
  void Take(const ServableId& id, std::vector<test::Entry> estimate, size_t gpu,
            int64_t takes) {
    Taking(id, std::move(estimate), gpu, takes);
    EXPECT_TRUE(Load(id).status().ok());
    Pump();
  }
};

TEST_F(BasicManagerFootprintsTest, TheNextVersionIsGivenWhatTheGpuWasTakenOf) {
  Take({"A", 1}, {AnyCuda(10)}, 1, 25);
  EXPECT_EQ(Device(1).measured, 25 * kMiB);
  EXPECT_EQ(Device(1).drift, 15 * kMiB);
  // Two and a half times what it says, wherever it goes.
  EXPECT_EQ(Loaded({"A", 2}, {Cuda(1, 12)})->reserved(),
            Allocation({Cuda(1, 30 * kMiB)}));
  EXPECT_EQ(Loaded({"A", 3}, {Cuda(0, 4)})->reserved(),
            Allocation({Cuda(0, 10 * kMiB)}));
  EXPECT_EQ(Loaded({"B", 1}, {Cuda(1, 12)})->reserved(),
            Allocation({Cuda(1, 12 * kMiB)}))
      << "of another servable nothing is known";
}

TEST_F(BasicManagerFootprintsTest, WhatIsLearnedOfAGpuSaysNothingOfMainMemory) {
  Take({"A", 1}, {Main(20), Cuda(0, 10)}, 1, 30);
  EXPECT_EQ(Loaded({"A", 2}, {Main(20), Cuda(1, 10)})->reserved(),
            Allocation({Main(20 * kMiB), Cuda(1, 30 * kMiB)}));
}

TEST_F(BasicManagerFootprintsTest, ALoadThatTookWhatItSaidChangesNothing) {
  Take({"A", 1}, {Cuda(0, 20)}, 1, 20);
  Take({"A", 2}, {Cuda(1, 20)}, 2, 15);
  EXPECT_EQ(Loaded({"A", 3}, {Cuda(0, 20)})->reserved(),
            Allocation({Cuda(0, 20 * kMiB)}));
}

TEST_F(BasicManagerFootprintsTest, OfWhatOthersTakeMeanwhileNothingIsLearned) {
  for (size_t gpu : {1u, 2u}) meter_->SetSelf(gpu, 0);
  t_.manager->GetResources();
  auto probe = Managed({"A", 1}, {Cuda(0, 10)});
  probe->OnLoad([this] {
    meter_->Grow(1, 10 * kMiB);
    meter_->GrowForeign(1, 20 * kMiB);
  });
  EXPECT_TRUE(Load({"A", 1}).status().ok());
  Pump();
  EXPECT_EQ(Device(1).measured, 10 * kMiB);
  EXPECT_EQ(Loaded({"A", 2}, {Cuda(1, 10)})->reserved(),
            Allocation({Cuda(1, 10 * kMiB)}));
}

TEST_F(BasicManagerFootprintsTest, AWordOfTheLastProcessCountsInTheNext) {
  Take({"A", 1}, {AnyCuda(10)}, 1, 25);
  const auto footprints = t_.manager->ExportFootprints();
  EXPECT_EQ(footprints,
            (std::vector<Footprint>{{"A", kCuda, 10 * kMiB, 25 * kMiB}}));
  test::TestManager::Options options;
  options.load_threads = 1;
  options.pump_thread = false;
  options.limits = Allocation({Main(100 * kMiB), Cuda(0, 50 * kMiB)});
  test::TestManager next(options);
  next.manager->ImportFootprints(footprints);
  EXPECT_EQ(next.manager->ExportFootprints(), footprints);
  auto probe = next.NewProbe(test::LoaderProbe::Kind::kNonBlocking);
  probe->Estimate(Allocation({AnyCuda(8 * kMiB)}));
  next.Manage({"A", 7}, probe);
  const Completion end = next.Load({"A", 7});
  next.Pump();
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(probe->reserved(), Allocation({Cuda(0, 20 * kMiB)}));
}

// ------------------------------------------------------------ exclusive loads

// Two slots: loads overlap.
class BasicManagerSharedLoadsTest : public BasicManagerFootprintsTest {
 protected:
  BasicManagerSharedLoadsTest() { t_.manager->SetNumLoadThreads(2); }
};

TEST_F(BasicManagerSharedLoadsTest, OfLoadsThatOverlapNothingIsLearned) {
  auto a = Taking({"A", 1}, {Cuda(0, 10)}, 1, 0);
  auto b = Taking({"B", 1}, {Cuda(0, 10)}, 1, 36);
  a->HoldLoads();
  b->HoldLoads();
  Load({"A", 1});
  Load({"B", 1});
  ASSERT_TRUE(a->loading() && b->loading());
  a->FinishLoad();
  b->FinishLoad();
  Pump();
  EXPECT_EQ(Device(1).measured, 36 * kMiB) << "it is counted, for both";
  EXPECT_TRUE(t_.manager->ExportFootprints().empty());
}

TEST_F(BasicManagerSharedLoadsTest, NorBesideOneThatDoesNotSayWhatItTakes) {
  auto a = Taking({"A", 1}, {Cuda(0, 10)}, 1, 10);
  auto b = Taking({"B", 1}, {Main(10)}, 1, 30);
  a->HoldLoads();
  b->HoldLoads();
  Load({"A", 1});
  Load({"B", 1});
  ASSERT_TRUE(a->loading() && b->loading());
  b->FinishLoad();
  a->FinishLoad();
  Pump();
  EXPECT_EQ(Device(1).measured, 40 * kMiB)
      << "there is nobody else to count it";
  EXPECT_TRUE(t_.manager->ExportFootprints().empty());
}

TEST_F(BasicManagerFootprintsTest, NorOfOneThatIsReadAfterTheNextBegan) {
  // One slot: the second begins as the first one ends, before memory is read.
  auto a = Taking({"A", 1}, {Cuda(0, 10)}, 1, 10);
  auto b = Taking({"B", 1}, {Cuda(0, 10)}, 1, 30);
  a->HoldLoads();
  b->HoldLoads();
  Load({"A", 1});
  Load({"B", 1});
  ASSERT_TRUE(a->loading() && !b->loading());
  a->FinishLoad();
  Pump();
  ASSERT_TRUE(b->loading());
  b->FinishLoad();
  Pump();
  EXPECT_EQ(Device(1).measured, 40 * kMiB);
  EXPECT_TRUE(t_.manager->ExportFootprints().empty());
}

TEST_F(BasicManagerFootprintsTest, NorWhileAnotherVersionGoes) {
  Take({"B", 1}, {Cuda(0, 20)}, 1, 20);
  auto a = Taking({"A", 1}, {Cuda(0, 10)}, 1, 40);
  a->HoldLoads();
  Load({"A", 1});
  EXPECT_TRUE(Unload({"B", 1}).status().ok());
  a->FinishLoad();
  Pump();
  EXPECT_EQ(t_.manager->ExportFootprints(),
            (std::vector<Footprint>{{"B", kCuda, 20 * kMiB, 20 * kMiB}}));
}

TEST_F(BasicManagerFootprintsTest, LoadsOfTwoGpusDoNotMix) {
  // The second one begins before the first one's GPU is read.
  auto a = Taking({"A", 1}, {Cuda(0, 10)}, 1, 20);
  auto b = Taking({"B", 1}, {Cuda(1, 10)}, 2, 30);
  a->HoldLoads();
  b->HoldLoads();
  Load({"A", 1});
  Load({"B", 1});
  a->FinishLoad();
  Pump();
  ASSERT_TRUE(b->loading());
  b->FinishLoad();
  Pump();
  EXPECT_EQ(t_.manager->ExportFootprints(),
            (std::vector<Footprint>{{"A", kCuda, 10 * kMiB, 20 * kMiB},
                                    {"B", kCuda, 10 * kMiB, 30 * kMiB}}));
}

// What was read before a load ended says nothing of it: it is read again.
TEST_F(BasicManagerFootprintsTest, AReadingThatTheLoadOvertookIsNotTheLast) {
  auto probe = Managed({"A", 1}, {Cuda(0, 10)});
  probe->HoldLoads();
  Load({"A", 1});
  meter_->AfterNextRead([&] {
    meter_->Grow(1, 25 * kMiB);
    probe->FinishLoad();
  });
  t_.manager->GetResources();
  EXPECT_EQ(t_.State({"A", 1}), HarnessState::kReady);
  Pump();
  EXPECT_EQ(Device(1).measured, 25 * kMiB);
  EXPECT_EQ(t_.manager->ExportFootprints(),
            (std::vector<Footprint>{{"A", kCuda, 10 * kMiB, 25 * kMiB}}));
}

TEST_F(BasicManagerFootprintsTest, AFailedLoadTeachesNothing) {
  auto probe = Taking({"A", 1}, {Cuda(0, 10)}, 1, 30);
  probe->FailAllLoads(Status(ErrorCode::kLoadFailed, "broken"));
  EXPECT_FALSE(Load({"A", 1}).status().ok());
  Pump();
  EXPECT_TRUE(t_.manager->ExportFootprints().empty());
  ExpectBaseline();
}

// -------------------------------------------------------------------- cgroups

// The process is in a cgroup, with 900 MiB of others' if it is not alone.
class BasicManagerCgroupTest : public BasicManagerFootprintsTest {
 protected:
  // A version that takes so many MiB which its cgroup is charged and which are
  // not resident: `kept`, and page cache.
  void TakeUnseen(const ServableId& id, std::vector<test::Entry> estimate,
                  int64_t kept, int64_t cache) {
    auto probe = Managed(id, std::move(estimate));
    probe->OnLoad([=, this] { meter_->Charge(kept * kMiB, cache * kMiB); });
    probe->OnUnload([=, this] { meter_->Charge(-kept * kMiB, -cache * kMiB); });
    EXPECT_TRUE(Load(id).status().ok());
  }
  void In(bool alone) {
    meter_->SetCgroup(CgroupCharge{1, 950 * kMiB, 930 * kMiB, alone});
  }
  ResourcesReport::Share Share(size_t version) {
    return t_.manager->GetResources().versions.at(version).shares.at(0);
  }
};

TEST_F(BasicManagerCgroupTest, WhatIsNotResidentIsReportedBesideTheRss) {
  In(/*alone=*/false);
  TakeUnseen({"A", 1}, {Main(10)}, 30, 5);
  EXPECT_EQ(Share(0).measured, 0);
  EXPECT_EQ(Share(0).measured_cgroup, 35 * kMiB);
  EXPECT_EQ(Device(0).measured_cgroup, 35 * kMiB);
  EXPECT_EQ(Device(0).alone_in_cgroup, false);
  EXPECT_EQ(Device(1).measured_cgroup, std::nullopt);
  EXPECT_TRUE(Unload({"A", 1}).status().ok());
  EXPECT_EQ(Device(0).measured_cgroup, 0);
  ExpectBaseline();
}

TEST_F(BasicManagerCgroupTest, WithoutACgroupThereIsNoFigure) {
  Loaded({"A", 1}, {Main(10)});
  EXPECT_EQ(Share(0).measured_cgroup, std::nullopt);
  EXPECT_EQ(Device(0).measured_cgroup, std::nullopt);
  EXPECT_EQ(Device(0).alone_in_cgroup, std::nullopt);
}

TEST_F(BasicManagerCgroupTest, WhoIsAloneInItLearnsFromWhatItKeeps) {
  In(/*alone=*/true);
  TakeUnseen({"A", 1}, {Main(10)}, 30, 20);
  EXPECT_EQ(Device(0).alone_in_cgroup, true);
  EXPECT_EQ(Loaded({"A", 2}, {Main(10)})->reserved(),
            Allocation({Main(30 * kMiB)}))
      << "and not from page cache, which the kernel takes back";
}

TEST_F(BasicManagerCgroupTest, WhoIsNotAloneInItDoesNot) {
  In(/*alone=*/false);
  TakeUnseen({"A", 1}, {Main(10)}, 30, 0);
  EXPECT_EQ(Loaded({"A", 2}, {Main(10)})->reserved(),
            Allocation({Main(10 * kMiB)}));
  EXPECT_TRUE(t_.manager->ExportFootprints().empty());
}

TEST_F(BasicManagerCgroupTest, TheRssIsLearnedWhereItIsMore) {
  In(/*alone=*/true);
  Take({"A", 1}, {Main(20)}, 0, 40);
  EXPECT_EQ(Loaded({"A", 2}, {Main(20)})->reserved(),
            Allocation({Main(40 * kMiB)}));
}

TEST_F(BasicManagerCgroupTest, ALoaderThatSaysNothingIsCountedForWhatItKeeps) {
  In(/*alone=*/true);
  TakeUnseen({"A", 1}, {}, 30, 0);
  EXPECT_EQ(Share(0).measured_cgroup, 30 * kMiB);
  EXPECT_EQ(Loaded({"A", 2}, {})->reserved(), Allocation({Main(30 * kMiB)}));
}

}  // namespace
}  // namespace aspired
