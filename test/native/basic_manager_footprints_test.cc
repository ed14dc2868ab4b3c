// BasicManager and experience: what a load took of a GPU, or in its cgroup, is
// what the next version of the servable is given there.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
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
  // The driver says what this process has of each.
  BasicManagerFootprintsTest() {
    for (size_t gpu : {1u, 2u}) meter_->SetSelf(gpu, 0);
    t_.manager->GetResources();
  }

  // A version whose load takes `takes` MiB of the GPU, whatever it estimated.
  ProbePtr Taking(const ServableId& id, std::vector<test::Entry> estimate,
                  size_t gpu, int64_t takes) {
    auto probe = Managed(id, std::move(estimate));
    probe->OnLoad([this, gpu, takes] { meter_->Grow(gpu, takes * kMiB); });
    probe->OnUnload([this, gpu, takes] { meter_->Grow(gpu, -takes * kMiB); });
    return probe;
  }
  // The last reading is too old by now.
  void ReadAgain() { t_.Advance(std::chrono::milliseconds(200)); }
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

// As in a container: the driver lists no process that is known to be this one.
TEST_F(BasicManagerFootprintsTest, NorWhereTheDriverDoesNotTellThemApart) {
  for (size_t gpu : {1u, 2u}) meter_->SetSelf(gpu, std::nullopt);
  t_.manager->GetResources();
  auto probe = Managed({"A", 1}, {Cuda(0, 10)});
  probe->OnLoad([this] {
    meter_->Grow(1, 10 * kMiB);
    meter_->GrowForeign(1, 20 * kMiB);
  });
  EXPECT_TRUE(Load({"A", 1}).status().ok());
  Pump();
  EXPECT_EQ(Device(1).measured, 30 * kMiB) << "it is counted all the same";
  EXPECT_TRUE(t_.manager->ExportFootprints().empty());
  EXPECT_EQ(Loaded({"A", 2}, {Cuda(1, 10)})->reserved(),
            Allocation({Cuda(1, 10 * kMiB)}));
}

TEST_F(BasicManagerFootprintsTest, NorOfALoadDuringWhichItComesToBeKnown) {
  meter_->SetSelf(1, std::nullopt);
  t_.manager->GetResources();
  auto probe = Managed({"A", 1}, {Cuda(0, 10)});
  probe->OnLoad([this] {
    meter_->GrowForeign(1, 20 * kMiB);
    meter_->SetSelf(1, 0);
    meter_->Grow(1, 10 * kMiB);
  });
  EXPECT_TRUE(Load({"A", 1}).status().ok());
  Pump();
  EXPECT_TRUE(t_.manager->ExportFootprints().empty());
}

