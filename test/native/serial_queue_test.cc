#include "concurrency/serial_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "native/test_util/deadline.h"

namespace aspired {
namespace {

using test::Notification;

TEST(SerialQueueTest, RunsEffectsInTheOrderTheyWerePushed) {
  SerialQueue queue;
  std::vector<int> ran;
  for (int i = 0; i < 5; ++i) queue.Push([&ran, i] { ran.push_back(i); });
  EXPECT_TRUE(ran.empty());
  queue.Drain();
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(SerialQueueTest, WhatAnEffectPushesRunsAfterIt) {
  SerialQueue queue;
  std::vector<int> ran;
  queue.Push([&] {
    queue.Push([&] { ran.push_back(3); });
    queue.Drain();
    ran.push_back(1);
  });
  queue.Push([&] { ran.push_back(2); });
  queue.Drain();
  EXPECT_EQ(ran, (std::vector<int>{1, 2, 3}));
}

TEST(SerialQueueTest, AnEffectMayTakeTheLockUnderWhichItWasPushed) {
  std::mutex mu;
  SerialQueue queue;
  bool ran = false;
  {
    std::lock_guard<std::mutex> lock(mu);
    queue.Push([&] {
      std::lock_guard<std::mutex> inner(mu);
      ran = true;
    });
  }
  queue.Drain();
  EXPECT_TRUE(ran);
}

TEST(SerialQueueTest, AThreadThatFindsAnotherOneDrainingReturnsAtOnce) {
  SerialQueue queue;
  Notification entered, may_leave;
  queue.Push([&] {
    entered.Notify();
    EXPECT_TRUE(may_leave.Wait());
  });
  std::thread drainer([&] { queue.Drain(); });
  ASSERT_TRUE(entered.Wait());
  std::thread::id ran_on;
  queue.Push([&] { ran_on = std::this_thread::get_id(); });
  queue.Drain();  // would never return if it waited for the first effect
  const auto drainer_id = drainer.get_id();
  may_leave.Notify();
  drainer.join();
  EXPECT_EQ(ran_on, drainer_id);
}

TEST(SerialQueueTest, WhatAnEffectCapturedDiesBeforeTheNextRunsAndUnlocked) {
  SerialQueue queue;
  auto token = std::make_shared<int>(0);
  std::weak_ptr<int> weak = token;
  // Pushes from a destructor: deadlocks if it ran under the queue's lock.
  struct Pusher {
    explicit Pusher(SerialQueue* q) : queue(q) {}
    ~Pusher() {
      queue->Push([] {});
    }
    SerialQueue* queue;
  };
  queue.Push(
      [token = std::move(token), pusher = std::make_shared<Pusher>(&queue)] {});
  bool gone = false;
  queue.Push([&] { gone = weak.expired(); });
  queue.Drain();
  EXPECT_TRUE(gone);
}

TEST(SerialQueueTest, DestructionDropsWhatHasNotRun) {
  auto token = std::make_shared<int>(0);
  bool ran = false;
  {
    SerialQueue queue;
    queue.Push([&ran, token] { ran = true; });
  }
  EXPECT_FALSE(ran);
  EXPECT_EQ(token.use_count(), 1);
}

TEST(SerialQueueTest, OrderAcrossThreadsIsThatOfTheLockAndNothingIsLost) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 5000;
  SerialQueue queue;
  std::mutex mu;
  int state = 0;             // guarded by mu
  std::vector<int> effects;  // by one effect at a time
  std::atomic<int> inside = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        {
          std::lock_guard<std::mutex> lock(mu);
          queue.Push([&, now = ++state] {
            EXPECT_EQ(++inside, 1);
            effects.push_back(now);
            --inside;
          });
        }
        queue.Drain();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  queue.Drain();
  ASSERT_EQ(effects.size(), size_t{kThreads * kRounds});
  for (size_t i = 0; i < effects.size(); ++i) {
    ASSERT_EQ(effects[i], static_cast<int>(i) + 1);
  }
}

}  // namespace
}  // namespace aspired
