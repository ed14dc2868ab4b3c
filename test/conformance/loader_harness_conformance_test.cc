// Cases LH: the state machine of one version.
//
// Our harness decides and does not act (the manager calls the loader), so
// "loader.Load() was called" reads "the manager is told to". Cases that need
// the loader's calls run through a BasicManager with inline threads.
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <utility>

#include "core/loader_harness.h"
#include "native/test_util/deadline.h"
#include "native/test_util/test_manager.h"

namespace aspired {
namespace {

using test::Completion;
using test::LoaderProbe;
using test::TestManager;
using Verdict = LoaderHarness::Verdict;

const ServableId kId{"test", 42};
const Status kBroken(ErrorCode::kLoadFailed, "loader broken");

LoaderHarness NewHarness() { return LoaderHarness(kId, nullptr, 1); }

void LoadAll(LoaderHarness& harness) {
  ASSERT_TRUE(harness.LoadRequested().ok());
  ASSERT_TRUE(harness.LoadApproved().ok());
  ASSERT_TRUE(harness.StartAttempt().ok());
  ASSERT_EQ(harness.FinishAttempt({}, 0), Verdict::kReady);
}

TEST(LoaderHarnessConformance, LH_01_ANewHarnessKeepsItsIdAndIsNew) {
  const LoaderHarness harness = NewHarness();
  EXPECT_EQ(harness.id(), kId);
  EXPECT_EQ(harness.state(), HarnessState::kNew);
  EXPECT_TRUE(harness.status().ok());
}

TEST(LoaderHarnessConformance, LH_03_QuiescesThenUnloadsOnce) {
  LoaderHarness harness = NewHarness();
  LoadAll(harness);
  ASSERT_TRUE(harness.UnloadRequested().ok());
  ASSERT_TRUE(harness.StartQuiescing().ok());
  EXPECT_EQ(harness.state(), HarnessState::kQuiescing);
  ASSERT_TRUE(harness.DoneQuiescing().ok());
  EXPECT_EQ(harness.state(), HarnessState::kQuiesced);
  ASSERT_TRUE(harness.StartUnloading().ok());
  EXPECT_FALSE(harness.StartUnloading().ok());
}

TEST(LoaderHarnessConformance, LH_04_LoadsOnAnotherThreadAndIsReady) {
  TestManager t({.load_threads = 2});
  auto probe = t.NewProbe();
  t.Manage(kId, probe);
  EXPECT_TRUE(t.Load(kId).status().ok());
  EXPECT_EQ(t.State(kId), HarnessState::kReady);
  EXPECT_NE(probe->load_thread(), std::this_thread::get_id());
  EXPECT_EQ(probe->attempts(), std::vector<int>{1});
}

TEST(LoaderHarnessConformance, LH_05_AFullUnloadEndsDisabled) {
  LoaderHarness harness = NewHarness();
  LoadAll(harness);
  ASSERT_TRUE(harness.UnloadRequested().ok());
  ASSERT_TRUE(harness.StartQuiescing().ok());
  ASSERT_TRUE(harness.DoneQuiescing().ok());
  ASSERT_TRUE(harness.StartUnloading().ok());
  ASSERT_TRUE(harness.FinishUnloading(Status::Ok()).ok());
  EXPECT_EQ(harness.state(), HarnessState::kDisabled);
}

TEST(LoaderHarnessConformance, LH_06_UnloadRequestedIsAStateOfItsOwn) {
  LoaderHarness harness = NewHarness();
  LoadAll(harness);
  ASSERT_TRUE(harness.UnloadRequested().ok());
  EXPECT_EQ(harness.state(), HarnessState::kUnloadRequested);
}

TEST(LoaderHarnessConformance, LH_08_AFailedLoadEndsInErrorWithItsStatus) {
  TestManager t({.load_threads = 0});
  auto probe = t.NewProbe();
  probe->FailAllLoads(kBroken);
  t.Manage(kId, probe);
  EXPECT_EQ(t.Load(kId).status(), kBroken);
  EXPECT_EQ(t.State(kId), HarnessState::kError);
  EXPECT_EQ(probe->unloads(), 0);
}

TEST(LoaderHarnessConformance, LH_09_ErrorKeepsItsStatus) {
  LoaderHarness harness = NewHarness();
  ASSERT_TRUE(harness.Error(kBroken).ok());
  EXPECT_EQ(harness.state(), HarnessState::kError);
  EXPECT_EQ(harness.status(), kBroken);
}

TEST(LoaderHarnessConformance, LH_10_AnErrorIsReported) {
  // No callback of the harness: the manager publishes End with the error.
  TestManager t({.load_threads = 0});
  t.ManageWithError(kId, kBroken);
  const auto last = t.events->Last(kId);
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->manager_state, ManagerState::kEnd);
  EXPECT_EQ(last->health, kBroken);
}

TEST(LoaderHarnessConformance, LH_11_SideCarsAreOfTheManagerAbove) {
  // No additional state in the harness: AspiredVersionsManager keeps its own
  // record per version, typed, so that nothing can be asked for by a wrong one.
  TestManager t({.load_threads = 0});
  t.Manage(kId, t.NewProbe());
  const auto snapshot = t.manager->GetSnapshot(kId);
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ(snapshot->version, kId.version);
  EXPECT_EQ(snapshot->state, HarnessState::kNew);
}

TEST(LoaderHarnessConformance, LH_13_ASecondLoadRequestIsRefused) {
  LoaderHarness harness = NewHarness();
  ASSERT_TRUE(harness.LoadRequested().ok());
  const Status second = harness.LoadRequested();
  EXPECT_EQ(second.canonical(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(second.code(), ErrorCode::kDuplicateLoadRequest);
  EXPECT_EQ(second.message().find("Duplicate load request"), 0u);
  EXPECT_EQ(harness.state(), HarnessState::kLoadRequested);
}

TEST(LoaderHarnessConformance, LH_14_ASecondUnloadRequestIsRefused) {
  LoaderHarness harness = NewHarness();
  LoadAll(harness);
  ASSERT_TRUE(harness.UnloadRequested().ok());
  const Status second = harness.UnloadRequested();
  EXPECT_EQ(second.canonical(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(second.code(), ErrorCode::kDuplicateUnloadRequest);
  EXPECT_EQ(harness.state(), HarnessState::kUnloadRequested);
}

TEST(LoaderHarnessConformance, LH_15_ARetryAfterAFailureSucceeds) {
  TestManager t({.load_threads = 0, .max_num_load_retries = 1});
  auto probe = t.NewProbe();
  probe->ScriptLoad(kBroken);
  t.Manage(kId, probe);
  EXPECT_TRUE(t.Load(kId).status().ok());
  EXPECT_EQ(probe->attempts(), (std::vector<int>{1, 2}));
}

TEST(LoaderHarnessConformance, LH_16_RetriesEndWithTheBudget) {
  TestManager t({.load_threads = 0, .max_num_load_retries = 1});
  auto probe = t.NewProbe();
  probe->FailAllLoads(kBroken);
  t.Manage(kId, probe);
  EXPECT_EQ(t.Load(kId).status(), kBroken);
  EXPECT_EQ(probe->loads(), 2);
}

TEST(LoaderHarnessConformance, LH_18_ALoadThatSucceedsAfterItsCancelIsNot) {
  // A cancel is a fact of its own here, not a predicate that says no.
  TestManager t({.load_threads = 1});
  auto probe = t.NewProbe();
  probe->HoldLoads();
  t.Manage(kId, probe);
  Completion done = t.Load(kId);
  ASSERT_TRUE(probe->WaitForLoads(1));
  EXPECT_TRUE(t.Cancel(kId).ok());
  probe->FinishLoad();
  EXPECT_EQ(done.status().canonical(), StatusCode::kCancelled);
  EXPECT_EQ(t.State(kId), HarnessState::kDisabled);
  EXPECT_EQ(probe->unloads(), 1);
  EXPECT_FALSE(t.events->EverAvailable(kId));
}

TEST(LoaderHarnessConformance, LH_19_ThePredicateEndsTheRetries) {
  TestManager::Options options{.load_threads = 0, .max_num_load_retries = 5};
  options.should_retry = [](const Status& s, const ServableId&) {
    return s.canonical() != StatusCode::kInvalidArgument;
  };
  TestManager t(options);
  auto probe = t.NewProbe();
  const Status invalid(ErrorCode::kModelInvalid, "not a model");
  probe->ScriptLoad(kBroken);
  probe->FailAllLoads(invalid);
  t.Manage(kId, probe);
  EXPECT_EQ(t.Load(kId).status(), invalid);
  EXPECT_EQ(probe->loads(), 2);
}

TEST(LoaderHarnessConformance, LH_20_21_ThereIsNoModelType) {
  // A model type is a label for metrics there; a servable's name is ours.
  TestManager t({.load_threads = 0});
  auto probe = t.NewProbe();
  t.Manage(kId, probe);
  EXPECT_TRUE(t.Load(kId).status().ok());
  EXPECT_EQ(t.events->Last(kId)->id.name, "test");
}

}  // namespace
}  // namespace aspired
