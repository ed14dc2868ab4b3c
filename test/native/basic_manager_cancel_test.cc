// BasicManager: cancelling a load, in every state and against every race.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "native/test_util/test_manager.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::Barrier;
using test::Completion;
using test::LoaderProbe;
using test::Notification;
using test::TestManager;
using enum HarnessState;

const ServableId kA{"a", 1};
const ServableId kB{"b", 1};
const Status kBroken(ErrorCode::kLoadFailed, "broken");

void ExpectCancelled(const Completion& end) {
  const Status s = end.status();
  EXPECT_EQ(s.code(), ErrorCode::kLoadCancelled) << s.ToString();
  EXPECT_EQ(s.canonical(), StatusCode::kCancelled);
  EXPECT_EQ(end.times(), 1);
}

TEST(BasicManagerCancelTest, UnknownIdIsNotManaged) {
  TestManager t;
  EXPECT_EQ(t.Cancel(kA).code(), ErrorCode::kServableNotManaged);
}

TEST(BasicManagerCancelTest, ANewVersionEndsWithoutALoad) {
  TestManager t;
  auto probe = t.NewProbe();
  t.Manage(kA, probe);
  EXPECT_TRUE(t.Cancel(kA).ok());
  EXPECT_EQ(t.State(kA), kDisabled);
  EXPECT_EQ(t.events->Trace(kA), "Start End(ERR_LOAD_CANCELLED)");
  EXPECT_EQ(t.Load(kA).status().code(), ErrorCode::kDuplicateLoadRequest);
  EXPECT_TRUE(t.StopManaging(kA).ok());
  EXPECT_EQ(probe->loads(), 0);
  EXPECT_TRUE(probe->destroyed());
}

TEST(BasicManagerCancelTest, AVersionThatWaitsForASlotEndsAtOnce) {
  TestManager t({.load_threads = 1});
  auto busy = t.NewProbe();
  auto waiting = t.NewProbe();
  busy->HoldLoads();
  t.Manage(kA, busy);
  t.Manage(kB, waiting);
  const Completion first = t.Load(kA);
  const Completion second = t.Load(kB);
  EXPECT_EQ(t.State(kB), kLoadRequested);
  EXPECT_TRUE(t.Cancel(kB).ok());
  ExpectCancelled(second);  // though the slot is still taken
  EXPECT_EQ(t.State(kB), kDisabled);
  busy->FinishLoad();
  EXPECT_TRUE(first.status().ok());
  EXPECT_EQ(waiting->loads(), 0);
  EXPECT_EQ(waiting->cancels(), 0) << "there was nothing to cancel";
  EXPECT_EQ(t.events->Trace(kB), "Start End(ERR_LOAD_CANCELLED)");
}

TEST(BasicManagerCancelTest, TheLoaderOfOneThatWaitedDiesWhenItIsForgotten) {
  TestManager t({.load_threads = 1});
  auto busy = t.NewProbe();
  auto waiting = t.NewProbe();
  busy->HoldLoads();
  t.Manage(kA, busy);
  t.Manage(kB, waiting);
  const Completion first = t.Load(kA);
  (void)t.Load(kB);
  EXPECT_TRUE(t.Cancel(kB).ok());
  EXPECT_TRUE(t.StopManaging(kB).ok());
  EXPECT_TRUE(waiting->destroyed()) << "not when the slot of A is free";
  busy->FinishLoad();
  EXPECT_TRUE(first.status().ok());
}

TEST(BasicManagerCancelTest, ALoaderNeverDiesUnderTheManagersLock) {
  // A retry that waits for a slot keeps its loader in the queue; dropped there,
  // it is destroyed when the queue moves on. Its destructor may call back.
  TestManager t({.load_threads = 1, .max_num_load_retries = 5});
  auto busy = t.NewProbe();
  auto flaky = t.NewProbe();
  busy->HoldLoads();
  flaky->FailAllLoads(kBroken);
  Notification failing, go_on;
  flaky->OnLoad([&] {
    failing.Notify();
    EXPECT_TRUE(go_on.Wait());
  });
  flaky->OnDestroy([&] { (void)t.manager->num_managed(); });
  t.Manage(kA, flaky);
  t.Manage(kB, busy);
  const Completion flaky_end = t.Load(kA);
  ASSERT_TRUE(failing.Wait());
  const Completion busy_end = t.Load(kB);  // first in the queue
  go_on.Notify();
  ASSERT_TRUE(busy->WaitForLoads(1));  // A waits behind it for its retry
  EXPECT_TRUE(t.Cancel(kA).ok());
  ExpectCancelled(flaky_end);
  EXPECT_TRUE(t.StopManaging(kA).ok());
  busy->FinishLoad();
  EXPECT_TRUE(busy_end.status().ok());
  EXPECT_TRUE(flaky->WaitForDestroyed());
  EXPECT_EQ(flaky->loads(), 1);
}

