// AspiredVersionsManager: bakes, and content that changed in place.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "native/test_util/allocations.h"
#include "native/test_util/test_avm.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::kLoadBroken;
using test::ProbePtr;
using test::Settled;
using test::TestAvm;
using enum HarnessState;
using Kind = PolicyAction::Kind;

const Status kBad(ErrorCode::kBakeFailed, "5 % of its requests failed");

struct Bake {
  ServableId id;
  uint64_t incarnation;
  int64_t previous;
};

class AvmBakeMemoryTest : public ::testing::Test {
 protected:
  explicit AvmBakeMemoryTest(
      std::function<void(AspiredVersionsManager::Options*)> adjust = nullptr)
      : t_([this, adjust](AspiredVersionsManager::Options* o) {
          o->bake = true;
          o->on_bake = [this](const ServableId& id, uint64_t incarnation,
                              int64_t previous) {
            bakes_.push_back({id, incarnation, previous});
          };
          if (adjust) adjust(o);
        }) {}

  // 1 serves, 2 is in its bake.
  Settled Bake1To2() {
    first_ = t_.Probe();
    second_ = t_.Probe();
    t_.Aspire("m", {{1, first_}});
    return t_.Aspire("m", {{2, second_}});
  }
  Status Finish(Status verdict, size_t bake = 0) {
    const Bake& b = bakes_.at(bake);
    Status s = t_.manager->FinishBake(b.id, b.incarnation, std::move(verdict));
    t_.Step();
    return s;
  }
  ServableVersionState Row(int64_t version) {
    const auto row = t_.Row({"m", version});
    return row ? *row : ServableVersionState();
  }
  std::optional<HarnessState> State(int64_t version) {
    return t_.State({"m", version});
  }

  std::vector<Bake> bakes_;
  int asked_ = 0;  // for external decisions
  TestAvm t_;
  ProbePtr first_, second_;
};

TEST_F(AvmBakeMemoryTest, TheFirstVersionHasNoBake) {
  t_.Aspire("m", {{1, t_.Probe()}});
  EXPECT_TRUE(bakes_.empty());
  EXPECT_FALSE(Row(1).baking);
}

