#include "core/event_bus.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "native/test_util/deadline.h"

namespace aspired {
namespace {

using Bus = EventBus<int>;
using Subscription = std::unique_ptr<Bus::Subscription>;
using test::Barrier;
using test::Notification;

TEST(EventBusTest, SubscribersAreCalledInTheOrderTheySubscribed) {
  Bus bus;
  std::string calls;
  const auto a =
      bus.Subscribe([&](int e) { calls += "a" + std::to_string(e); });
  const auto b =
      bus.Subscribe([&](int e) { calls += "b" + std::to_string(e); });
  bus.Publish(1);
  bus.Publish(2);
  EXPECT_EQ(calls, "a1b1a2b2");
}

TEST(EventBusTest, LateSubscribersDoNotHearWhatWas) {
  Bus bus;
  bus.Publish(1);
  std::vector<int> heard;
  const auto s = bus.Subscribe([&](int e) { heard.push_back(e); });
  bus.Publish(2);
  EXPECT_EQ(heard, std::vector<int>{2});
}

TEST(EventBusTest, NothingIsHeardAfterUnsubscribing) {
  Bus bus;
  int heard = 0;
  auto s = bus.Subscribe([&](int) { ++heard; });
  s.reset();
  bus.Publish(1);
  EXPECT_EQ(heard, 0);
}

TEST(EventBusTest, BusAndSubscriptionMayDieInEitherOrder) {
  auto bus = std::make_unique<Bus>();
  int heard = 0;
  auto first = bus->Subscribe([&](int) { ++heard; });
  auto second = bus->Subscribe([&](int) { ++heard; });
  first.reset();
  bus->Publish(1);
  bus.reset();
  second.reset();
  EXPECT_EQ(heard, 1);
}

TEST(EventBusTest, ASubscriberMayPublish) {
  Bus bus;
  std::vector<int> heard;
  const auto s = bus.Subscribe([&](int e) {
    heard.push_back(e);
    if (e < 3) bus.Publish(e + 1);
  });
  bus.Publish(1);
  EXPECT_EQ(heard, (std::vector<int>{1, 2, 3}));
}

TEST(EventBusTest, ASubscriberMaySubscribeAnotherOneForLaterEvents) {
  Bus bus;
  std::vector<int> late;
  Subscription inner;
  const auto outer = bus.Subscribe([&](int) {
    if (!inner) inner = bus.Subscribe([&](int e) { late.push_back(e); });
  });
  bus.Publish(1);
  bus.Publish(2);
  EXPECT_EQ(late, std::vector<int>{2});
}

TEST(EventBusTest, ASubscriberMayUnsubscribeItselfWithoutWaitingForItself) {
  Bus bus;
  int heard = 0;
  Subscription self;
  self = bus.Subscribe([&](int) {
    ++heard;
    self.reset();
  });
  bus.Publish(1);
  bus.Publish(2);
  EXPECT_EQ(heard, 1);
}

TEST(EventBusTest, WhatASubscriberUnsubscribedIsNotCalledForThatEventAnyMore) {
  Bus bus;
  int heard = 0;
  Subscription second;
  const auto first = bus.Subscribe([&](int) { second.reset(); });
  second = bus.Subscribe([&](int) { ++heard; });
  bus.Publish(1);
  EXPECT_EQ(heard, 0);
}

TEST(EventBusTest, ASubscriberMayUnsubscribeItselfWithinANestedCall) {
  Bus bus;
  int heard = 0;
  Subscription self;
  self = bus.Subscribe([&](int e) {
    ++heard;
    if (e == 1) {
      bus.Publish(2);
    } else {
      self.reset();
    }
  });
  bus.Publish(1);
  bus.Publish(3);
  EXPECT_EQ(heard, 2);
}

TEST(EventBusTest, UnsubscribingWaitsForACallThatRunsOnAnotherThread) {
  Bus bus;
  Notification entered, may_leave;
  std::atomic<bool> left = false;
  auto s = bus.Subscribe([&](int) {
    entered.Notify();
    EXPECT_TRUE(may_leave.Wait());
    left = true;
  });
  std::thread publisher([&] { bus.Publish(1); });
  ASSERT_TRUE(entered.Wait());
  Notification unsubscribing;
  std::thread helper([&] {
    EXPECT_TRUE(unsubscribing.Wait());
    may_leave.Notify();
  });
  unsubscribing.Notify();
  s.reset();
  EXPECT_TRUE(left);
  publisher.join();
  helper.join();
}

TEST(EventBusTest, ASlowSubscriberDoesNotHoldUpSubscribingAndUnsubscribing) {
  Bus bus;
  Notification entered, may_leave;
  const auto slow = bus.Subscribe([&](int) {
    entered.Notify();
    EXPECT_TRUE(may_leave.Wait());
  });
  std::thread publisher([&] { bus.Publish(1); });
  ASSERT_TRUE(entered.Wait());
  auto other = bus.Subscribe([](int) {});
  other.reset();
  may_leave.Notify();
  publisher.join();
}

TEST(EventBusTest, AfterUnsubscribingNoThreadEverCallsManyRounds) {
  Bus bus;
  std::atomic<bool> stop = false;
  std::vector<std::thread> publishers;
  Barrier begin(3);
  for (int t = 0; t < 2; ++t) {
    publishers.emplace_back([&] {
      begin.Wait();
      while (!stop) bus.Publish(1);
    });
  }
  begin.Wait();
  for (int round = 0; round < 2000; ++round) {
    // A call after the reset would touch freed memory: the sanitizers see it.
    auto counter = std::make_unique<std::atomic<int>>(0);
    auto s = bus.Subscribe([c = counter.get()](int) { ++*c; });
    s.reset();
    counter.reset();
  }
  stop = true;
  for (auto& thread : publishers) thread.join();
}

TEST(EventBusTest, TheClosureOfASubscriberIsFreedWhenItHasUnsubscribed) {
  Bus bus;
  auto token = std::make_shared<int>(1);
  auto s = bus.Subscribe([token](int) {});
  EXPECT_EQ(token.use_count(), 2);
  s.reset();
  EXPECT_EQ(token.use_count(), 1);
}

}  // namespace
}  // namespace aspired