TEST_F(BasicManagerFootprintsTest, AGpuThatTookLessIsForgottenAsWell) {
  Take({"A", 1}, {Cuda(0, 10)}, 1, 25);
  for (int v = 2; v <= 4; ++v) {
    Take({"A", v}, {Cuda(1, 4)}, 2, 0);
    EXPECT_EQ(t_.manager->ExportFootprints().empty(), v == 4) << v;
    Unload({"A", v});
  }
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

// --------------------------------------------------------- wrong measurements

// Experience wants 132 MiB for each version of A, of 100.
class BasicManagerWrongFootprintTest : public BasicManagerFootprintsTest {
 protected:
  BasicManagerWrongFootprintTest() {
    t_.manager->ImportFootprints({{"A", kMain, 20 * kMiB, 132 * kMiB}});
  }
};

TEST_F(BasicManagerWrongFootprintTest, ItIsAdmittedWhenItIsAlone) {
  Loaded({"B", 1}, {Main(30)});
  auto probe = Managed({"A", 1}, {Main(20)});
  const Completion end = Load({"A", 1});
  EXPECT_FALSE(end.is_done()) << "neither refused nor admitted";
  const std::string why = t_.manager->ExplainWait({"A", 1});
  EXPECT_NE(why.find("raised the estimate, which is main:0 ram_in_bytes 20.00"),
            std::string::npos)
      << why;
  EXPECT_TRUE(Unload({"B", 1}).status().ok());
  ASSERT_TRUE(end.is_done());
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(probe->reserved(), Allocation({Main(100 * kMiB)}));
  EXPECT_EQ(Device(0).reserved, 20 * kMiB) << "it took less";
  EXPECT_TRUE(Unload({"A", 1}).status().ok());
  ExpectBaseline();
}

TEST_F(BasicManagerWrongFootprintTest, ItKeepsWhatItTook) {
  Take({"A", 1}, {Main(20)}, 0, 35);
  EXPECT_EQ(Device(0).reserved, 35 * kMiB);
  EXPECT_TRUE(Unload({"A", 1}).status().ok());
  ExpectBaseline();
}

TEST_F(BasicManagerWrongFootprintTest, ItIsAdmittedBesideItsOwnAndHeals) {
  t_.manager->ClearFootprints(std::nullopt);
  // Something else in the process grows meanwhile, and goes again.
  auto first = Managed({"A", 1}, {Main(20)});
  first->OnLoad([this] { meter_->SetSelfRam((1024 + 132) * kMiB); });
  EXPECT_TRUE(Load({"A", 1}).status().ok());
  EXPECT_EQ(t_.manager->ExportFootprints().size(), 1u);
  ReadAgain();
  const std::vector<uint64_t> reserved = {0, 0, 80, 80, 80, 20};
  for (int64_t v = 2; v <= 5; ++v) {
    EXPECT_EQ(Loaded({"A", v}, {Main(20)})->reserved(),
              Allocation({Main(reserved[static_cast<size_t>(v)] * kMiB)}))
        << v;
    EXPECT_TRUE(Unload({"A", v - 1}).status().ok());
    ReadAgain();
  }
  EXPECT_TRUE(t_.manager->ExportFootprints().empty());
}

TEST_F(BasicManagerWrongFootprintTest, ItIsForgottenOnDemand) {
  Loaded({"B", 1}, {Main(30)});
  auto probe = Managed({"A", 1}, {Main(20)});
  const Completion end = Load({"A", 1});
  t_.manager->ClearFootprints("B");
  Pump();
  EXPECT_FALSE(end.is_done());
  t_.manager->ClearFootprints("A");
  Pump();
  EXPECT_TRUE(end.is_done());
  EXPECT_EQ(probe->reserved(), Allocation({Main(20 * kMiB)}));
}

// Of 100 MiB the process itself had 15 before anybody looked.
TEST_F(MemoryTest, WhatNeverWasThereIsNotWaitedFor) {
  t_.manager->ImportFootprints({{"A", kMain, 20 * kMiB, 95 * kMiB}});
  meter_->SetUsed(0, 15 * kMiB);
  EXPECT_EQ(Loaded({"A", 1}, {Main(20)})->reserved(),
            Allocation({Main(85 * kMiB)}));
}

// What was there once may be there again.
TEST_F(BasicManagerFootprintsTest, WhatOthersTookIsWaitedFor) {
  t_.manager->ImportFootprints({{"A", kMain, 20 * kMiB, 60 * kMiB}});
  meter_->SetUsed(0, 70 * kMiB);
  ReadAgain();
  auto probe = Managed({"A", 1}, {Main(20)});
  const Completion end = Load({"A", 1});
  EXPECT_FALSE(end.is_done()) << "30 are there, and it takes 60";
  meter_->SetUsed(0, 30 * kMiB);
  ReadAgain();
  EXPECT_TRUE(end.is_done());
  EXPECT_EQ(probe->reserved(), Allocation({Main(60 * kMiB)}));
}

TEST_F(BasicManagerWrongFootprintTest, WhatItsLoaderSaysIsStillRefused) {
  Managed({"A", 1}, {Main(101)});
  const Completion end = Load({"A", 1});
  ASSERT_TRUE(end.is_done());
  EXPECT_EQ(end.status().code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(std::string(end.status().message()).find("needs 101.00 MiB"),
            std::string::npos)
      << end.status().message();
}

TEST_F(BasicManagerWrongFootprintTest, AHigherLimitGivesItAll) {
  Loaded({"B", 1}, {Main(30)});
  auto probe = Managed({"A", 1}, {Main(20)});
  const Completion end = Load({"A", 1});
  EXPECT_FALSE(end.is_done());
  meter_->SetTotal(0, 200 * kMiB);
  SetLimits(200);
  ReadAgain();
  EXPECT_TRUE(end.is_done());
  EXPECT_EQ(probe->reserved(), Allocation({Main(132 * kMiB)}));
}

TEST_F(BasicManagerFootprintsTest, OnAnyGpuItIsAdmittedWhereNobodyIs) {
  t_.manager->ImportFootprints({{"A", kCuda, 10 * kMiB, 80 * kMiB}});
  Loaded({"B", 1}, {Cuda(0, 5)});
  meter_->SetUsed(2, 3 * kMiB);
  ReadAgain();
  EXPECT_EQ(Loaded({"A", 1}, {AnyCuda(10)})->reserved(),
            Allocation({Cuda(1, 47 * kMiB)}));
}

// A device that nobody has is a reason to look again, though no more is left.
TEST_F(BasicManagerWrongFootprintTest, ItIsNotForgottenWhileOthersGrow) {
  auto b = Loaded({"B", 1}, {Main(10)});
  auto probe = Managed({"A", 1}, {Main(20)});
  const Completion end = Load({"A", 1});
  meter_->SetUsed(0, 40 * kMiB);
  ReadAgain();
  EXPECT_TRUE(Unload({"B", 1}).status().ok());
  ReadAgain();
  EXPECT_TRUE(end.is_done());
  EXPECT_EQ(probe->reserved(), Allocation({Main(60 * kMiB)}));
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
