// BasicManager: slots, threads, retries, kinds of loaders, and giving up.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
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
using test::ProbePtr;
using test::TestManager;
using enum HarnessState;
using Kind = LoaderProbe::Kind;

const ServableId kA{"a", 1};
const ServableId kB{"b", 1};
const Status kBroken(ErrorCode::kLoadFailed, "broken");

constexpr Kind kAllKinds[] = {Kind::kBlocking, Kind::kNonBlocking,
                              Kind::kOtherThread};

TEST(BasicManagerSlotsTest, LoadsAreAdmittedInTheOrderOfTheirRequests) {
  TestManager t({.load_threads = 1});
  std::vector<int> order;
  std::vector<Completion> ends;
  for (int v = 0; v < 10; ++v) {
    auto probe = t.NewProbe();
    probe->OnLoad([&order, v] { order.push_back(v); });
    t.Manage({"m", v}, probe);
  }
  for (int v = 9; v >= 0; --v) ends.push_back(t.Load({"m", v}));
  for (const auto& end : ends) EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(order, (std::vector<int>{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}));
}

TEST(BasicManagerSlotsTest, AsManyLoadsRunAtOnceAsThereAreSlotsOfEachKind) {
  for (Kind kind : kAllKinds) {
    if (kind == Kind::kOtherThread) continue;
    TestManager t({.load_threads = 3});
    std::vector<ProbePtr> probes;
    std::vector<Completion> ends;
    for (int v = 0; v < 5; ++v) {
      probes.push_back(t.NewProbe(kind));
      probes.back()->HoldLoads();
      t.Manage({"m", v}, probes.back());
      ends.push_back(t.Load({"m", v}));
    }
    for (size_t v = 0; v < 3; ++v) ASSERT_TRUE(probes[v]->WaitForLoads(1));
    EXPECT_EQ(t.State({"m", 3}), kLoadRequested);
    EXPECT_EQ(probes[3]->loads(), 0);
    probes[1]->FinishLoad();
    ASSERT_TRUE(probes[3]->WaitForLoads(1));
    EXPECT_EQ(probes[4]->loads(), 0);
    for (size_t v : {0u, 2u, 3u, 4u}) probes[v]->FinishLoad();
    for (const auto& end : ends) EXPECT_TRUE(end.status().ok());
  }
}

