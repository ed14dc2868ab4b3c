// Cases BM-47 to BM-55, and what behaviour.md found to be weak there: V-08,
// V-08b, V-10, V-22, W-17.
//
// Differences. A load that does not fit now waits for memory instead of
// failing; only one that can never fit fails. An estimate is asked for once per
// load request and again for a retry of the estimate, not at every decision,
// and asking never blocks other decisions. BM-50 (a lower estimate after the
// load frees memory) does not apply: a reservation is what the load may take,
// and it is measured instead.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "native/test_util/allocations.h"
#include "native/test_util/test_manager.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::Allocation;
using test::Barrier;
using test::Completion;
using test::Main;
using test::ProbePtr;
using test::TestManager;
using enum HarnessState;
using ::testing::HasSubstr;

const Status kBroken(ErrorCode::kLoadFailed, "loader broken");
const Status kNoEstimate(ErrorCode::kEstimateFailed, "cannot estimate");

TestManager::Options Ten(int load_threads = 2, int retries = 0,
                         milliseconds pause = milliseconds(0)) {
  return {.load_threads = load_threads,
          .unload_threads = load_threads,
          .max_num_load_retries = retries,
          .retry_interval = pause,
          .limits = Allocation({Main(10)})};
}

// 10 units of main memory, two threads for loads and two for unloads.
class BasicManagerMemoryConformance : public ::testing::Test {
 protected:
  explicit BasicManagerMemoryConformance(TestManager::Options options = Ten())
      : t_(std::move(options)) {}

  ProbePtr Needs(uint64_t units) {
    auto probe = t_.NewProbe();
    probe->Estimate(Allocation({Main(units)}));
    return probe;
  }
  ProbePtr Managed(const ServableId& id, uint64_t units) {
    auto probe = Needs(units);
    t_.Manage(id, probe);
    return probe;
  }
  ProbePtr Loaded(const ServableId& id, uint64_t units) {
    auto probe = Managed(id, units);
    EXPECT_TRUE(t_.Load(id).status().ok());
    return probe;
  }
  uint64_t Reserved() { return t_.manager->GetResources().devices[0].reserved; }

  TestManager t_;
};

TEST_F(BasicManagerMemoryConformance, BM_47_TwoThatFitLoadAtTheSameTime) {
  Barrier both(2);
  std::vector<Completion> ends;
  for (int64_t version : {1, 2}) {
    auto probe = Managed({"A", version}, 5);
    probe->OnLoad([&both] { EXPECT_TRUE(both.Wait()) << "alone"; });
    ends.push_back(t_.Load({"A", version}));
  }
  for (const auto& end : ends) EXPECT_TRUE(end.status().ok());
}

TEST_F(BasicManagerMemoryConformance, BM_48_WhatDoesNotFitNowWaits) {
  Loaded({"A", 1}, 10);
  auto probe = Managed({"A", 2}, 1);
  const Completion end = t_.Load({"A", 2});
  EXPECT_FALSE(end.is_done());
  EXPECT_EQ(t_.State({"A", 2}), kLoadRequested);
  EXPECT_THAT(t_.manager->ExplainWait({"A", 2}), HasSubstr("needs 1, has 0"));
  EXPECT_EQ(probe->loads(), 0);
  EXPECT_TRUE(t_.Unload({"A", 1}).status().ok());
  EXPECT_TRUE(end.status().ok());
}

