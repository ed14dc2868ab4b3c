#include "concurrency/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "native/test_util/deadline.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::Barrier;
using test::Notification;

TEST(ThreadPoolTest, OneThreadRunsTasksInTheOrderTheyCame) {
  ThreadPool pool("order", 1, ThreadPriority::kNormal);
  std::vector<int> ran;
  Notification done;
  for (int i = 0; i < 100; ++i) pool.Schedule([&ran, i] { ran.push_back(i); });
  pool.Schedule([&] { done.Notify(); });
  ASSERT_TRUE(done.Wait());
  ASSERT_EQ(ran.size(), 100u);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

TEST(ThreadPoolTest, APoolThatIsNeverUsedStartsNoThread) {
  ThreadPool pool("idle", 8, ThreadPriority::kNormal);
  EXPECT_EQ(pool.Shutdown(std::nullopt), 0);
  EXPECT_EQ(pool.stats().completed, 0u);
}

TEST(ThreadPoolTest, AsManyTasksRunAtOnceAsThereAreThreads) {
  ThreadPool pool("wide", 4, ThreadPriority::kNormal);
  Barrier all_run(4);
  std::atomic<int> passed = 0;
  for (int i = 0; i < 4; ++i) {
    pool.Schedule([&] { passed += all_run.Wait() ? 1 : 0; });
  }
  Notification fifth;
  pool.Schedule([&] { fifth.Notify(); });
  ASSERT_TRUE(fifth.Wait());
  pool.Shutdown(std::nullopt);
  EXPECT_EQ(passed, 4);
}

TEST(ThreadPoolTest, NeverMoreTasksRunAtOnceThanThereAreThreads) {
  std::atomic<int> running = 0, most = 0;
  Barrier all_done(201);
  ThreadPool pool("bound", 2, ThreadPriority::kNormal);
  std::vector<std::thread> producers;
  for (int t = 0; t < 2; ++t) {
    producers.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        pool.Schedule([&] {
          const int now = ++running;
          int seen = most;
          while (now > seen && !most.compare_exchange_weak(seen, now)) {
          }
          std::this_thread::yield();
          --running;
        });
      }
    });
  }
  for (auto& p : producers) p.join();
  Notification last;
  pool.Schedule([&] { last.Notify(); });
  ASSERT_TRUE(last.Wait());
  EXPECT_LE(most, 2);
}

TEST(ThreadPoolTest, MoreThreadsTakeWaitingTasksAtOnce) {
  ThreadPool pool("grow", 1, ThreadPriority::kNormal);
  Barrier three(3);
  Notification done;
  std::atomic<int> passed = 0;
  for (int i = 0; i < 3; ++i) {
    pool.Schedule([&] {
      if (three.Wait() && ++passed == 3) done.Notify();
    });
  }
  EXPECT_LE(pool.stats().running, 1u);
  pool.SetNumThreads(3);  // without it the barrier never opens
  EXPECT_TRUE(done.Wait());
  EXPECT_EQ(pool.stats().num_threads, 3);
}

TEST(ThreadPoolTest, SurplusThreadsEndAfterTheirTaskAndLoseNone) {
  ThreadPool pool("shrink", 3, ThreadPriority::kNormal);
  Barrier three(4);
  Notification may_leave;
  for (int i = 0; i < 3; ++i) {
    pool.Schedule([&] {
      three.Wait();
      EXPECT_TRUE(may_leave.Wait());
    });
  }
  ASSERT_TRUE(three.Wait());
  pool.SetNumThreads(1);  // returns though three tasks run
  std::atomic<int> running = 0;
  std::vector<int> ran;
  Notification done;
  for (int i = 0; i < 20; ++i) {
    pool.Schedule([&, i] {
      EXPECT_EQ(++running, 1);
      ran.push_back(i);
      --running;
      if (i == 19) done.Notify();
    });
  }
  may_leave.Notify();
  ASSERT_TRUE(done.Wait());
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
  EXPECT_EQ(ran.size(), 20u);
}