TEST_F(AvmBakeMemoryTest, TheOldOneStaysWhileTheNewOneBakes) {
  const Settled list = Bake1To2();
  ASSERT_EQ(bakes_.size(), 1u);
  EXPECT_EQ(bakes_[0].id, (ServableId{"m", 2}));
  EXPECT_EQ(bakes_[0].incarnation, Row(2).incarnation);
  EXPECT_EQ(bakes_[0].previous, 1);
  EXPECT_TRUE(Row(2).baking);
  EXPECT_EQ(State(1), kReady);
  EXPECT_TRUE(t_.IsOpen({"m", 1}));
  EXPECT_TRUE(t_.IsOpen({"m", 2}));
  t_.Advance(milliseconds(100'000));
  EXPECT_FALSE(list.is_settled());
  EXPECT_EQ(bakes_.size(), 1u);
}

TEST_F(AvmBakeMemoryTest, AGoodVerdictLetsTheOldOneGo) {
  const Settled list = Bake1To2();
  EXPECT_TRUE(Finish(Status::Ok()).ok());
  EXPECT_EQ(list.Text(), "2:Available");
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_FALSE(Row(2).baking);
  EXPECT_FALSE(Finish(kBad).ok()) << "it is over";
  EXPECT_EQ(State(2), kReady);
}

TEST_F(AvmBakeMemoryTest, ABadVerdictEndsTheNewOneAndTheOldOneServes) {
  const Settled list = Bake1To2();
  EXPECT_TRUE(Finish(kBad).ok());
  EXPECT_EQ(list.Text(), "2:End(ERR_BAKE_FAILED)");
  EXPECT_EQ(State(2), kError);
  EXPECT_EQ(second_->unloads(), 1);
  EXPECT_EQ(t_.events->Last({"m", 2})->health, kBad);
  EXPECT_EQ(State(1), kReady);
  EXPECT_TRUE(t_.IsOpen({"m", 1}));
  EXPECT_TRUE(Row(2).bad);
  EXPECT_EQ(Row(2).error, kBad);
  EXPECT_TRUE(Row(2).degraded);
  t_.Advance(milliseconds(100'000'000));
  EXPECT_EQ(second_->loads(), 1) << "never tried again by itself";
  EXPECT_FALSE(t_.manager->NextDue());
}

TEST_F(AvmBakeMemoryTest, ABadOneDrainsLikeAnyOther) {
  const Settled list = Bake1To2();
  auto lease = t_.readers->Acquire({"m", 2});
  EXPECT_TRUE(Finish(kBad).ok());
  EXPECT_FALSE(t_.IsOpen({"m", 2}));
  EXPECT_EQ(second_->unloads(), 0);
  EXPECT_FALSE(list.is_settled());
  lease.Release();
  t_.Step();
  EXPECT_EQ(list.Text(), "2:End(ERR_BAKE_FAILED)");
}

TEST_F(AvmBakeMemoryTest, ABadOneStaysBadWithTheSameLoader) {
  Bake1To2();
  EXPECT_TRUE(Finish(kBad).ok());
  auto same = t_.Probe();
  const Settled list =
      t_.Aspire("m", {{.version = 2, .probe = same, .same_loader = true}});
  EXPECT_EQ(list.Text(), "2:End(ERR_BAKE_FAILED)");
  EXPECT_TRUE(same->destroyed());
  EXPECT_EQ(same->loads(), 0);
  EXPECT_EQ(State(1), kReady);
}

TEST_F(AvmBakeMemoryTest, ANewLoaderStartsAnewWithABakeOfItsOwn) {
  Bake1To2();
  EXPECT_TRUE(Finish(kBad).ok());
  auto mended = t_.Probe();
  const Settled list = t_.Aspire("m", {{2, mended}});
  EXPECT_EQ(mended->loads(), 1);
  ASSERT_EQ(bakes_.size(), 2u);
  EXPECT_GT(bakes_[1].incarnation, bakes_[0].incarnation);
  EXPECT_EQ(Finish(Status::Ok(), 0).code(), ErrorCode::kIllegalTransition)
      << "the verdict about the incarnation before";
  EXPECT_TRUE(Row(2).baking);
  EXPECT_TRUE(Finish(Status::Ok(), 1).ok());
  EXPECT_EQ(list.Text(), "2:Available");
}

TEST_F(AvmBakeMemoryTest, ANewLoaderMayComeWhileTheBadOneDrains) {
  Bake1To2();
  auto lease = t_.readers->Acquire({"m", 2});
  EXPECT_TRUE(Finish(kBad).ok());
  auto mended = t_.Probe();
  const Settled list = t_.Aspire("m", {{2, mended}});
  EXPECT_EQ(mended->loads(), 0);
  lease.Release();
  t_.Step();
  EXPECT_EQ(mended->loads(), 1);
  EXPECT_TRUE(Row(2).baking);
  EXPECT_TRUE(Finish(Status::Ok(), 1).ok());
  EXPECT_EQ(list.Text(), "2:Available");
}

TEST_F(AvmBakeMemoryTest, AVersionBeyondABadOneIsLoaded) {
  Bake1To2();
  EXPECT_TRUE(Finish(kBad).ok());
  const Settled list = t_.Aspire("m", {{3, t_.Probe()}});
  ASSERT_EQ(bakes_.size(), 2u);
  EXPECT_EQ(bakes_[1].previous, 1);
  EXPECT_EQ(State(2), std::nullopt);
  EXPECT_TRUE(Finish(Status::Ok(), 1).ok());
  EXPECT_EQ(list.Text(), "3:Available");
  EXPECT_EQ(State(1), std::nullopt);
}

TEST_F(AvmBakeMemoryTest, AListMayGoBackDuringTheBake) {
  const Settled list2 = Bake1To2();
  const Settled list1 = t_.Aspire("m", {{1, t_.Probe()}});
  EXPECT_EQ(list1.Text(), "1:Available");
  EXPECT_EQ(list2.Text(), "2:Available");
  EXPECT_TRUE(list2.superseded());
  EXPECT_EQ(State(2), std::nullopt);
  EXPECT_EQ(first_->loads(), 1);
  EXPECT_EQ(bakes_.size(), 1u) << "1 has proved itself";
  EXPECT_EQ(Finish(kBad).code(), ErrorCode::kIllegalTransition);
  EXPECT_EQ(State(1), kReady);
}

TEST_F(AvmBakeMemoryTest, WhatWasDroppedWithinItsBakeHasItAgain) {
  Bake1To2();
  auto lease = t_.readers->Acquire({"m", 2});
  t_.Aspire("m", {{1, t_.Probe()}});
  EXPECT_EQ(State(2), kQuiescing);
  t_.Aspire("m", {{2, t_.Probe()}});
  ASSERT_EQ(bakes_.size(), 2u);
  EXPECT_TRUE(Row(2).baking);
  EXPECT_EQ(second_->loads(), 1);
  EXPECT_TRUE(Finish(kBad, 1).ok());
  EXPECT_EQ(State(1), kReady);
  lease.Release();
  t_.Step();
}

TEST_F(AvmBakeMemoryTest, WithNothingToGoBackToABadOneStays) {
  Bake1To2();
  // The old one is lost to an outside hand, in spite of the bake.
  t_.manager->basic().UnloadServable({"m", 1}, nullptr);
  t_.manager->basic().Flush();
  t_.Step();
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_EQ(Finish(kBad).code(), ErrorCode::kIllegalTransition);
  EXPECT_EQ(State(2), kReady);
  EXPECT_FALSE(Row(2).bad);
  EXPECT_FALSE(Row(2).baking);
}

TEST_F(AvmBakeMemoryTest, OfTwoOldOnesTheLaterIsKept) {
  t_.Aspire("m", {{1, t_.Probe()}, {2, t_.Probe()}});
  t_.Aspire("m", {{2, t_.Probe()}});
  auto third = t_.Probe();
  t_.Aspire("m", {{3, third}});
  ASSERT_EQ(bakes_.size(), 1u);
  EXPECT_EQ(bakes_[0].previous, 2);
  EXPECT_EQ(State(1), std::nullopt);
  EXPECT_EQ(State(2), kReady);
  EXPECT_TRUE(Finish(Status::Ok()).ok());
  EXPECT_EQ(State(2), std::nullopt);
}

TEST_F(AvmBakeMemoryTest, AfterTheBakeTheOldOneMayBeAStandby) {
  StreamIntent intent;
  intent.standby = StandbyOptions{1};
  first_ = t_.Probe();
  t_.Aspire("m", {{1, first_}}, intent);
  const Settled list = t_.Aspire("m", {{2, t_.Probe()}});
  EXPECT_TRUE(Finish(Status::Ok()).ok());
  EXPECT_EQ(list.Text(), "2:Available");
  EXPECT_TRUE(Row(1).standby);
  // Back at once, and no bake: it was good.
  EXPECT_EQ(t_.Aspire("m", {{1, t_.Probe()}}).Text(), "1:Available");
  EXPECT_EQ(bakes_.size(), 1u);
}

TEST_F(AvmBakeMemoryTest, ABadOneIsNeverAStandby) {
  StreamIntent intent;
  intent.standby = StandbyOptions{1};
  EXPECT_TRUE(t_.manager->SetIntent("m", intent).ok());
  Bake1To2();
  EXPECT_TRUE(Finish(kBad).ok());
  EXPECT_EQ(second_->unloads(), 1);
  EXPECT_EQ(State(2), kError);
}

TEST_F(AvmBakeMemoryTest, CloseEndsABake) {
  Bake1To2();
  t_.Close(milliseconds(1000));
  EXPECT_TRUE(t_.abandoned().value().empty());
  EXPECT_FALSE(
      t_.manager->FinishBake(bakes_[0].id, bakes_[0].incarnation, Status::Ok())
          .ok());
}

TEST_F(AvmBakeMemoryTest, BakesAreByStream) {
  StreamIntent off;
  off.bake = false;
  t_.Aspire("n", {{1, t_.Probe()}}, off);
  EXPECT_EQ(t_.Aspire("n", {{2, t_.Probe()}}).Text(), "2:Available");
  EXPECT_TRUE(bakes_.empty());
}

// -------------------------------------------------------- external decisions

class AvmExternalBakeMemoryTest : public AvmBakeMemoryTest {
 protected:
  AvmExternalBakeMemoryTest()
      : AvmBakeMemoryTest([this](AspiredVersionsManager::Options* o) {
          o->policy = nullptr;
          o->decide = [this](std::vector<std::string>) { ++asked_; };
        }) {}

  Status Perform(Kind kind, int64_t version) {
    Status s = t_.manager->PerformActions({{kind, {"m", version}}}).at(0);
    t_.Step();
    return s;
  }
};

TEST_F(AvmExternalBakeMemoryTest, WhatABakeNeedsIsKeptFromThem) {
  t_.Aspire("m", {{1, t_.Probe()}});
  EXPECT_TRUE(Perform(Kind::kLoad, 1).ok());
  const Settled list = t_.Aspire("m", {{2, t_.Probe()}});
  EXPECT_TRUE(Perform(Kind::kLoad, 2).ok());
  ASSERT_EQ(bakes_.size(), 1u);
  EXPECT_EQ(Perform(Kind::kUnload, 1).code(), ErrorCode::kIllegalTransition);
  asked_ = 0;
  EXPECT_TRUE(Finish(Status::Ok()).ok());
  EXPECT_GE(asked_, 1) << "now it may decide otherwise";
  EXPECT_TRUE(Perform(Kind::kUnload, 1).ok());
  EXPECT_EQ(list.Text(), "2:Available");
}

TEST_F(AvmExternalBakeMemoryTest, AlsoWhenTheNewOneBecameReadyJustNow) {
  t_.Aspire("m", {{1, t_.Probe()}});
  EXPECT_TRUE(Perform(Kind::kLoad, 1).ok());
  auto second = t_.HeldProbe();
  t_.Aspire("m", {{2, second}});
  EXPECT_TRUE(Perform(Kind::kLoad, 2).ok());
  second->FinishLoad();
  // No round since then: it is decided by what is Ready now.
  EXPECT_EQ(State(2), kReady);
  EXPECT_EQ(t_.manager->PerformActions({{Kind::kUnload, {"m", 1}}})[0].code(),
            ErrorCode::kIllegalTransition);
  t_.Step();
  EXPECT_EQ(bakes_.size(), 1u);
  EXPECT_TRUE(Finish(kBad).ok());
  EXPECT_EQ(State(1), kReady);
}

// ------------------------------------------------------------ changed in place

class AvmReplaceMemoryTest : public ::testing::Test {
 protected:
  Settled Replace(const ProbePtr& probe, Status error = Status::Ok()) {
    return t_.Aspire("m", {{.version = 1,
                            .probe = probe,
                            .error = std::move(error),
                            .replace = true}});
  }
  std::optional<HarnessState> State() { return t_.State({"m", 1}); }

  TestAvm t_;
};

TEST_F(AvmReplaceMemoryTest, AReadyVersionIsUnloadedThenLoadedAnew) {
  auto before = t_.Probe();
  auto after = t_.Probe();
  t_.Aspire("m", {{1, before}});
  auto lease = t_.readers->Acquire({"m", 1});
  const Settled list = Replace(after);
  EXPECT_EQ(after->loads(), 0) << "not beside it";
  EXPECT_FALSE(list.is_settled());
  lease.Release();
  t_.Step();
  EXPECT_EQ(list.Text(), "1:Available");
  EXPECT_EQ(before->unloads(), 1);
  EXPECT_EQ(after->loads(), 1);
  EXPECT_EQ(t_.events->Trace({"m", 1}),
            "Start Loading Available Unloading End Start Loading Available");
}

TEST_F(AvmReplaceMemoryTest, ALoadUnderWayIsCancelled) {
  auto before = t_.HeldProbe();
  before->ListenToCancel();
  const Settled first = t_.Aspire("m", {{1, before}});
  auto after = t_.Probe();
  EXPECT_EQ(Replace(after).Text(), "1:Available");
  EXPECT_EQ(before->cancels(), 1);
  EXPECT_EQ(after->loads(), 1);
  EXPECT_TRUE(first.is_settled());
  EXPECT_TRUE(first.superseded());
}

TEST_F(AvmReplaceMemoryTest, OneThatDrainsIsNotRevoked) {
  auto before = t_.Probe();
  t_.Aspire("m", {{1, before}});
  auto lease = t_.readers->Acquire({"m", 1});
  t_.Aspire("m", {});
  auto after = t_.Probe();
  const Settled list = Replace(after);
  EXPECT_EQ(State(), kQuiescing);
  lease.Release();
  t_.Step();
  EXPECT_EQ(list.Text(), "1:Available");
  EXPECT_EQ(after->loads(), 1);
}

TEST_F(AvmReplaceMemoryTest, AStandbyGoes) {
  StreamIntent intent;
  intent.standby = StandbyOptions{1};
  auto before = t_.Probe();
  t_.Aspire("m", {{1, before}}, intent);
  t_.Aspire("m", {{2, t_.Probe()}});
  EXPECT_TRUE(t_.Row({"m", 1})->standby);
  auto after = t_.Probe();
  EXPECT_EQ(Replace(after).Text(), "1:Available");
  EXPECT_EQ(before->unloads(), 1);
  EXPECT_EQ(after->loads(), 1);
}

TEST_F(AvmReplaceMemoryTest, OneThatFailedStartsAnew) {
  auto before = t_.FailingProbe();
  t_.Aspire("m", {{1, before}});
  auto after = t_.Probe();
  EXPECT_EQ(Replace(after).Text(), "1:Available");
}

TEST_F(AvmReplaceMemoryTest, ANewerChangeReplacesOneThatWaits) {
  auto before = t_.Probe();
  t_.Aspire("m", {{1, before}});
  auto lease = t_.readers->Acquire({"m", 1});
  auto middle = t_.Probe();
  const Settled earlier = Replace(middle);
  auto last = t_.Probe();
  const Settled later = Replace(last);
  lease.Release();
  t_.Step();
  EXPECT_EQ(later.Text(), "1:Available");
  EXPECT_TRUE(earlier.is_settled());
  EXPECT_EQ(middle->loads(), 0);
  EXPECT_EQ(last->loads(), 1);
}

TEST_F(AvmReplaceMemoryTest, AnErrorOfTheSourceReplacesToo) {
  auto before = t_.Probe();
  t_.Aspire("m", {{1, before}});
  const Status broken(ErrorCode::kSourceError, "half written");
  EXPECT_EQ(Replace(nullptr, broken).Text(), "1:End(ERR_SOURCE_ERROR)");
  EXPECT_EQ(before->unloads(), 1);
  EXPECT_EQ(State(), kError);
}

TEST_F(AvmBakeMemoryTest, AReplacedVersionHasABakeOfItsOwn) {
  Bake1To2();
  auto mended = t_.Probe();
  const Settled list =
      t_.Aspire("m", {{.version = 2, .probe = mended, .replace = true}});
  EXPECT_EQ(mended->loads(), 1);
  ASSERT_EQ(bakes_.size(), 2u) << "the first one went with its incarnation";
  EXPECT_FALSE(Finish(kBad, 0).ok());
  EXPECT_TRUE(Finish(Status::Ok(), 1).ok());
  EXPECT_EQ(list.Text(), "2:Available");
  EXPECT_EQ(State(1), std::nullopt);
}

// ------------------------------------------------ beside one that is aspired

TEST_F(AvmBakeMemoryTest, AVersionThatTakesOverBesideAnAspiredOneBakes) {
  t_.Aspire("m", {{1, t_.Probe()}});
  t_.Aspire("m", {{1, t_.Probe()}, {2, t_.Probe()}});
  ASSERT_EQ(bakes_.size(), 1u);
  EXPECT_EQ(bakes_[0].id, (ServableId{"m", 2}));
  EXPECT_EQ(bakes_[0].previous, 1);
  EXPECT_TRUE(Finish(kBad).ok());
  EXPECT_EQ(State(2), kError);
  EXPECT_EQ(State(1), kReady);
  EXPECT_TRUE(Row(1).aspired);
}

TEST_F(AvmBakeMemoryTest, VersionsOfTheFirstListHaveNothingToProve) {
  auto second = t_.Probe();
  second->HoldLoads();
  t_.Aspire("m", {{1, t_.Probe()}, {2, second}});
  t_.Aspire("m", {{1, t_.Probe()}, {2, t_.Probe()}});
  second->FinishLoad();
  t_.Step();
  EXPECT_EQ(State(2), kReady);
  EXPECT_TRUE(bakes_.empty());
}

TEST_F(AvmBakeMemoryTest, ALongerHistoryIsComparedWithWhatReadersHad) {
  t_.Aspire("m", {{1, t_.Probe()}, {2, t_.Probe()}});
  t_.Aspire("m", {{2, t_.Probe()}, {3, t_.Probe()}});
  ASSERT_EQ(bakes_.size(), 1u);
  EXPECT_EQ(bakes_[0].id, (ServableId{"m", 3}));
  EXPECT_EQ(bakes_[0].previous, 2);
  EXPECT_EQ(State(1), std::nullopt) << "a bake does not need it";
}

TEST_F(AvmBakeMemoryTest, WithAPrimaryTheBakeBeginsAtTheSwitch) {
  StreamIntent intent;
  intent.primary.emplace(1);
  t_.Aspire("m", {{1, t_.Probe()}}, intent);
  t_.Aspire("m", {{1, t_.Probe()}, {2, t_.Probe()}});
  EXPECT_EQ(State(2), kReady);
  EXPECT_TRUE(bakes_.empty()) << "nobody reads it yet";
  intent.primary.emplace(2);
  EXPECT_TRUE(t_.manager->SetIntent("m", intent).ok());
  t_.Step();
  ASSERT_EQ(bakes_.size(), 1u);
  EXPECT_EQ(bakes_[0].id, (ServableId{"m", 2}));
  // Contract within the bake: the old one stays until it is over.
  const Settled list = t_.Aspire("m", {{2, t_.Probe()}});
  EXPECT_EQ(State(1), kReady);
  EXPECT_TRUE(Finish(Status::Ok()).ok());
  EXPECT_EQ(list.Text(), "2:Available");
  EXPECT_EQ(State(1), std::nullopt);
}

TEST_F(AvmBakeMemoryTest, ALabelLeadsReadersToo) {
  StreamIntent intent;
  intent.primary.emplace(1);
  intent.labels = {{"canary", 2}};
  t_.Aspire("m", {{1, t_.Probe()}}, intent);
  t_.Aspire("m", {{1, t_.Probe()}, {2, t_.Probe()}});
  ASSERT_EQ(bakes_.size(), 1u);
  EXPECT_EQ(bakes_[0].id, (ServableId{"m", 2}));
}

TEST_F(AvmBakeMemoryTest, WhatWasNeverReadBakesWhenTheOldOneIsDropped) {
  StreamIntent intent;
  intent.primary.emplace(1);
  t_.Aspire("m", {{1, t_.Probe()}}, intent);
  t_.Aspire("m", {{1, t_.Probe()}, {2, t_.Probe()}});
  t_.Aspire("m", {{2, t_.Probe()}});
  ASSERT_EQ(bakes_.size(), 1u);
  EXPECT_EQ(bakes_[0].previous, 1);
}

TEST_F(AvmBakeMemoryTest, TheStandbyIsTheLastThatProvedItself) {
  StreamIntent intent;
  intent.standby = StandbyOptions{1, milliseconds(0)};
  t_.Aspire("m", {{1, t_.Probe()}}, intent);
  t_.Aspire("m", {{2, t_.Probe()}});
  t_.Aspire("m", {{3, t_.Probe()}});  // 2 was dropped within its bake
  EXPECT_TRUE(Finish(Status::Ok(), 1).ok());
  EXPECT_TRUE(Row(1).standby);
  EXPECT_EQ(State(2), std::nullopt);
}

}  // namespace
}  // namespace aspired