TEST_F(BasicManagerMemoryConformance, BM_48_WhatCanNeverFitFailsAtOnce) {
  auto probe = Managed({"A", 1}, 11);
  const Status s = t_.Load({"A", 1}).status();
  EXPECT_EQ(s.code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(s.canonical(), StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(s.message()),
              HasSubstr("needs 11, has 10 (1 short)"));
  EXPECT_EQ(t_.State({"A", 1}), kError) << "still managed";
  EXPECT_EQ(t_.events->Trace({"A", 1}), "Start End(ERR_RESOURCE_EXHAUSTED)");
  EXPECT_EQ(t_.events->Last({"A", 1})->health, s);
  EXPECT_EQ(probe->loads(), 0);
}

TEST_F(BasicManagerMemoryConformance, BM_49_AFailedLoadGivesAllBack) {
  auto failing = Managed({"A", 1}, 10);
  failing->FailAllLoads(kBroken);
  EXPECT_EQ(t_.Load({"A", 1}).status(), kBroken);
  EXPECT_EQ(Reserved(), 0u);
  Loaded({"A", 2}, 10);
  EXPECT_EQ(Reserved(), 10u);
}

TEST_F(BasicManagerMemoryConformance,
       BM_51_MemoryIsHeldUntilTheUnloadHasReturned) {
  auto old = Loaded({"A", 1}, 10);
  old->HoldUnloads();
  const Completion unload = t_.Unload({"A", 1});
  ASSERT_TRUE(old->WaitForUnloads(1));
  auto next = Managed({"A", 2}, 10);
  const Completion load = t_.Load({"A", 2});
  EXPECT_EQ(next->loads(), 0);
  EXPECT_EQ(t_.State({"A", 2}), kLoadRequested);
  old->FinishUnload();
  EXPECT_TRUE(unload.status().ok());
  EXPECT_TRUE(load.status().ok());
  EXPECT_EQ(next->estimates(), 1) << "asked once; there it is asked again";
}

TEST_F(BasicManagerMemoryConformance, BM_52_AnEstimateHoldsUpNobodyElse) {
  // There, a second request waits until the first one has decided.
  auto first = Managed({"A", 1}, 11);
  first->HoldEstimates();
  const Completion end1 = t_.Load({"A", 1});
  Loaded({"A", 2}, 10);
  EXPECT_FALSE(end1.is_done());
  first->FinishEstimate();
  EXPECT_EQ(end1.status().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(first->loads(), 0);
  EXPECT_EQ(t_.events->Trace({"A", 1}), "Start End(ERR_RESOURCE_EXHAUSTED)");
}

TEST_F(BasicManagerMemoryConformance,
       BM_52_TheAgeOfARequestIsThatOfTheRequestNotOfItsEstimate) {
  Loaded({"H", 1}, 10);
  auto first = Managed({"A", 1}, 10);
  first->HoldEstimates();
  const Completion end1 = t_.Load({"A", 1});
  auto second = Managed({"A", 2}, 10);
  const Completion end2 = t_.Load({"A", 2});
  first->FinishEstimate();
  EXPECT_TRUE(t_.Unload({"H", 1}).status().ok());
  EXPECT_TRUE(end1.status().ok());
  EXPECT_FALSE(end2.is_done());
  EXPECT_TRUE(t_.Unload({"A", 1}).status().ok());
  EXPECT_TRUE(end2.status().ok());
}

TEST_F(BasicManagerMemoryConformance, BM_53_AFailedEstimateEndsTheVersion) {
  auto probe = Managed({"A", 1}, 1);
  probe->ScriptEstimate({kNoEstimate});
  EXPECT_EQ(t_.Load({"A", 1}).status(), kNoEstimate);
  EXPECT_EQ(t_.State({"A", 1}), kError);
  EXPECT_EQ(t_.events->Trace({"A", 1}), "Start End(ERR_ESTIMATE_FAILED)");
  EXPECT_EQ(probe->loads(), 0);
}

TEST_F(BasicManagerMemoryConformance, AnEstimateOfAnUnknownDeviceIsNotRetried) {
  auto probe = Managed({"A", 1}, 1);
  probe->Estimate(Allocation({test::AnyCuda(1)}));
  EXPECT_EQ(t_.Load({"A", 1}).status().code(), ErrorCode::kInvalidEstimate);
  EXPECT_EQ(probe->estimates(), 1);
  EXPECT_FALSE(t_.manager->GetSnapshot({"A", 1})->retriable);
}

class BasicManagerMemoryInlineConformance
    : public BasicManagerMemoryConformance {
 protected:
  BasicManagerMemoryInlineConformance()
      : BasicManagerMemoryConformance(Ten(0, /*retries=*/1)) {}
};

TEST_F(BasicManagerMemoryInlineConformance, BM_54_AnEstimateIsRetried) {
  auto probe = Managed({"A", 1}, 1);
  probe->ScriptEstimate({kNoEstimate});
  EXPECT_TRUE(t_.Load({"A", 1}).status().ok());
  EXPECT_EQ(probe->estimates(), 2);
  EXPECT_EQ(t_.events->Trace({"A", 1}), "Start Loading Available");
}

TEST_F(BasicManagerMemoryInlineConformance, BM_55_UntilItsRetriesAreUsedUp) {
  auto probe = Managed({"A", 1}, 1);
  probe->ScriptEstimate({kNoEstimate});
  probe->ScriptEstimate({kNoEstimate});
  EXPECT_EQ(t_.Load({"A", 1}).status(), kNoEstimate);
  EXPECT_EQ(probe->estimates(), 2);
  EXPECT_EQ(t_.events->Trace({"A", 1}), "Start End(ERR_ESTIMATE_FAILED)");
}

TEST_F(BasicManagerMemoryInlineConformance, AnEstimateThatForbidsItIsNot) {
  auto probe = Managed({"A", 1}, 1);
  probe->ScriptEstimate({kNoEstimate, /*retriable=*/false});
  EXPECT_EQ(t_.Load({"A", 1}).status(), kNoEstimate);
  EXPECT_EQ(probe->estimates(), 1);
}

// ------------------------------------------------------------ weaknesses there

TEST_F(BasicManagerMemoryConformance, V_08_OldAndNewThatDoNotFitBesideWait) {
  Loaded({"A", 1}, 6);
  Managed({"A", 2}, 6);
  const Completion end = t_.Load({"A", 2});
  EXPECT_EQ(t_.events->Trace({"A", 2}), "Start") << "no End, let alone two";
  EXPECT_TRUE(t_.Unload({"A", 1}).status().ok());
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(t_.events->Trace({"A", 2}), "Start Loading Available");
}

TEST_F(BasicManagerMemoryConformance, V_08b_ItIsAdmittedWhenMemoryIsFreed) {
  Loaded({"X", 1}, 8);
  Managed({"A", 1}, 6);
  const Completion end = t_.Load({"A", 1});
  EXPECT_FALSE(end.is_done());
  EXPECT_TRUE(t_.Unload({"X", 1}).status().ok());
  EXPECT_TRUE(end.status().ok()) << "by itself";
}

TEST_F(BasicManagerMemoryConformance, V_10_AnUnloadNeverWaitsBehindALoad) {
  Loaded({"hog", 1}, 6);
  auto slow = Managed({"slow", 1}, 2);
  slow->HoldLoads();
  const Completion slow_end = t_.Load({"slow", 1});
  ASSERT_TRUE(slow->WaitForLoads(1));
  Managed({"want", 1}, 6);
  const Completion want = t_.Load({"want", 1});
  EXPECT_FALSE(want.is_done());
  EXPECT_TRUE(t_.Unload({"hog", 1}).status().ok()) << "while slow loads";
  EXPECT_TRUE(want.status().ok()) << "and that was what it waited for";
  EXPECT_TRUE(slow->loading());
  slow->FinishLoad();
  EXPECT_TRUE(slow_end.status().ok());
}

class BasicManagerMemoryPauseConformance
    : public BasicManagerMemoryConformance {
 protected:
  BasicManagerMemoryPauseConformance()
      : BasicManagerMemoryConformance(
            Ten(2, /*retries=*/3, milliseconds(1500))) {}
};

TEST_F(BasicManagerMemoryPauseConformance,
       V_22_ACancelInThePauseOfAnEstimateDoesNotWait) {
  auto probe = Managed({"A", 1}, 1);
  probe->ScriptEstimate({kNoEstimate});
  const Completion end = t_.Load({"A", 1});
  EXPECT_TRUE(t_.manager->GetSnapshot({"A", 1})->retry_due.has_value());
  EXPECT_TRUE(t_.Cancel({"A", 1}).ok());
  EXPECT_EQ(end.status().code(), ErrorCode::kLoadCancelled);
  EXPECT_EQ(t_.State({"A", 1}), kDisabled);
  t_.Advance(milliseconds(10'000));
  EXPECT_EQ(probe->estimates(), 1);
  EXPECT_FALSE(t_.manager->NextDue());
}

TEST_F(BasicManagerMemoryPauseConformance,
       W_17_ThePauseOfAnEstimateHoldsUpNeitherLoadsNorUnloads) {
  auto probe = Managed({"A", 1}, 1);
  probe->ScriptEstimate({kNoEstimate});
  const Completion end = t_.Load({"A", 1});
  Loaded({"B", 1}, 10);
  EXPECT_TRUE(t_.Unload({"B", 1}).status().ok());
  EXPECT_FALSE(end.is_done());
  t_.Advance(milliseconds(1000));
  EXPECT_EQ(probe->estimates(), 1);
  t_.Advance(milliseconds(900));
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(probe->estimates(), 2);
}

}  // namespace
}  // namespace aspired