TEST(ThreadPoolTest, ResizingUnderLoadLosesAndDoublesNothing) {
  constexpr int kTasks = 4000;
  std::vector<std::atomic<int>> ran(kTasks);
  std::atomic<int> left = kTasks;
  Notification done;
  ThreadPool pool("resize", 1, ThreadPriority::kNormal);
  std::atomic<bool> stop = false;
  std::thread resizer([&] {
    for (int i = 0; !stop; i = (i + 1) % 5) {
      pool.SetNumThreads(i + 1);
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < kTasks; ++i) {
    pool.Schedule([&, i] {
      ++ran[static_cast<size_t>(i)];
      if (--left == 0) done.Notify();
    });
  }
  EXPECT_TRUE(done.Wait());
  stop = true;
  resizer.join();
  for (auto& r : ran) ASSERT_EQ(r, 1);
}

TEST(ThreadPoolTest, StatsCountWaitingRunningAndCompleted) {
  ThreadPool pool("stats", 1, ThreadPriority::kNormal);
  Notification entered, may_leave, last;
  pool.Schedule([&] {
    entered.Notify();
    EXPECT_TRUE(may_leave.Wait());
  });
  ASSERT_TRUE(entered.Wait());
  pool.Schedule([&] { last.Notify(); });
  ThreadPoolStats stats = pool.stats();
  EXPECT_EQ(stats.running, 1u);
  EXPECT_EQ(stats.queued, 1u);
  EXPECT_EQ(stats.completed, 0u);
  may_leave.Notify();
  ASSERT_TRUE(last.Wait());
  EXPECT_EQ(pool.Shutdown(std::nullopt), 0);
  stats = pool.stats();
  EXPECT_EQ(stats.completed, 2u);
  EXPECT_EQ(stats.queued + stats.running, 0u);
}

TEST(ThreadPoolTest, ShutdownDropsWhatHasNotBegunAndFreesIt) {
  ThreadPool pool("drop", 1, ThreadPriority::kNormal);
  Notification entered, queued;
  std::atomic<bool> finished = false;
  pool.Schedule([&] {
    entered.Notify();
    EXPECT_TRUE(queued.Wait());
    // Only the shutdown can empty the queue: this is the only thread.
    while (pool.stats().queued > 0) std::this_thread::yield();
    finished = true;
  });
  ASSERT_TRUE(entered.Wait());
  auto token = std::make_shared<int>(0);
  bool ran = false;
  pool.Schedule([&ran, token] { ran = true; });
  queued.Notify();
  EXPECT_EQ(pool.Shutdown(std::nullopt), 0);
  EXPECT_TRUE(finished);
  EXPECT_FALSE(ran);
  EXPECT_EQ(token.use_count(), 1);
  pool.Schedule([&ran, token] { ran = true; });
  EXPECT_EQ(token.use_count(), 1) << "a task after shutdown is dropped";
  EXPECT_FALSE(ran);
}

TEST(ThreadPoolTest, ShutdownWithADeadlineDetachesAHungTask) {
  Notification entered, may_leave, left;
  {
    ThreadPool pool("hung", 2, ThreadPriority::kNormal);
    pool.Schedule([&] {
      entered.Notify();
      EXPECT_TRUE(may_leave.Wait());
      left.Notify();
    });
    ASSERT_TRUE(entered.Wait());
    EXPECT_EQ(pool.Shutdown(milliseconds(1)), 1);
    EXPECT_EQ(pool.Shutdown(std::nullopt), 0) << "it is not waited for again";
    // The destructor does not wait for what was detached either.
  }
  EXPECT_FALSE(left.HasBeenNotified());
  may_leave.Notify();
  EXPECT_TRUE(left.Wait());
}

TEST(ThreadPoolTest, ADetachedThreadThatComesBackTouchesOnlyItsOwnState) {
  Notification entered, may_leave;
  auto token = std::make_shared<int>(0);
  std::weak_ptr<int> weak = token;
  auto pool = std::make_unique<ThreadPool>("late", 1, ThreadPriority::kNormal);
  Notification freed;
  struct Freed {
    Notification* freed;
    ~Freed() { freed->Notify(); }
  };
  pool->Schedule([&, guard = std::make_shared<Freed>(&freed)] {
    entered.Notify();
    EXPECT_TRUE(may_leave.Wait());
  });
  ASSERT_TRUE(entered.Wait());
  EXPECT_EQ(pool->Shutdown(milliseconds(0)), 1);
  pool.reset();
  may_leave.Notify();
  EXPECT_TRUE(freed.Wait()) << "what the task captured is freed at its end";
}

TEST(ThreadPoolTest, APoolMayBeDestroyedFromItsOwnThread) {
  Notification gone;
  auto pool = std::make_shared<ThreadPool>("own", 2, ThreadPriority::kNormal);
  Notification others_went;
  pool->Schedule([&others_went] { others_went.Notify(); });
  ASSERT_TRUE(others_went.Wait());
  Notification released;
  pool->Schedule([&, owner = pool]() mutable {
    EXPECT_TRUE(released.Wait());
    owner.reset();  // the last one: the pool dies here
    gone.Notify();
  });
  pool.reset();
  released.Notify();
  EXPECT_TRUE(gone.Wait());
}

TEST(ThreadPoolTest, AThreadOfThePoolMayShutItDownAndItMayThenBeDestroyed) {
  Notification done;
  {
    ThreadPool pool("self", 2, ThreadPriority::kNormal);
    pool.Schedule([&] {
      EXPECT_EQ(pool.Shutdown(std::nullopt), 1);
      done.Notify();
    });
    ASSERT_TRUE(done.Wait());
  }
}

TEST(ThreadPoolTest, ATaskMaySchedule) {
  ThreadPool pool("chain", 1, ThreadPriority::kNormal);
  Notification done;
  pool.Schedule([&] { pool.Schedule([&] { done.Notify(); }); });
  EXPECT_TRUE(done.Wait());
}

#if defined(__linux__)

std::string NameOfThisThread() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof(name));
  return name;
}

