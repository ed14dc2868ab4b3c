#include "concurrency/work_threads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
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

TEST(WorkThreadsTest, WithZeroThreadsTasksWaitForTheOwnerAndRunOnItsThread) {
  int told = 0;
  WorkThreads threads("inline", 0, [&] { ++told; });
  std::vector<int> ran;
  std::thread::id on;
  for (int i = 0; i < 3; ++i) {
    threads.Schedule([&, i] {
      ran.push_back(i);
      on = std::this_thread::get_id();
    });
  }
  EXPECT_EQ(told, 3);
  EXPECT_TRUE(ran.empty());
  EXPECT_EQ(threads.stats().queued, 3u);
  EXPECT_TRUE(threads.RunInline());
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(on, std::this_thread::get_id());
  EXPECT_FALSE(threads.RunInline());
  EXPECT_EQ(threads.concurrency(), 1);
}

TEST(WorkThreadsTest, AnInlineTaskMayScheduleWithoutADeadlock) {
  WorkThreads threads("inline", 0, nullptr);
  std::vector<int> ran;
  threads.Schedule([&] {
    threads.Schedule([&] { ran.push_back(2); });
    ran.push_back(1);
  });
  EXPECT_TRUE(threads.RunInline());
  EXPECT_EQ(ran, (std::vector<int>{1, 2}));
}

TEST(WorkThreadsTest, WithThreadsNothingRunsInline) {
  WorkThreads threads("pool", 2, [] { FAIL() << "no inline task"; });
  Notification ran;
  std::thread::id on;
  threads.Schedule([&] {
    on = std::this_thread::get_id();
    ran.Notify();
  });
  ASSERT_TRUE(ran.Wait());
  EXPECT_NE(on, std::this_thread::get_id());
  EXPECT_FALSE(threads.RunInline());
  EXPECT_EQ(threads.concurrency(), 2);
}

TEST(WorkThreadsTest, ToZeroAndBackWhileATaskRunsKeepsEveryTask) {
  WorkThreads threads("resize", 1, nullptr);
  Notification entered, may_leave, pool_last, second;
  std::vector<std::string> ran;
  threads.Schedule([&] {
    entered.Notify();
    EXPECT_TRUE(may_leave.Wait());
    ran.push_back("running");
  });
  ASSERT_TRUE(entered.Wait());
  threads.Schedule([&] {
    ran.push_back("queued");
    pool_last.Notify();
  });
  threads.SetNumThreads(0);  // at once, though a task runs
  EXPECT_EQ(threads.num_threads(), 0);
  bool inline_ran = false;
  threads.Schedule([&] { inline_ran = true; });
  may_leave.Notify();
  ASSERT_TRUE(pool_last.Wait());
  EXPECT_EQ(ran, (std::vector<std::string>{"running", "queued"}));
  EXPECT_FALSE(inline_ran);
  threads.SetNumThreads(2);
  EXPECT_FALSE(inline_ran) << "it keeps its place in the inline queue";
  threads.Schedule([&] { second.Notify(); });
  ASSERT_TRUE(second.Wait());
  EXPECT_TRUE(threads.RunInline());
  EXPECT_TRUE(inline_ran);
}

TEST(WorkThreadsTest, GrowsAtRunTimeWhileTasksRun) {
  WorkThreads threads("grow", 1, nullptr);
  Barrier three(4);
  for (int i = 0; i < 3; ++i) threads.Schedule([&] { three.Wait(); });
  threads.SetNumThreads(3);
  EXPECT_TRUE(three.Wait());
}

TEST(WorkThreadsTest, ResizingFromAThreadOfItsOwnDoesNotDeadlock) {
  WorkThreads threads("own", 2, nullptr);
  Notification done;
  threads.Schedule([&] {
    threads.SetNumThreads(0);
    threads.SetNumThreads(4);
    done.Notify();
  });
  EXPECT_TRUE(done.Wait());
}

TEST(WorkThreadsTest, ShutdownDropsTheInlineQueueAndLaterTasks) {
  WorkThreads threads("inline", 0, nullptr);
  auto token = std::make_shared<int>(0);
  bool ran = false;
  threads.Schedule([&ran, token] { ran = true; });
  EXPECT_EQ(threads.Shutdown(std::nullopt), 0);
  EXPECT_EQ(token.use_count(), 1);
  threads.Schedule([&ran, token] { ran = true; });
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_FALSE(threads.RunInline());
  EXPECT_FALSE(ran);
}

TEST(WorkThreadsTest, ShutdownWithADeadlineReturnsThoughATaskHangs) {
  WorkThreads threads("hung", 2, nullptr);
  Notification entered, may_leave, left;
  threads.Schedule([&] {
    entered.Notify();
    EXPECT_TRUE(may_leave.Wait());
    left.Notify();
  });
  ASSERT_TRUE(entered.Wait());
  EXPECT_EQ(threads.Shutdown(milliseconds(1)), 1);
  EXPECT_FALSE(left.HasBeenNotified());
  EXPECT_EQ(threads.Shutdown(std::nullopt), 0);
  may_leave.Notify();
  EXPECT_TRUE(left.Wait());
}

TEST(WorkThreadsTest, MayBeShutDownFromAThreadOfItsOwn) {
  auto threads = std::make_shared<WorkThreads>("own", 2, nullptr);
  Notification done, released;
  threads->Schedule([&, owner = threads]() mutable {
    EXPECT_TRUE(released.Wait());
    owner->Shutdown(std::nullopt);
    owner.reset();
    done.Notify();
  });
  threads.reset();
  released.Notify();
  EXPECT_TRUE(done.Wait());
}

TEST(WorkThreadsTest, ResizingUnderLoadLosesAndDoublesNothing) {
  constexpr int kTasks = 2000;
  std::vector<std::atomic<int>> ran(kTasks);
  std::atomic<int> left = kTasks;
  WorkThreads threads("load", 1, nullptr);
  std::atomic<bool> stop = false;
  std::thread resizer([&] {
    for (int i = 0; !stop; i = (i + 1) % 4) threads.SetNumThreads(i);
  });
  for (int i = 0; i < kTasks; ++i) {
    threads.Schedule([&, i] {
      ++ran[static_cast<size_t>(i)];
      --left;
    });
  }
  stop = true;
  resizer.join();
  // What was scheduled at 0 is inline; the rest is on threads that run.
  threads.RunInline();
  threads.SetNumThreads(1);
  Notification drained;
  threads.Schedule([&] { drained.Notify(); });
  ASSERT_TRUE(drained.Wait());
  threads.Shutdown(std::nullopt);
  EXPECT_EQ(left, 0);
  for (auto& r : ran) ASSERT_EQ(r, 1);
}

#if defined(__linux__)
TEST(WorkThreadsTest, RunsAtBackgroundPriority) {
  int nice = -100;
  Notification done;
  WorkThreads threads("nice", 1, nullptr);
  threads.Schedule([&] {
    nice = getpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)));
    done.Notify();
  });
  ASSERT_TRUE(done.Wait());
  EXPECT_GE(nice, 10);
}
#endif

}  // namespace
}  // namespace aspired