TEST(BasicManagerCancelTest, AVersionAdmittedButNotYetOnItsThreadIsNotLoaded) {
  int asked = 0;
  TestManager::Options options{.load_threads = 0, .pump_thread = false};
  options.should_retry = [&](const Status&, const ServableId&) {
    ++asked;
    return true;
  };
  TestManager t(options);
  auto probe = t.NewProbe();
  t.Manage(kA, probe);
  const Completion end = t.Load(kA);
  EXPECT_EQ(t.State(kA), kLoading);
  EXPECT_TRUE(t.Cancel(kA).ok());
  t.manager->Pump();
  ExpectCancelled(end);
  EXPECT_EQ(probe->loads(), 0);
  EXPECT_EQ(asked, 0) << "no attempt failed";
  EXPECT_EQ(t.events->Trace(kA), "Start Loading End(ERR_LOAD_CANCELLED)");
}

TEST(BasicManagerCancelTest, DuringAnAttemptTheLoaderHearsItOnce) {
  TestManager t;
  auto probe = t.NewProbe();
  probe->HoldLoads();
  t.Manage(kA, probe);
  const Completion end = t.Load(kA);
  ASSERT_TRUE(probe->WaitForLoads(1));
  EXPECT_TRUE(t.Cancel(kA).ok());
  EXPECT_TRUE(t.Cancel(kA).ok()) << "a second one is no error and no call";
  EXPECT_TRUE(probe->WaitForCancels(1));
  EXPECT_EQ(t.State(kA), kLoading);
  EXPECT_FALSE(t.StopManaging(kA).ok());
  probe->FinishLoad(kBroken);
  EXPECT_EQ(end.status(), kBroken);
  EXPECT_EQ(t.State(kA), kDisabled);
  EXPECT_EQ(probe->cancels(), 1);
  EXPECT_EQ(probe->unloads(), 0);
}

TEST(BasicManagerCancelTest, ALoaderThatListensEndsTheLoadAtOnce) {
  for (auto kind :
       {LoaderProbe::Kind::kBlocking, LoaderProbe::Kind::kNonBlocking}) {
    TestManager t;
    auto probe = t.NewProbe(kind);
    probe->HoldLoads();
    probe->ListenToCancel();
    t.Manage(kA, probe);
    const Completion end = t.Load(kA);
    ASSERT_TRUE(probe->WaitForLoads(1));
    EXPECT_TRUE(t.Cancel(kA).ok());
    ExpectCancelled(end);
    EXPECT_EQ(t.State(kA), kDisabled);
  }
}

TEST(BasicManagerCancelTest, ALoadThatSucceedsAllTheSameIsUnloadedUnseen) {
  TestManager t;
  auto probe = t.NewProbe();
  probe->HoldLoads();
  probe->HoldUnloads();
  t.Manage(kA, probe);
  const Completion end = t.Load(kA);
  ASSERT_TRUE(probe->WaitForLoads(1));
  EXPECT_TRUE(t.Cancel(kA).ok());
  probe->FinishLoad();
  ASSERT_TRUE(probe->WaitForUnloads(1));
  EXPECT_EQ(t.State(kA), kUnloading);
  EXPECT_FALSE(t.readers->IsOpen(kA));
  EXPECT_FALSE(t.Revoke(kA).ok()) << "it was never visible";
  probe->FinishUnload();
  ExpectCancelled(end);
  EXPECT_EQ(t.readers->opens(kA), 0);
  EXPECT_EQ(t.events->Trace(kA), "Start Loading End(ERR_LOAD_CANCELLED)");
}