int NiceOfThisThread() {
  return getpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)));
}

TEST(ThreadPoolTest, ThreadsAreNamedAndNumbered) {
  ThreadPool pool("named", 2, ThreadPriority::kNormal);
  std::mutex mu;
  std::set<std::string> names;
  Barrier both(3);
  for (int i = 0; i < 2; ++i) {
    pool.Schedule([&] {
      {
        std::lock_guard<std::mutex> lock(mu);
        names.insert(NameOfThisThread());
      }
      both.Wait();
    });
  }
  ASSERT_TRUE(both.Wait());
  EXPECT_EQ(names, (std::set<std::string>{"named-0", "named-1"}));
}

TEST(ThreadPoolTest, LongNamesAreCut) {
  ThreadPool pool("a-name-of-21-letters.", 1, ThreadPriority::kNormal);
  std::string name;
  pool.Schedule([&] { name = NameOfThisThread(); });
  Notification done;
  pool.Schedule([&] { done.Notify(); });
  ASSERT_TRUE(done.Wait());
  EXPECT_EQ(name, "a-name-of-21-le");
}

TEST(ThreadPoolTest, BackgroundThreadsRunAtALowerPriorityThanTheOthers) {
  const int here = NiceOfThisThread();
  int background = -100, normal = -100;
  Notification done;
  {
    ThreadPool pool("nice", 1, ThreadPriority::kBackground);
    Notification ran;
    pool.Schedule([&] {
      background = NiceOfThisThread();
      ran.Notify();
    });
    ASSERT_TRUE(ran.Wait());
  }
  {
    ThreadPool pool("usual", 1, ThreadPriority::kNormal);
    pool.Schedule([&] {
      normal = NiceOfThisThread();
      done.Notify();
    });
    ASSERT_TRUE(done.Wait());
  }
  EXPECT_EQ(NiceOfThisThread(), here);
  EXPECT_EQ(normal, here);
  EXPECT_GE(background, 10);
}

#endif

#if defined(__linux__)
// Without it a run that wakes up waits for the end of a background load's
// slice.
TEST(ThreadPoolTest,
     ResponsiveThreadsHaveAShortSliceAndThePriorityOfTheProcess) {
  struct Attr {
    uint32_t size = sizeof(Attr);
    uint32_t policy = 0;
    uint64_t flags = 0;
    int32_t nice = 0;
    uint32_t priority = 0;
    uint64_t runtime = 0, deadline = 0, period = 0;
  };
  // Older kernels take the call and know no slice of a thread's own.
  Attr before;
  if (syscall(SYS_sched_getattr, 0, &before, sizeof(before), 0) != 0 ||
      before.runtime == 0) {
    GTEST_SKIP() << "this kernel (before 6.12) has no slice per thread";
  }
  Attr inside;
  {
    ThreadPool pool("responsive", 1, ThreadPriority::kResponsive);
    std::promise<void> ran;
    pool.Schedule([&] {
      syscall(SYS_sched_getattr, 0, &inside, sizeof(inside), 0);
      ran.set_value();
    });
    ASSERT_EQ(ran.get_future().wait_for(std::chrono::seconds(10)),
              std::future_status::ready);
  }
  EXPECT_LT(inside.runtime, before.runtime);
  EXPECT_EQ(inside.nice, before.nice);
}
#endif

}  // namespace
}  // namespace aspired
