// AspiredVersionsManager: slow retries, closing, intent and external decisions.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "native/test_util/test_avm.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::kAvailabilityPreserving;
using test::kLoadBroken;
using test::kResourcePreserving;
using test::Notification;
using test::ProbePtr;
using test::Settled;
using test::TestAvm;
using Kind = PolicyAction::Kind;
using enum HarnessState;

const ServableId kM1{"m", 1};
const ServableId kM2{"m", 2};

double RetryIn(TestAvm& t, const ServableId& id) {
  const auto row = t.Row(id);
  EXPECT_TRUE(row && row->retry_in_ms) << id.ToString() << " has no retry";
  return row && row->retry_in_ms ? *row->retry_in_ms : -1;
}

// ------------------------------------------------------------- slow retries

TEST(AspiredVersionsManagerRetryTest, AFailedVersionIsTriedAgainWhileAspired) {
  TestAvm t;
  auto probe = t.FailingProbe();
  const Settled settled = t.Aspire("m", {{1, probe}});
  EXPECT_EQ(settled.Text(), "1:End(ERR_LOAD_FAILED)") << "told at once";
  int loads = 1;
  for (double step : {1000., 2000., 4000., 8000., 8000.}) {
    EXPECT_EQ(probe->loads(), loads);
    const auto row = t.Row(kM1);
    EXPECT_TRUE(row->degraded);
    EXPECT_EQ(row->error, kLoadBroken);
    const double pause = RetryIn(t, kM1);
    EXPECT_GE(pause, 0.8 * step - 1);
    EXPECT_LE(pause, 1.2 * step + 1);
    EXPECT_EQ(*t.manager->NextDue(),
              t.clock->Now() + milliseconds(static_cast<int64_t>(pause)));
    t.Advance(milliseconds(static_cast<int64_t>(pause) - 1));
    EXPECT_EQ(probe->loads(), loads) << "too early";
    t.Advance(milliseconds(1));
    ++loads;
  }
  EXPECT_EQ(probe->loads(), 6);
  EXPECT_EQ(settled.times(), 1);
}

TEST(AspiredVersionsManagerRetryTest, EachSlowRetryIsANewIncarnation) {
  TestAvm t([](auto* o) { o->retry.max_num_load_retries = 1; });
  auto probe = t.Probe();
  probe->ScriptLoad(kLoadBroken);
  probe->ScriptLoad(kLoadBroken);
  t.Aspire("m", {{1, probe}});
  EXPECT_EQ(probe->attempts(), (std::vector<int>{1, 2}));
  const uint64_t first = t.Row(kM1)->incarnation;
  t.Advance(milliseconds(1200));
  EXPECT_EQ(probe->attempts(), (std::vector<int>{1, 2, 1}));
  EXPECT_GT(t.Row(kM1)->incarnation, first);
  EXPECT_EQ(t.State(kM1), kReady);
  EXPECT_FALSE(t.Row(kM1)->degraded);
  EXPECT_TRUE(t.Row(kM1)->error.ok());
  EXPECT_EQ(t.events->Trace(kM1),
            "Start Loading End(ERR_LOAD_FAILED) Start Loading Available");
}

TEST(AspiredVersionsManagerRetryTest, StaysDegradedWhileTheRetryLoads) {
  TestAvm t;
  auto probe = t.Probe();
  probe->ScriptLoad(kLoadBroken);
  t.Aspire("m", {{1, probe}});
  probe->HoldLoads();
  t.Advance(milliseconds(1200));
  EXPECT_EQ(t.State(kM1), kLoading);
  EXPECT_TRUE(t.Row(kM1)->degraded);
  EXPECT_EQ(t.Row(kM1)->error, kLoadBroken);
  probe->FinishLoad();
  t.Step();
  EXPECT_FALSE(t.Row(kM1)->degraded);
}

TEST(AspiredVersionsManagerRetryTest, ThePauseStartsOverAfterASuccess) {
  TestAvm t;
  auto probe = t.Probe();
  for (int i = 0; i < 3; ++i) probe->ScriptLoad(kLoadBroken);
  t.Aspire("m", {{1, probe}});
  for (int i = 0; i < 3; ++i) t.Advance(milliseconds(9600));
  EXPECT_EQ(t.State(kM1), kReady);
  t.Aspire("m", {});
  t.Aspire("m", {{1, t.FailingProbe()}});
  EXPECT_LE(RetryIn(t, kM1), 1201);
}