TEST(BasicManagerSlotsTest, APauseBeforeARetryHoldsNoSlotAndNoThread) {
  TestManager t({.load_threads = 1,
                 .max_num_load_retries = 3,
                 .retry_interval = milliseconds(60'000)});
  auto flaky = t.NewProbe();
  flaky->ScriptLoad(kBroken);
  t.Manage(kA, flaky);
  const Completion end = t.Load(kA);
  ASSERT_TRUE(flaky->WaitForLoads(1));
  // The only slot is free for others during the pause.
  auto other = t.Loaded(kB);
  EXPECT_EQ(t.State(kA), kLoading);
  EXPECT_FALSE(end.is_done());
  t.Advance(milliseconds(72'000));  // the longest with jitter
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(flaky->attempts(), (std::vector<int>{1, 2}));
}

TEST(BasicManagerSlotsTest, PausesGrowAndAreNotCutShort) {
  TestManager t({.load_threads = 0,
                 .max_num_load_retries = 4,
                 .retry_interval = milliseconds(1000),
                 .max_retry_interval = milliseconds(4000),
                 .pump_thread = false});
  auto probe = t.NewProbe();
  probe->FailAllLoads(kBroken);
  t.Manage(kA, probe);
  const Completion end = t.Load(kA);
  t.manager->Pump();
  int attempts = 1;
  for (double step : {1000., 2000., 4000., 4000.}) {
    EXPECT_EQ(probe->loads(), attempts);
    const auto due = t.manager->NextDue();
    ASSERT_TRUE(due.has_value());
    EXPECT_EQ(t.manager->GetSnapshot(kA)->retry_due, due);
    const std::chrono::duration<double, std::milli> pause =
        *due - t.clock->Now();
    EXPECT_GE(pause.count(), 0.8 * step - 1);
    EXPECT_LE(pause.count(), 1.2 * step + 1);
    t.clock->Set(*due - milliseconds(1));
    t.manager->Pump();
    EXPECT_EQ(probe->loads(), attempts) << "too early";
    t.clock->Set(*due);
    t.manager->Pump();
    ++attempts;
  }
  EXPECT_EQ(end.status(), kBroken);
  EXPECT_EQ(probe->loads(), 5);
  EXPECT_EQ(t.manager->NextDue(), std::nullopt);
}

TEST(BasicManagerSlotsTest, ThePredicateDecidesAboutRetriesNeverAboutSuccess) {
  TestManager::Options options{.max_num_load_retries = 5};
  options.should_retry = [](const Status& s, const ServableId&) {
    return s.canonical() == StatusCode::kUnavailable;
  };
  TestManager t(options);
  t.Loaded(kA);
  EXPECT_EQ(t.State(kA), kReady);
  auto probe = t.NewProbe();
  const Status away(ErrorCode::kSourceError, "away");  // UNAVAILABLE
  probe->ScriptLoad(away);
  probe->FailAllLoads(kBroken);
  t.Manage(kB, probe);
  EXPECT_EQ(t.Load(kB).status(), kBroken);
  EXPECT_EQ(probe->loads(), 2);
  EXPECT_FALSE(t.manager->GetSnapshot(kB)->retriable);
}

TEST(BasicManagerSlotsTest, APredicateMayCallTheManager) {
  std::shared_ptr<BasicManager>* manager = nullptr;
  TestManager::Options options{.max_num_load_retries = 5};
  options.should_retry = [&](const Status&, const ServableId& id) {
    return (*manager)->GetSnapshot(id)->attempts < 2;
  };
  TestManager t(options);
  manager = &t.manager;
  auto probe = t.NewProbe();
  probe->FailAllLoads(kBroken);
  t.Manage(kA, probe);
  EXPECT_EQ(t.Load(kA).status(), kBroken);
  EXPECT_EQ(probe->loads(), 2);
}

TEST(BasicManagerSlotsTest, EveryKindOfLoaderGoesThroughAWholeLife) {
  for (Kind kind : kAllKinds) {
    for (bool hold : {false, true}) {
      if (hold && kind == Kind::kOtherThread) continue;
      TestManager t({.load_threads = 1, .unload_threads = 1});
      auto probe = t.NewProbe(kind);
      probe->HoldLoads(hold);
      probe->HoldUnloads(hold);
      t.Manage(kA, probe);
      const Completion load = t.Load(kA);
      if (hold) probe->FinishLoad();
      EXPECT_TRUE(load.status().ok());
      EXPECT_TRUE(t.readers->IsOpen(kA));
      const Completion unload = t.Unload(kA);
      if (hold) probe->FinishUnload();
      EXPECT_TRUE(unload.status().ok());
      EXPECT_EQ(t.events->Trace(kA), "Start Loading Available Unloading End");
      EXPECT_TRUE(t.StopManaging(kA).ok());
      EXPECT_TRUE(probe->WaitForDestroyed());
    }
  }
}

TEST(BasicManagerSlotsTest, ManyInlineLoadersDoNotDeepenTheStack) {
  // Each load ends inside Load(), which admits the next.
  constexpr int kCount = 5'000;
  TestManager t({.load_threads = 1, .with_bus = false});
  std::atomic<int> ended = 0;
  Notification all;
  for (int v = 0; v < kCount; ++v) {
    t.Manage({"m", v}, t.NewProbe(Kind::kNonBlocking));
  }
  for (int v = 0; v < kCount; ++v) {
    t.manager->LoadServable({"m", v}, [&](Status s) {
      EXPECT_TRUE(s.ok());
      if (++ended == kCount) all.Notify();
    });
  }
  t.manager->Flush();
  EXPECT_TRUE(all.Wait());
}

TEST(BasicManagerSlotsTest, MoreLoadThreadsAtRunTimeAdmitWhatWaits) {
  TestManager t({.load_threads = 1});
  Barrier three(4);
  std::vector<Completion> ends;
  for (int v = 0; v < 3; ++v) {
    auto probe = t.NewProbe();
    probe->OnLoad([&] { EXPECT_TRUE(three.Wait()); });
    t.Manage({"m", v}, probe);
    ends.push_back(t.Load({"m", v}));
  }
  t.manager->SetNumLoadThreads(3);
  t.manager->Flush();
  EXPECT_TRUE(three.Wait());
  for (const auto& end : ends) EXPECT_TRUE(end.status().ok());
}

TEST(BasicManagerSlotsTest, ResizingUnderLoadLosesNothing) {
  TestManager t({.load_threads = 1, .unload_threads = 1});
  std::atomic<bool> stop = false;
  std::thread resizer([&] {
    for (int i = 0; !stop; i = (i + 1) % 4) {
      t.manager->SetNumLoadThreads(i);
      t.manager->SetNumUnloadThreads(3 - i);
      t.manager->Flush();
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 10; ++round) {
    std::vector<Completion> loads, unloads;
    for (int v = 0; v < 30; ++v) {
      t.Manage({"m", v}, t.NewProbe(kAllKinds[v % 3]));
      loads.push_back(t.Load({"m", v}));
    }
    for (const auto& end : loads) EXPECT_TRUE(end.status().ok());
    for (int v = 0; v < 30; ++v) unloads.push_back(t.Unload({"m", v}));
    for (const auto& end : unloads) EXPECT_TRUE(end.status().ok());
    for (int v = 0; v < 30; ++v) EXPECT_TRUE(t.StopManaging({"m", v}).ok());
  }
  stop = true;
  resizer.join();
}

// --------------------------------------------------------------- giving up

TEST(BasicManagerAbandonTest, EveryLiveVersionEndsOnceWithTheReason) {
  TestManager t({.load_threads = 1,
                 .max_num_load_retries = 5,
                 .retry_interval = milliseconds(60'000)});
  auto ready = t.Loaded({"m", 1});
  ready->AllowLeak();
  auto held = t.Loaded({"m", 2});
  held->AllowLeak();
  auto lease = t.readers->Acquire({"m", 2});
  const Completion unload = t.Unload({"m", 2});
  auto pausing = t.NewProbe();
  pausing->FailAllLoads(kBroken);
  t.Manage({"m", 3}, pausing);
  const Completion retrying = t.Load({"m", 3});
  while (!t.manager->NextDue()) std::this_thread::yield();
  auto loading = t.NewProbe();
  loading->HoldLoads();
  t.Manage({"m", 4}, loading);
  const Completion load = t.Load({"m", 4});
  ASSERT_TRUE(loading->WaitForLoads(1));
  t.Manage({"m", 5}, t.NewProbe());
  const Completion waiting = t.Load({"m", 5});
  t.Manage({"m", 6}, t.NewProbe());
  t.ManageWithError({"m", 7}, kBroken);

  const auto abandoned = t.manager->AbandonAll("at the deadline");
  t.manager->Flush();
  EXPECT_EQ(abandoned.size(), 6u);
  for (const Completion& end : {unload, retrying, load, waiting}) {
    EXPECT_EQ(end.status().code(), ErrorCode::kAbandoned);
    EXPECT_EQ(end.times(), 1);
  }
  for (int v = 1; v <= 6; ++v) {
    EXPECT_EQ(t.State({"m", v}), kError);
    EXPECT_EQ(t.events->Last({"m", v})->health.code(), ErrorCode::kAbandoned);
    EXPECT_FALSE(t.manager->GetSnapshot({"m", v})->retry_due.has_value());
  }
  EXPECT_EQ(t.events->Last({"m", 7})->health, kBroken);
  EXPECT_EQ(t.manager->NextDue(), std::nullopt);
  loading->FinishLoad(kBroken);
  lease.Release();
}

TEST(BasicManagerAbandonTest, ALoadThatComesLateIsUnloadedWithoutAnEvent) {
  for (Kind kind : {Kind::kBlocking, Kind::kNonBlocking}) {
    TestManager t({.load_threads = 1});
    auto probe = t.NewProbe(kind);
    probe->HoldLoads();
    t.Manage(kA, probe);
    const Completion end = t.Load(kA);
    ASSERT_TRUE(probe->WaitForLoads(1));
    EXPECT_EQ(t.manager->AbandonAll("now").size(), 1u);
    t.manager->Flush();
    EXPECT_EQ(end.status().code(), ErrorCode::kAbandoned);
    const std::string trace = t.events->Trace(kA);
    probe->FinishLoad();
    EXPECT_TRUE(probe->WaitForUnloads(1));
    EXPECT_EQ(t.readers->opens(kA), 0);
    EXPECT_EQ(t.events->Trace(kA), trace);
    EXPECT_EQ(end.times(), 1);
  }
}

TEST(BasicManagerAbandonTest, AnUnloadOfALateLoadHoldsUpNobodysEffects) {
  TestManager t({.load_threads = 2});
  auto probe = t.NewProbe();
  probe->HoldLoads();
  probe->HoldUnloads();
  t.Manage(kA, probe);
  (void)t.Load(kA);
  ASSERT_TRUE(probe->WaitForLoads(1));
  t.manager->AbandonAll("now");
  t.manager->Flush();
  probe->FinishLoad();
  ASSERT_TRUE(probe->WaitForUnloads(1));  // and hangs
  t.Loaded(kB);  // its events are delivered all the same
  EXPECT_TRUE(t.events->EverAvailable(kB));
  probe->FinishUnload();
}

TEST(BasicManagerAbandonTest, WhatWaitsForAThreadIsNotLoadedAnyMore) {
  TestManager t({.load_threads = 0, .pump_thread = false});
  auto probe = t.NewProbe();
  t.Manage(kA, probe);
  const Completion end = t.Load(kA);
  t.manager->AbandonAll("now");
  t.manager->Pump();
  EXPECT_EQ(end.status().code(), ErrorCode::kAbandoned);
  EXPECT_EQ(probe->loads(), 0);
}

TEST(BasicManagerAbandonTest, ALoadKeepsTheManagerAliveUntilItIsDone) {
  auto clock = std::make_shared<test::FakeClock>();
  BasicManager::Options options;
  options.clock = clock;
  options.num_load_threads = 1;
  auto manager = BasicManager::Create(std::move(options));
  auto probe = LoaderProbe::Create();
  probe->HoldLoads();
  std::unique_ptr<Loader> loader = probe->MakeLoader();
  ASSERT_TRUE(manager->ManageServable(kA, loader).ok());
  manager->LoadServable(kA, nullptr);
  manager->Flush();
  ASSERT_TRUE(probe->WaitForLoads(1));
  manager->AbandonAll("the owner goes");
  manager->Flush();
  EXPECT_EQ(manager->Shutdown(milliseconds(1)), 1) << "its thread hangs";
  std::weak_ptr<BasicManager> weak = manager;
  manager.reset();
  EXPECT_FALSE(weak.expired());
  probe->FinishLoad();
  EXPECT_TRUE(probe->WaitForDestroyed());
  EXPECT_EQ(probe->unloads(), 1);
}

TEST(BasicManagerAbandonTest, TheLastOwnerMayBeALoadThreadOfItsOwn) {
  auto clock = std::make_shared<test::FakeClock>();
  BasicManager::Options options;
  options.clock = clock;
  options.num_load_threads = 2;
  auto manager = BasicManager::Create(std::move(options));
  auto probe = LoaderProbe::Create();
  probe->HoldLoads();
  probe->AllowLeak();
  std::unique_ptr<Loader> loader = probe->MakeLoader();
  ASSERT_TRUE(manager->ManageServable(kA, loader).ok());
  manager->LoadServable(kA, nullptr);
  manager->Flush();
  ASSERT_TRUE(probe->WaitForLoads(1));
  manager.reset();  // without Shutdown(): the load thread destroys it
  probe->FinishLoad();
  EXPECT_TRUE(probe->WaitForDestroyed());
}

TEST(BasicManagerAbandonTest, NothingBeginsAfterShutdown) {
  TestManager t({.load_threads = 1});
  auto probe = t.NewProbe();
  t.Manage(kA, probe);
  t.manager->Shutdown(std::nullopt);
  const Completion end = t.Load(kA);
  t.manager->Pump();
  EXPECT_EQ(t.State(kA), kLoadRequested);
  t.manager->AbandonAll("shut down");
  t.manager->Flush();
  EXPECT_EQ(end.status().code(), ErrorCode::kAbandoned);
  EXPECT_EQ(probe->loads(), 0);
}

}  // namespace
}  // namespace aspired
