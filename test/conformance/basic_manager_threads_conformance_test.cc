// Cases BM-31 to BM-46: events, threads at run time, concurrent callers,
// retries and their cancellation.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "native/test_util/manager_fixture.h"

namespace aspired {
namespace {

using test::Barrier;
using test::Completion;
using test::kThreadShapes;
using test::NameOfShape;
using test::Notification;
using test::ProbePtr;
using test::ShapedManagerTest;
using test::TestManager;
using enum HarnessState;

const Status kBroken(ErrorCode::kLoadFailed, "loader broken");

class BasicManagerThreadsConformance : public ShapedManagerTest {};

INSTANTIATE_TEST_SUITE_P(Shapes, BasicManagerThreadsConformance, kThreadShapes,
                         NameOfShape);

TEST_P(BasicManagerThreadsConformance, BM_31_AFailingLoadStartsThenEnds) {
  const ServableId id{"A", 3};
  auto probe = t_.NewProbe();
  probe->FailAllLoads(kBroken);
  t_.Manage(id, probe);
  EXPECT_EQ(t_.events->Trace(id), "Start");
  EXPECT_EQ(t_.Load(id).status(), kBroken);
  EXPECT_EQ(t_.events->Last(id)->manager_state, ManagerState::kEnd);
  EXPECT_EQ(t_.events->Last(id)->health, kBroken);
}

TEST_P(BasicManagerThreadsConformance, BM_32_TheEventsOfAWholeLife) {
  const ServableId id{"C", 7};
  auto probe = t_.NewProbe();
  probe->HoldLoads();
  probe->HoldUnloads();
  t_.Manage(id, probe);
  EXPECT_EQ(t_.events->Trace(id), "Start");
  const Completion load = t_.Load(id);
  ASSERT_TRUE(probe->WaitForLoads(1));
  EXPECT_EQ(t_.events->Trace(id), "Start Loading");
  probe->FinishLoad();
  EXPECT_TRUE(load.status().ok());
  EXPECT_EQ(t_.events->Trace(id), "Start Loading Available");
  const Completion unload = t_.Unload(id);
  ASSERT_TRUE(probe->WaitForUnloads(1));
  EXPECT_EQ(t_.events->Trace(id), "Start Loading Available Unloading");
  probe->FinishUnload();
  EXPECT_TRUE(unload.status().ok());
  EXPECT_EQ(t_.events->Trace(id), "Start Loading Available Unloading End");
  EXPECT_TRUE(t_.events->Last(id)->health.ok());
}

TEST_P(BasicManagerThreadsConformance, BM_33_WorksWithoutABus) {
  TestManager t({.load_threads = GetParam().load_threads,
                 .unload_threads = GetParam().unload_threads,
                 .with_bus = false});
  t.Loaded({"A", 1});
  EXPECT_TRUE(t.Unload({"A", 1}).status().ok());
}

TEST_P(BasicManagerThreadsConformance, BM_35_ManyLivesFromTenThreads) {
  std::atomic<int> next = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&] {
      for (int task = next++; task < 20; task = next++) {
        const ServableId id{"C", task};
        t_.Loaded(id);
        EXPECT_TRUE(t_.Unload(id).status().ok());
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST_P(BasicManagerThreadsConformance, BM_40_OneOfManyLoadsOfAnIdSucceeds) {
  const ServableId id{"C", 0};
  std::vector<Completion> ends(4);
  Barrier go(4);
  std::vector<std::thread> threads;
  for (auto& end : ends) {
    threads.emplace_back([&] {
      (void)t_.TryManage(id, t_.NewProbe());
      go.Wait();
      end = t_.Load(id);
    });
  }
  for (auto& thread : threads) thread.join();
  int succeeded = 0;
  for (const auto& end : ends) {
    const Status s = end.status();
    if (s.ok()) {
      ++succeeded;
    } else {
      EXPECT_EQ(s.code(), ErrorCode::kDuplicateLoadRequest);
    }
  }
  EXPECT_EQ(succeeded, 1);
}

TEST_P(BasicManagerThreadsConformance, BM_41_OneOfManyUnloadsOfAnIdSucceeds) {
  const ServableId id{"A", 1};
  std::vector<Completion> ends(4);
  Barrier go(4);
  std::vector<std::thread> threads;
  for (auto& end : ends) {
    threads.emplace_back([&] {
      go.Wait();
      end = t_.Unload(id);
      if (!end.status().ok()) return;
      EXPECT_TRUE(t_.StopManaging(id).ok());
    });
  }
  for (auto& thread : threads) thread.join();
  int succeeded = 0;
  for (const auto& end : ends) {
    const Status s = end.status();
    if (s.ok()) {
      ++succeeded;
    } else {
      EXPECT_TRUE(s.code() == ErrorCode::kServableNotManaged ||
                  s.code() == ErrorCode::kDuplicateUnloadRequest)
          << s.ToString();
    }
  }
  EXPECT_EQ(succeeded, 1);
}

TEST_P(BasicManagerThreadsConformance, BM_42_ARetryThatSucceedsIsASuccess) {
  const ServableId id{"C", 1};
  auto probe = t_.NewProbe();
  probe->ScriptLoad(kBroken);
  t_.Manage(id, probe);
  EXPECT_TRUE(t_.Load(id).status().ok());
  EXPECT_EQ(probe->loads(), 2);
}

TEST_P(BasicManagerThreadsConformance, BM_43_RetriesThatFailEndWithTheError) {
  const ServableId id{"C", 1};
  auto probe = t_.NewProbe();
  probe->FailAllLoads(kBroken);
  t_.Manage(id, probe);
  EXPECT_EQ(t_.Load(id).status(), kBroken);
  EXPECT_EQ(probe->loads(), 11);
}

TEST_P(BasicManagerThreadsConformance, BM_44_ACancelEndsTheRetries) {
  const ServableId id{"C", 1};
  auto probe = t_.NewProbe();
  probe->HoldLoads();
  t_.Manage(id, probe);
  const Completion end = t_.Load(id);
  ASSERT_TRUE(probe->WaitForLoads(1));
  EXPECT_TRUE(t_.Cancel(id).ok());
  probe->FinishLoad(kBroken);
  probe->HoldLoads(false);  // a second attempt would succeed
  EXPECT_EQ(end.status(), kBroken);
  EXPECT_EQ(probe->loads(), 1);
  EXPECT_EQ(t_.events->Last(id)->manager_state, ManagerState::kEnd);
}

TEST_P(BasicManagerThreadsConformance, BM_46_ThereIsNoHookBeforeALoad) {
  // preLoadHook belongs to the manager in TypeScript, which calls it within the
  // slot of the load; here: exactly one Load() after Loading was published.
  const ServableId id{"C", 1};
  auto probe = t_.NewProbe();
  std::string trace;
  probe->OnLoad([&] { trace = t_.events->Trace(id); });
  t_.Manage(id, probe);
  EXPECT_TRUE(t_.Load(id).status().ok());
  EXPECT_EQ(trace, "Start Loading");
  EXPECT_EQ(probe->loads(), 1);
}

// -------------------------------------------- the number of load threads

TEST(SetNumLoadThreadsConformance, BM_36_TwoThenZeroThreads) {
  TestManager t({.load_threads = 0, .max_num_load_retries = 10});
  t.manager->SetNumLoadThreads(2);
  EXPECT_EQ(t.manager->load_threads()->num_threads(), 2);
  auto on_pool = t.Loaded({"C", 0});
  t.manager->SetNumLoadThreads(0);
  EXPECT_EQ(t.manager->load_threads()->num_threads(), 0);
  auto inlined = t.Loaded({"C", 1});
  EXPECT_NE(on_pool->load_thread(), inlined->load_thread());
}

TEST(SetNumLoadThreadsConformance, BM_37_LoadsOnOneThreadNeverOverlap) {
  TestManager t({.load_threads = 1, .max_num_load_retries = 10});
  std::set<int64_t> unguarded;  // a data race if two loads overlapped
  Notification first_runs, first_may_end;
  const auto loader = [&](int64_t version, bool first) {
    auto probe = t.NewProbe();
    probe->OnLoad([&, version, first] {
      unguarded.insert(version);
      if (!first) return;
      first_runs.Notify();
      EXPECT_TRUE(first_may_end.Wait());
    });
    t.Manage({"C", version}, probe);
  };
  loader(0, true);
  loader(1, false);
  const Completion first = t.Load({"C", 0});
  ASSERT_TRUE(first_runs.Wait());
  std::thread resizer([&] {
    t.manager->SetNumLoadThreads(1);  // returns though a load runs
    first_may_end.Notify();
  });
  Completion second;
  std::thread requester([&] { second = t.Load({"C", 1}); });
  resizer.join();
  requester.join();
  EXPECT_TRUE(first.status().ok());
  EXPECT_TRUE(second.status().ok());
  EXPECT_EQ(unguarded.size(), 2u);
}

TEST(SetNumLoadThreadsConformance, BM_38_ManyThreadsAndBack) {
  // Going back does not wait for the queued loads: they keep their threads.
  TestManager t({.load_threads = 0, .max_num_load_retries = 10});
  t.manager->SetNumLoadThreads(32);
  std::mutex mu;
  std::vector<Completion> loads;
  std::atomic<int> next = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&] {
      for (int v = next++; v < 20; v = next++) {
        t.Manage({"C", v}, t.NewProbe());
        Completion end = t.Load({"C", v});
        std::lock_guard<std::mutex> lock(mu);
        loads.push_back(end);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  t.manager->SetNumLoadThreads(0);
  for (const auto& end : loads) EXPECT_TRUE(end.status().ok());
  for (int v = 0; v < 20; ++v) {
    EXPECT_TRUE(t.Unload({"C", v}).status().ok());
  }
}

}  // namespace
}  // namespace aspired