TEST(AspiredVersionsManagerRetryTest, ADropEndsTheRetriesAtOnce) {
  TestAvm t;
  auto probe = t.FailingProbe();
  t.Aspire("m", {{1, probe}});
  EXPECT_TRUE(t.Aspire("m", {}).is_settled());
  EXPECT_TRUE(probe->destroyed());
  t.Advance(milliseconds(100'000));
  EXPECT_EQ(probe->loads(), 1);
  EXPECT_EQ(t.manager->NextDue(), std::nullopt);
}

TEST(AspiredVersionsManagerRetryTest, AQuickRetryIsCancelledInItsPause) {
  TestAvm t([](auto* o) {
    o->retry.max_num_load_retries = 5;
    o->retry.quick = {milliseconds(60'000), milliseconds(60'000)};
  });
  t.Aspire("m", {{1, t.Probe()}});
  auto two = t.FailingProbe();
  const Settled promotion = t.Aspire("m", {{2, two}});
  EXPECT_EQ(t.State(kM2), kLoading);
  EXPECT_TRUE(t.Row(kM2)->degraded) << "it failed and is not Ready";
  EXPECT_GT(RetryIn(t, kM2), 0);
  const Settled rollback = t.Aspire("m", {{1, t.Probe()}});
  EXPECT_EQ(rollback.Text(), "1:Available");
  EXPECT_EQ(promotion.Text(), "2:End(ERR_LOAD_CANCELLED)");
  t.Advance(milliseconds(1'000'000));
  EXPECT_EQ(two->loads(), 1);
}

TEST(AspiredVersionsManagerRetryTest, AFailureThatIsNotRetriableEndsForGood) {
  TestAvm t([](auto* o) { o->retry.max_num_load_retries = 5; });
  auto probe = t.Probe();
  probe->FailAllLoads(kLoadBroken, /*retriable=*/false);
  t.Aspire("m", {{1, probe}});
  t.Advance(milliseconds(1'000'000));
  EXPECT_EQ(probe->loads(), 1);
  EXPECT_TRUE(t.Row(kM1)->degraded);
}

TEST(AspiredVersionsManagerRetryTest, AFlappingModelDoesNotStarveAnother) {
  TestAvm t([](auto* o) { o->num_load_threads = 1; });
  t.Aspire("flapping", {{1, t.FailingProbe()}});
  for (int round = 0; round < 5; ++round) {
    t.Advance(milliseconds(10'000));
    EXPECT_TRUE(t.Aspire("m", {{round + 1, t.Probe()}}).is_settled());
  }
}

// ------------------------------------------------------------------ closing

TEST(AspiredVersionsManagerCloseTest, UnloadsEverythingAndAbandonsNothing) {
  TestAvm t;
  auto one = t.Probe();
  t.Aspire("a", {{1, one}});
  t.Aspire("b", {{1, t.Probe()}, {2, t.FailingProbe()}});
  t.Close(milliseconds(10'000));
  ASSERT_TRUE(t.abandoned().has_value());
  EXPECT_TRUE(t.abandoned()->empty());
  EXPECT_EQ(one->unloads(), 1);
  EXPECT_TRUE(t.readers->OpenIds().empty());
}

TEST(AspiredVersionsManagerCloseTest, WaitsForALeaseWithinItsDeadline) {
  TestAvm t;
  auto one = t.Probe();
  t.Aspire("m", {{1, one}});
  auto lease = t.readers->Acquire(kM1);
  t.Close(milliseconds(10'000));
  EXPECT_FALSE(t.abandoned().has_value());
  EXPECT_FALSE(t.IsOpen(kM1)) << "closed to new readers";
  t.Advance(milliseconds(9'000));
  EXPECT_FALSE(t.abandoned().has_value());
  EXPECT_EQ(one->unloads(), 0) << "never under a reader";
  lease.Release();
  t.Step();
  ASSERT_TRUE(t.abandoned().has_value());
  EXPECT_TRUE(t.abandoned()->empty());
  EXPECT_EQ(one->unloads(), 1);
}

TEST(AspiredVersionsManagerCloseTest, AtTheDeadlineItReportsWhatItAbandoned) {
  TestAvm t;
  auto held = t.Probe();
  held->AllowLeak();
  auto stuck = t.HeldProbe();
  t.Aspire("m", {{1, held}});
  const Settled loading = t.Aspire("n", {{1, stuck}});
  auto lease = t.readers->Acquire(kM1);
  const Settled drop = t.Aspire("m", {});
  t.Close(milliseconds(10'000));
  EXPECT_EQ(stuck->cancels(), 1);
  t.Advance(milliseconds(10'000));
  ASSERT_TRUE(t.abandoned().has_value());
  auto abandoned = *t.abandoned();
  std::sort(abandoned.begin(), abandoned.end());
  EXPECT_EQ(abandoned, (std::vector<ServableId>{kM1, {"n", 1}}));
  EXPECT_EQ(loading.Text(), "1:End(ERR_ABANDONED)");
  EXPECT_TRUE(drop.is_settled());
  EXPECT_EQ(held->unloads(), 0);
  EXPECT_EQ(t.events->Last(kM1)->health.code(), ErrorCode::kAbandoned);
  // What comes late is not leaked, and nobody hears of it.
  stuck->FinishLoad();
  EXPECT_EQ(stuck->unloads(), 1);
  lease.Release();
}

TEST(AspiredVersionsManagerCloseTest, EndsRetriesAndQueuesAtOnce) {
  TestAvm t([](auto* o) {
    o->num_load_threads = 1;
    o->retry.max_num_load_retries = 5;
    o->retry.quick = {milliseconds(60'000), milliseconds(60'000)};
  });
  const Settled retrying = t.Aspire("a", {{1, t.FailingProbe()}});
  auto busy = t.HeldProbe();
  busy->ListenToCancel();
  const Settled loading = t.Aspire("b", {{1, busy}});
  const Settled waiting = t.Aspire("c", {{1, t.Probe()}});
  t.Close(milliseconds(10'000));
  ASSERT_TRUE(t.abandoned().has_value()) << "without moving the clock";
  EXPECT_TRUE(t.abandoned()->empty());
  for (const auto* list : {&retrying, &loading, &waiting}) {
    EXPECT_EQ(list->Text(), "1:End(ERR_LOAD_CANCELLED)");
  }
}

TEST(AspiredVersionsManagerCloseTest, ASuccessorDoesNotStartAnyMore) {
  TestAvm t;
  auto one = t.Probe();
  one->HoldUnloads();
  t.Aspire("m", {{1, one}});
  t.Aspire("m", {});
  auto next = t.Probe();
  const Settled again = t.Aspire("m", {{1, next}});
  t.Close(milliseconds(10'000));
  EXPECT_EQ(again.Text(), "1:End(ERR_LOAD_CANCELLED)");
  one->FinishUnload();
  t.Step();
  EXPECT_TRUE(t.abandoned().has_value());
  EXPECT_EQ(next->loads(), 0);
}

TEST(AspiredVersionsManagerCloseTest, WaitsOfTheMonitorEnd) {
  TestAvm t;
  ServableStateMonitor::WaitOutcome outcome{};
  t.manager->monitor().NotifyWhenServablesReachState(
      {{"m", 1}}, ManagerState::kAvailable,
      [&](auto o, const auto&) { outcome = o; });
  t.Close(milliseconds(0));
  EXPECT_EQ(outcome, ServableStateMonitor::WaitOutcome::kClosed);
}

// ------------------------------------------------------- labels and primary

TEST(AspiredVersionsManagerIntentTest, IsKeptMergedAndForgottenWithTheStream) {
  TestAvm t;
  EXPECT_FALSE(t.manager->GetIntent("m").labels.has_value());
  StreamIntent first;
  first.labels = std::map<std::string, int64_t>{{"canary", 2}, {"stable", 1}};
  first.primary = 1;
  t.Aspire("m", {{1, t.Probe()}, {2, t.Probe()}}, first);
  EXPECT_EQ(t.manager->GetIntent("m").labels, first.labels);
  EXPECT_EQ(t.manager->GetIntent("m").primary, first.primary);

  StreamIntent flip;
  flip.primary = 2;
  ASSERT_TRUE(t.manager->SetIntent("m", flip).ok());
  EXPECT_EQ(t.manager->GetIntent("m").labels, first.labels) << "not touched";
  EXPECT_EQ(t.manager->GetIntent("m").primary, flip.primary);

  StreamIntent none;
  none.labels = std::map<std::string, int64_t>{};
  none.primary = std::optional<int64_t>();
  ASSERT_TRUE(t.manager->SetIntent("m", none).ok());
  t.Aspire("m", {});
  EXPECT_FALSE(t.manager->GetIntent("m").labels.has_value()) << "forgotten";
}

TEST(AspiredVersionsManagerIntentTest, MayComeBeforeTheFirstListAndStays) {
  TestAvm t;
  StreamIntent intent;
  intent.primary = 7;
  ASSERT_TRUE(t.manager->SetIntent("m", intent).ok());
  t.Step();
  t.Aspire("m", {{1, t.Probe()}});
  t.Aspire("m", {});
  EXPECT_EQ(t.manager->GetIntent("m").primary, intent.primary);
}

TEST(AspiredVersionsManagerIntentTest, APolicyOfAStreamIsItsOwn) {
  TestAvm t;
  StreamIntent resource;
  resource.policy = &kResourcePreserving;
  auto one = t.Probe();
  t.Aspire("m", {{1, one}}, resource);
  auto two = t.HeldProbe();
  t.Aspire("m", {{2, two}});
  EXPECT_EQ(one->unloads(), 1) << "before 2 was loaded";
  t.Aspire("other", {{1, t.Probe()}});
  t.Aspire("other", {{2, t.FailingProbe()}});
  EXPECT_TRUE(t.IsOpen({"other", 1}));
  two->FinishLoad();
}

// ------------------------------------------------------- external decisions

TEST(AspiredVersionsManagerExternalTest, AnExternalPolicyIsAskedAndAnswers) {
  std::vector<std::string> asked;
  TestAvm t([&](auto* o) {
    o->policy = nullptr;
    o->decide = [&](std::vector<std::string> names) { asked = names; };
  });
  const Settled settled = t.Aspire("m", {{1, t.Probe()}});
  EXPECT_EQ(asked, std::vector<std::string>{"m"});
  EXPECT_EQ(t.State(kM1), kNew) << "nothing is done without an answer";
  const auto snapshots = t.manager->GetPolicySnapshots("m");
  ASSERT_EQ(snapshots.size(), 1u);
  EXPECT_TRUE(snapshots[0].is_aspired);
  EXPECT_EQ(snapshots[0].state, kNew);
  const auto statuses = t.manager->PerformActions({{Kind::kLoad, kM1}});
  ASSERT_EQ(statuses.size(), 1u);
  EXPECT_TRUE(statuses[0].ok());
  t.Step();
  EXPECT_EQ(settled.Text(), "1:Available");
}

TEST(AspiredVersionsManagerExternalTest, ActionsThatNoStateAllowsAreErrors) {
  TestAvm t;
  t.Aspire("m", {{1, t.Probe()}});
  const auto statuses = t.manager->PerformActions(
      {{Kind::kLoad, kM1}, {Kind::kLoad, kM2}, {Kind::kUnload, kM2}});
  ASSERT_EQ(statuses.size(), 3u);
  EXPECT_EQ(statuses[0].code(), ErrorCode::kDuplicateLoadRequest);
  EXPECT_EQ(statuses[1].code(), ErrorCode::kServableNotManaged);
  EXPECT_EQ(statuses[2].code(), ErrorCode::kServableNotManaged);
  EXPECT_EQ(t.State(kM1), kReady);
  t.Close(milliseconds(0));
  EXPECT_EQ(t.manager->PerformActions({{Kind::kLoad, kM1}})[0].code(),
            ErrorCode::kManagerClosed);
}

TEST(AspiredVersionsManagerExternalTest, AnExternalOrderGetsEveryAction) {
  std::vector<std::string> asked;
  TestAvm t([&](auto* o) {
    o->external_order = true;
    o->decide = [&](std::vector<std::string> names) { asked = names; };
  });
  t.Aspire("m", {{1, t.Probe()}, {2, t.Probe()}});
  EXPECT_EQ(asked, std::vector<std::string>{"m"});
  const auto actions = t.manager->CollectActions("m");
  ASSERT_EQ(actions.size(), 2u);
  EXPECT_EQ(actions[0].id, kM2);
  EXPECT_EQ(actions[1].id, kM1);
  for (const auto& s : t.manager->PerformActions(actions)) EXPECT_TRUE(s.ok());
  EXPECT_TRUE(t.manager->CollectActions("unknown").empty());
}

TEST(AspiredVersionsManagerExternalTest,
     UnloadsGoBeforeLoadsThenTheComparator) {
  TestAvm t([](auto* o) {
    o->num_load_threads = 1;
    o->comparator = [](const ServableAction& a, const ServableAction& b) {
      return a.id.name > b.id.name;
    };
  });
  t.Aspire("b", {{1, t.Probe()}});
  std::vector<std::string> order;
  auto subscription = t.manager->bus()->Subscribe([&](const ServableState& e) {
    if (e.manager_state == ManagerState::kLoading ||
        e.manager_state == ManagerState::kUnloading) {
      order.push_back(e.id.name + " " + std::string(Name(e.manager_state)));
    }
  });
  std::vector<Settled> lists(3);
  ASSERT_TRUE(t.TryAspire("a", {{1, t.Probe()}}, {}, &lists[0]).ok());
  ASSERT_TRUE(t.TryAspire("b", {}, {}, &lists[1]).ok());
  ASSERT_TRUE(t.TryAspire("c", {{1, t.Probe()}}, {}, &lists[2]).ok());
  t.Step();
  EXPECT_EQ(order, (std::vector<std::string>{"b Unloading", "c Loading",
                                             "a Loading"}));
  for (const auto& list : lists) EXPECT_TRUE(list.is_settled());
}

TEST(AspiredVersionsManagerExternalTest,
     APolicyThatAnswersNonsenseIsNotObeyed) {
  struct Nonsense final : AspiredVersionPolicy {
    std::optional<PolicyAction> GetNextAction(
        std::span<const AspiredServableStateSnapshot>) const override {
      return PolicyAction{Kind::kUnload, 99};
    }
  };
  static const Nonsense kNonsense;
  TestAvm t;
  StreamIntent intent;
  intent.policy = &kNonsense;
  const Settled settled = t.Aspire("m", {{1, t.Probe()}}, intent);
  EXPECT_EQ(t.State(kM1), kNew);
  EXPECT_FALSE(settled.is_settled());
  StreamIntent good;
  good.policy = &kAvailabilityPreserving;
  ASSERT_TRUE(t.manager->SetIntent("m", good).ok());
  t.Step();
  EXPECT_EQ(settled.Text(), "1:Available");
}

// ------------------------------------------------------------------ threads

TEST(AspiredVersionsManagerThreadTest, ItsThreadSleepsUntilSomethingChanges) {
  TestAvm t([](auto* o) {
    o->manage_state_interval = milliseconds(100);
    o->clock = std::make_shared<SystemClock>();
  });
  Settled settled;
  ASSERT_TRUE(t.TryAspire("m", {{1, t.Probe()}}, {}, &settled).ok());
  EXPECT_TRUE(settled.Wait()) << "without a Step()";
}

TEST(AspiredVersionsManagerThreadTest, TerminateDoesNotWaitForAHungLoad) {
  auto readers = std::make_shared<test::FakeReaders>();
  AspiredVersionsManager::Options o;
  o.policy = &kAvailabilityPreserving;
  o.clock = std::make_shared<SystemClock>();
  o.readers = readers;
  auto manager = AspiredVersionsManager::Create(std::move(o));
  auto probe = test::LoaderProbe::Create(test::LoaderProbe::Kind::kBlocking,
                                         readers.get());
  probe->HoldLoads();
  std::vector<AspiredVersion> versions(1);
  versions[0].version = 1;
  versions[0].loader = probe->MakeLoader();
  ASSERT_TRUE(
      manager->SetAspiredVersions("m", std::move(versions), {}, nullptr).ok());
  ASSERT_TRUE(probe->WaitForLoads(1));
  manager->Terminate(test::kDeadline);
  manager.reset();
  EXPECT_EQ(probe->cancels(), 1);
  probe->FinishLoad(kLoadBroken);
  EXPECT_TRUE(probe->WaitForDestroyed());
}

// With no load thread the loop loads by itself. Without a decision between two
// loads, what was dropped meanwhile would stay until the last queued load is
// done, and its memory with it.
TEST(AspiredVersionsManagerInlineTest, AnUnloadDoesNotWaitForQueuedLoads) {
  TestAvm avm([](AspiredVersionsManager::Options* options) {
    options->num_load_threads = 0;
    options->num_unload_threads = 0;
  });
  auto old = avm.Probe(test::LoaderProbe::Kind::kBlocking);
  avm.Aspire("old", {{1, old}});
  auto first = avm.Probe(test::LoaderProbe::Kind::kBlocking);
  auto second = avm.Probe(test::LoaderProbe::Kind::kBlocking);
  first->OnLoad([&] {
    Settled settled;
    ASSERT_TRUE(avm.TryAspire("old", {}, {}, &settled).ok());
  });
  int unloads_before_second = -1;
  second->OnLoad([&] { unloads_before_second = old->unloads(); });
  Settled settled;
  ASSERT_TRUE(avm.TryAspire("a", {{1, first}}, {}, &settled).ok());
  avm.Aspire("b", {{1, second}});
  EXPECT_EQ(second->loads(), 1);
  EXPECT_EQ(unloads_before_second, 1);
}

}  // namespace
}  // namespace aspired