TEST(BasicManagerCancelTest, APauseBeforeARetryEndsAtOnce) {
  TestManager t(
      {.max_num_load_retries = 5, .retry_interval = milliseconds(60'000)});
  auto probe = t.NewProbe();
  probe->FailAllLoads(kBroken);
  t.Manage(kA, probe);
  const Completion end = t.Load(kA);
  ASSERT_TRUE(probe->WaitForLoads(1));
  while (!t.manager->NextDue()) std::this_thread::yield();
  EXPECT_TRUE(t.Cancel(kA).ok());
  ExpectCancelled(end);
  EXPECT_EQ(t.manager->NextDue(), std::nullopt);
  EXPECT_FALSE(t.manager->GetSnapshot(kA)->retry_due.has_value());
  t.Advance(milliseconds(1'000'000));
  EXPECT_EQ(probe->loads(), 1) << "no further attempt";
}

TEST(BasicManagerCancelTest, PastLoadingItIsAnErrorThatChangesNothing) {
  TestManager t;
  auto probe = t.Loaded(kA);
  const auto expect_refused = [&](HarnessState state) {
    EXPECT_EQ(t.State(kA), state);
    EXPECT_EQ(t.Cancel(kA).code(), ErrorCode::kIllegalTransition);
    EXPECT_EQ(t.State(kA), state);
  };
  expect_refused(kReady);
  auto lease = t.readers->Acquire(kA);
  probe->HoldUnloads();
  const Completion end = t.Unload(kA);
  expect_refused(kQuiescing);
  lease.Release();
  ASSERT_TRUE(probe->WaitForUnloads(1));
  expect_refused(kUnloading);
  probe->FinishUnload();
  EXPECT_TRUE(end.status().ok());
  expect_refused(kDisabled);
  t.ManageWithError(kB, kBroken);
  EXPECT_EQ(t.Cancel(kB).code(), ErrorCode::kIllegalTransition);
  EXPECT_EQ(probe->cancels(), 0);
}

TEST(BasicManagerCancelTest, ALoaderTakenFromACancelledVersionIsNotMissed) {
  // The call of the loader's CancelLoad() is an effect that may still wait when
  // the version is forgotten: the loader must be there for it.
  TestManager t;
  auto probe = t.NewProbe();
  probe->HoldLoads();
  t.Manage(kA, probe);
  const Completion end = t.Load(kA);
  ASSERT_TRUE(probe->WaitForLoads(1));
  Notification effect_runs, effect_may_end;
  t.manager->PushEffect([&] {
    effect_runs.Notify();
    EXPECT_TRUE(effect_may_end.Wait());
  });
  std::thread drainer([&] { t.manager->Flush(); });
  ASSERT_TRUE(effect_runs.Wait());
  EXPECT_TRUE(t.manager->CancelLoad(kA).ok());
  probe->FinishLoad(kBroken);
  while (t.State(kA) != kDisabled) std::this_thread::yield();
  std::unique_ptr<Loader> loader;
  EXPECT_TRUE(t.manager->StopManagingServable(kA, &loader).ok());
  effect_may_end.Notify();
  drainer.join();
  EXPECT_TRUE(probe->WaitForCancels(1));
  EXPECT_EQ(end.status(), kBroken);
}

TEST(BasicManagerCancelTest, RacingALoadThatFinishesEitherWinsNeverBoth) {
  for (int round = 0; round < 300; ++round) {
    TestManager t({.load_threads = 1, .unload_threads = 1});
    auto probe = t.NewProbe(round % 2 == 0 ? LoaderProbe::Kind::kBlocking
                                           : LoaderProbe::Kind::kNonBlocking);
    probe->HoldLoads();
    t.Manage(kA, probe);
    const Completion end = t.Load(kA);
    ASSERT_TRUE(probe->WaitForLoads(1));
    Barrier go(2);
    std::thread finisher([&] {
      go.Wait();
      probe->FinishLoad();
    });
    go.Wait();
    const HarnessState before = t.State(kA).value();
    const Status cancelled = t.Cancel(kA);
    const int opens_after_cancel = t.readers->opens(kA);
    finisher.join();
    const Status loaded = end.status();
    if (cancelled.ok()) {
      EXPECT_EQ(loaded.code(), ErrorCode::kLoadCancelled);
      EXPECT_EQ(opens_after_cancel + t.readers->opens(kA), 0);
      EXPECT_EQ(probe->unloads(), 1);
      EXPECT_FALSE(t.events->EverAvailable(kA));
    } else {
      EXPECT_TRUE(before == kLoading || before == kReady);
      EXPECT_EQ(cancelled.code(), ErrorCode::kIllegalTransition);
      EXPECT_TRUE(loaded.ok()) << loaded.ToString();
      EXPECT_EQ(t.State(kA), kReady);
      EXPECT_EQ(probe->cancels(), 0);
    }
    t.Finish();
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
}

TEST(BasicManagerCancelTest, RacingWithAdmissionAndRetriesManyVersions) {
  constexpr int kVersions = 64;
  for (int round = 0; round < 5; ++round) {
    TestManager t({.load_threads = 2, .max_num_load_retries = 3});
    std::vector<test::ProbePtr> probes;
    std::vector<Completion> ends;
    for (int v = 0; v < kVersions; ++v) {
      auto probe = t.NewProbe(v % 2 == 0 ? LoaderProbe::Kind::kBlocking
                                         : LoaderProbe::Kind::kOtherThread);
      if (v % 3 == 0) probe->ScriptLoad(kBroken);
      probes.push_back(probe);
      t.Manage({"m", v}, probe);
    }
    std::vector<Status> cancels(kVersions);
    std::thread canceller([&] {
      for (int v = kVersions - 1; v >= 0; --v) {
        cancels[static_cast<size_t>(v)] = t.Cancel({"m", v});
      }
    });
    for (int v = 0; v < kVersions; ++v) ends.push_back(t.Load({"m", v}));
    canceller.join();
    for (int v = 0; v < kVersions; ++v) {
      const auto i = static_cast<size_t>(v);
      const Status s = ends[i].status();
      if (cancels[i].ok()) {
        EXPECT_FALSE(s.ok());
        EXPECT_EQ(t.readers->opens({"m", v}), 0);
        EXPECT_EQ(t.State({"m", v}), kDisabled);
      } else {
        EXPECT_TRUE(s.ok()) << s.ToString();
      }
    }
  }
}

}  // namespace
}  // namespace aspired
