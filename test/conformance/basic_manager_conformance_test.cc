// Cases BM-01 to BM-30: managing, resolving, loading and unloading, over the
// thread shapes {load, unload} = {0,0}, {2,0}, {0,2}, {4,4}.
//
// Readers resolve requests in an isolate's registry here (its own cases are in
// TypeScript); what the core owes it is which versions are open, in which order
// and for how long. FakeReaders is such a registry. BM-47 to BM-55 need a
// resource tracker and come with it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "native/test_util/manager_fixture.h"

namespace aspired {
namespace {

using test::Completion;
using test::kThreadShapes;
using test::NameOfShape;
using test::ShapedManagerTest;
using enum HarnessState;

const Status kBroken(ErrorCode::kLoadFailed, "loader broken");
const Status kDataError(ErrorCode::kSourceError, "the source is broken");

class BasicManagerConformance : public ShapedManagerTest {};

INSTANTIATE_TEST_SUITE_P(Shapes, BasicManagerConformance, kThreadShapes,
                         NameOfShape);

TEST_P(BasicManagerConformance, BM_01_LatestOfAnUnknownNameIsNotFound) {
  EXPECT_FALSE(t_.readers->AcquireLatest("unknown"));
}

TEST_P(BasicManagerConformance, BM_02_SpecificNeverFallsBack) {
  EXPECT_FALSE(t_.readers->Acquire({"A", 100}));
}

TEST_P(BasicManagerConformance, BM_04_LatestIsTheNewVersionOnceItIsLoaded) {
  t_.Loaded({"A", 3});
  EXPECT_EQ(t_.readers->AcquireLatest("A").id(), (ServableId{"A", 3}));
}

TEST_P(BasicManagerConformance, BM_05_ManagingAnIdTwiceIsRefused) {
  auto first = t_.NewProbe();
  auto second = t_.NewProbe();
  t_.Manage({"A", 3}, first);
  const Status s = t_.TryManage({"A", 3}, second);
  EXPECT_EQ(s.canonical(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(s.code(), ErrorCode::kAlreadyManaged);
  EXPECT_FALSE(first->destroyed()) << "the first one stays";
}

TEST_P(BasicManagerConformance, BM_06_ANameWithOneVersionIsItsLatest) {
  t_.Loaded({"C", 1});
  EXPECT_EQ(t_.readers->AcquireLatest("C").id(), (ServableId{"C", 1}));
}

TEST_P(BasicManagerConformance, BM_07_ForgettingAnUnknownIdIsRefused) {
  EXPECT_EQ(t_.StopManaging({"A", 100}).canonical(), StatusCode::kNotFound);
}

TEST_P(BasicManagerConformance, BM_09_UnloadedIsDisabledAndCanBeForgotten) {
  const ServableId id{"C", 3};
  t_.Loaded(id);
  EXPECT_TRUE(t_.Unload(id).status().ok());
  EXPECT_EQ(t_.State(id), kDisabled);
  EXPECT_EQ(t_.events->Last(id)->manager_state, ManagerState::kEnd);
  EXPECT_TRUE(t_.events->Last(id)->health.ok());
  EXPECT_TRUE(t_.StopManaging(id).ok());
  EXPECT_FALSE(t_.State(id).has_value());
}

TEST_P(BasicManagerConformance, BM_10_AFailedLoadIsReportedAndStaysManaged) {
  const ServableId id{"C", 3};
  auto probe = t_.NewProbe();
  probe->FailAllLoads(kBroken);
  t_.Manage(id, probe);
  EXPECT_EQ(t_.Load(id).status(), kBroken);
  EXPECT_EQ(t_.State(id), kError);
  EXPECT_EQ(t_.events->Last(id)->health, kBroken);
  EXPECT_EQ(t_.events->Trace(id), "Start Loading End(ERR_LOAD_FAILED)");
}

TEST_P(BasicManagerConformance, BM_11_ASpecificVersionIsReadable) {
  const auto lease = t_.readers->Acquire({"B", 1});
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease.id(), (ServableId{"B", 1}));
}

TEST_P(BasicManagerConformance, BM_12_LatestFallsBackWhileTheHigherUnloads) {
  const ServableId c0{"C", 0}, c1{"C", 1};
  t_.Loaded(c0);
  auto high = t_.NewProbe();
  high->HoldUnloads();
  t_.Manage(c1, high);
  EXPECT_TRUE(t_.Load(c1).status().ok());
  EXPECT_EQ(t_.readers->AcquireLatest("C").id(), c1);
  const Completion end = t_.Unload(c1);
  ASSERT_TRUE(high->WaitForUnloads(1));
  EXPECT_EQ(t_.readers->AcquireLatest("C").id(), c0);
  EXPECT_FALSE(end.is_done());
  high->FinishUnload();
  EXPECT_TRUE(end.status().ok());
}

TEST_P(BasicManagerConformance, BM_14_WhatIsOpenIsWhatIsLoaded) {
  EXPECT_EQ(t_.readers->OpenIds().size(), 4u);
  EXPECT_TRUE(t_.Unload({"A", 1}).status().ok());
  EXPECT_TRUE(t_.Unload({"A", 2}).status().ok());
  EXPECT_EQ(t_.readers->OpenIds(),
            (std::vector<ServableId>{{"B", 1}, {"B", 2}}));
}

TEST_P(BasicManagerConformance, BM_15_ThereAreNoTypedHandlesInTheCore) {
  // The core does not know the type of a servable, so it cannot be asked for by
  // a wrong one; the type parameter of a handle is TypeScript's.
  EXPECT_TRUE(t_.readers->Acquire({"A", 1}));
}

TEST_P(BasicManagerConformance, BM_16_ManagedNamesAreListedOnce) {
  auto names = t_.manager->GetManagedServableNames();
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(t_.manager->num_managed(), 4u);
}

TEST_P(BasicManagerConformance, BM_17_SnapshotsOfAName) {
  const auto snapshots = t_.manager->GetSnapshots("A");
  ASSERT_EQ(snapshots.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(snapshots[i].version, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(snapshots[i].state, kReady);
  }
  EXPECT_TRUE(t_.manager->GetSnapshots("unknown").empty());
}

TEST_P(BasicManagerConformance, BM_19_SnapshotsOfNewVersions) {
  // Without side-cars: AspiredVersionsManager keeps its records by id.
  t_.Manage({"C", 0}, t_.NewProbe());
  t_.Manage({"C", 1}, t_.NewProbe());
  const auto states = t_.manager->GetStates("C");
  EXPECT_EQ(states, (std::vector<std::pair<int64_t, HarnessState>>{{0, kNew},
                                                                   {1, kNew}}));
}

TEST_P(BasicManagerConformance, BM_20_WhatIsServedIsNotReplaced) {
  auto failing = t_.NewProbe();
  failing->FailAllLoads(kBroken);
  EXPECT_FALSE(t_.TryManage({"A", 1}, failing).ok());
  EXPECT_FALSE(t_.TryManage({"A", 1}, t_.NewProbe()).ok());
  EXPECT_TRUE(t_.readers->Acquire({"A", 1}));
  EXPECT_TRUE(failing->destroyed());
  EXPECT_EQ(failing->loads(), 0);
}

TEST_P(BasicManagerConformance, BM_21_DataWithAnErrorIsManagedAndNeverLoads) {
  const ServableId id{"A", 3};
  t_.ManageWithError(id, kDataError);
  EXPECT_FALSE(t_.readers->Acquire(id));
  EXPECT_EQ(t_.Load(id).status(), kDataError);
  EXPECT_EQ(t_.Unload(id).status(), kDataError);
  EXPECT_FALSE(t_.readers->Acquire(id));
  EXPECT_EQ(t_.State(id), kError);
}

TEST_P(BasicManagerConformance, BM_22_NothingIsFreedWhereAHandleIsReleased) {
  // The servable is freed by Unload(), on an unload thread. What is left of a
  // loader dies on any thread that delivers effects.
  const ServableId id{"A", 7};
  auto probe = t_.Loaded(id);
  auto lease = t_.readers->Acquire(id);
  std::thread other([&] {
    const Completion end = t_.Unload(id);
    EXPECT_TRUE(end.status().ok());
    EXPECT_TRUE(t_.StopManaging(id).ok());
  });
  ASSERT_TRUE(t_.readers->WaitForClosed(id));
  EXPECT_EQ(probe->unloads(), 0);
  lease.Release();
  other.join();
  ASSERT_TRUE(probe->WaitForDestroyed());
  EXPECT_NE(probe->unload_thread(), std::this_thread::get_id());
}

TEST_P(BasicManagerConformance, BM_25_LoadingAnUnmanagedIdIsNotFound) {
  const Status s = t_.Load({"A", 100}).status();
  EXPECT_EQ(s.canonical(), StatusCode::kNotFound);
  EXPECT_NE(s.message().find("is not being managed"), std::string_view::npos);
}

TEST_P(BasicManagerConformance, BM_26_ASecondLoadIsADuplicate) {
  const Status s = t_.Load({"A", 1}).status();
  EXPECT_EQ(s.canonical(), StatusCode::kFailedPrecondition);
  EXPECT_NE(s.message().find("Duplicate load request"), std::string_view::npos);
  EXPECT_EQ(t_.State({"A", 1}), kReady);
}

TEST_P(BasicManagerConformance, BM_27_ASecondUnloadIsADuplicate) {
  EXPECT_TRUE(t_.Unload({"A", 1}).status().ok());
  const Status s = t_.Unload({"A", 1}).status();
  EXPECT_EQ(s.canonical(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(s.code(), ErrorCode::kDuplicateUnloadRequest);
  EXPECT_EQ(t_.State({"A", 1}), kDisabled);
}

TEST_P(BasicManagerConformance, BM_28_UnloadingAnUnmanagedIdIsNotFound) {
  const Status s = t_.Unload({"A", 100}).status();
  EXPECT_EQ(s.canonical(), StatusCode::kNotFound);
  EXPECT_NE(s.message().find("is not being managed"), std::string_view::npos);
}

TEST_P(BasicManagerConformance, BM_29_UnloadingWhatFailedAnswersItsError) {
  const ServableId id{"C", 3};
  auto probe = t_.NewProbe();
  probe->FailAllLoads(kBroken);
  t_.Manage(id, probe);
  EXPECT_EQ(t_.Load(id).status(), kBroken);
  EXPECT_EQ(t_.Unload(id).status(), kBroken);
  EXPECT_EQ(probe->unloads(), 0);
}

TEST_P(BasicManagerConformance, BM_30_DataWithAnErrorEndsWithThatError) {
  t_.ManageWithError({"A", 3}, kDataError);
  EXPECT_EQ(t_.events->Trace({"A", 3}), "End(ERR_SOURCE_ERROR)");
  EXPECT_EQ(t_.events->Last({"A", 3})->health, kDataError);
}

}  // namespace
}  // namespace aspired
