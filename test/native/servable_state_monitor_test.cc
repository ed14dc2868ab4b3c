// ServableStateMonitor: what it promises beyond the SSM cases.
#include "core/servable_state_monitor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "native/test_util/deadline.h"

namespace aspired {
namespace {

using Outcome = ServableStateMonitor::WaitOutcome;
using States = std::vector<ServableState>;
using std::chrono::milliseconds;
using test::kDeadline;
using test::Notification;
using test::Promised;
using enum ManagerState;

ServableState Event(int64_t version, ManagerState state,
                    uint64_t incarnation = 1) {
  return {{"s", version}, state, {}, incarnation, 0};
}

class ServableStateMonitorTest : public ::testing::Test {
 protected:
  void Wait(int64_t version, ManagerState goal, Promised<Outcome>* told) {
    id_ = monitor_.NotifyWhenServablesReachState(
        {{"s", version}}, goal,
        [told](Outcome o, const States&) { told->Set(o); });
  }

  ServableEventBus bus_;
  ServableStateMonitor monitor_{&bus_, {.max_log_events = 8, .max_ended = 2}};
  ServableStateMonitor::WaitId id_ = 0;
};

TEST_F(ServableStateMonitorTest, WithinAnIncarnationItNeverGoesBackwards) {
  for (auto state : {kStart, kLoading, kAvailable, kUnloading, kEnd}) {
    bus_.Publish(Event(1, state));
  }
  for (auto state : {kStart, kLoading, kAvailable, kUnloading}) {
    bus_.Publish(Event(1, state));
    EXPECT_EQ(monitor_.GetState({"s", 1})->manager_state, kEnd);
  }
  EXPECT_EQ(monitor_.GetBoundedLog().size(), 5u);
}

TEST_F(ServableStateMonitorTest, AnEventOfALifeThatIsOverIsIgnored) {
  bus_.Publish(Event(1, kEnd, 1));
  bus_.Publish(Event(1, kStart, 2));
  bus_.Publish(Event(1, kAvailable, 1));
  EXPECT_EQ(monitor_.GetState({"s", 1})->manager_state, kStart);
  EXPECT_EQ(monitor_.GetState({"s", 1})->incarnation, 2u);
}

TEST_F(ServableStateMonitorTest, EndedVersionsAreForgottenOldestFirst) {
  for (int64_t v : {1, 2, 3}) bus_.Publish(Event(v, kEnd));
  EXPECT_EQ(monitor_.GetState({"s", 1}), std::nullopt);
  EXPECT_TRUE(monitor_.GetState({"s", 2}).has_value());
  EXPECT_TRUE(monitor_.GetState({"s", 3}).has_value());
}

TEST_F(ServableStateMonitorTest, AVersionThatLivesAgainIsNotForgotten) {
  bus_.Publish(Event(1, kEnd, 1));
  bus_.Publish(Event(1, kAvailable, 2));
  for (int64_t v : {2, 3, 4}) bus_.Publish(Event(v, kEnd));
  EXPECT_EQ(monitor_.GetState({"s", 1})->manager_state, kAvailable);
}

TEST_F(ServableStateMonitorTest, AFlappingVersionDoesNotCrowdOutTheOthers) {
  bus_.Publish(Event(1, kEnd));
  for (uint64_t incarnation = 1; incarnation < 50; ++incarnation) {
    bus_.Publish(Event(2, kEnd, incarnation));
  }
  EXPECT_TRUE(monitor_.GetState({"s", 1}).has_value());
  EXPECT_TRUE(monitor_.GetState({"s", 2}).has_value());
}

TEST_F(ServableStateMonitorTest, AWaitForAnEarlyGoalIsReachedByALaterState) {
  bus_.Publish(Event(1, kAvailable));
  Promised<Outcome> loading;
  Wait(1, kLoading, &loading);
  EXPECT_EQ(loading.Peek(), Outcome::kReached);
  bus_.Publish(Event(1, kUnloading));
  Promised<Outcome> late;
  Wait(1, kLoading, &late);
  EXPECT_EQ(late.Peek(), std::nullopt) << "it is on its way out";
  bus_.Publish(Event(1, kEnd));
  EXPECT_EQ(late.Peek(), Outcome::kEnded);
}

TEST_F(ServableStateMonitorTest, AWaitForEndIsReachedByEnd) {
  Promised<Outcome> told;
  Wait(1, kEnd, &told);
  bus_.Publish(Event(1, kAvailable));
  EXPECT_EQ(told.Peek(), std::nullopt);
  bus_.Publish(Event(1, kEnd));
  EXPECT_EQ(told.Peek(), Outcome::kReached);
}

TEST_F(ServableStateMonitorTest, ARequestSettlesForGood) {
  Promised<Outcome> told;
  monitor_.NotifyWhenServablesReachState({{"s", 1}, {"s", 2}}, kAvailable,
                                         [&](Outcome o, const States& states) {
                                           EXPECT_EQ(states.size(), 2u);
                                           told.Set(o);
                                         });
  bus_.Publish(Event(1, kAvailable));
  bus_.Publish(Event(1, kUnloading));
  bus_.Publish(Event(1, kEnd));
  bus_.Publish(Event(2, kAvailable));
  EXPECT_EQ(told.Peek(), Outcome::kReached);
}

TEST_F(ServableStateMonitorTest, TheSameVersionMayBeAskedForTwice) {
  Promised<Outcome> told;
  monitor_.NotifyWhenServablesReachState(
      {{"s", 1}, {"s", 1}, {"s", std::nullopt}}, kAvailable,
      [&](Outcome o, const States& states) {
        EXPECT_EQ(states.size(), 3u);
        told.Set(o);
      });
  bus_.Publish(Event(1, kAvailable));
  EXPECT_EQ(told.Peek(), Outcome::kReached);
  EXPECT_EQ(told.times_set(), 1);
}

TEST_F(ServableStateMonitorTest, ACancelledWaitIsNeverToldAndIsFreed) {
  auto token = std::make_shared<int>(0);
  bool told = false;
  const auto id = monitor_.NotifyWhenServablesReachState(
      {{"s", 1}, {"other", 1}}, kAvailable,
      [&told, token](Outcome, const States&) { told = true; });
  monitor_.CancelWait(id);
  monitor_.CancelWait(id);
  EXPECT_EQ(token.use_count(), 1);
  bus_.Publish(Event(1, kAvailable));
  monitor_.Close();
  EXPECT_FALSE(told);
}

TEST_F(ServableStateMonitorTest, CloseEndsEveryWaitOnceAndLaterOnesAtOnce) {
  Promised<Outcome> first, second, late;
  Wait(1, kAvailable, &first);
  Wait(2, kAvailable, &second);
  monitor_.Close();
  EXPECT_EQ(first.Peek(), Outcome::kClosed);
  EXPECT_EQ(second.Peek(), Outcome::kClosed);
  Wait(3, kAvailable, &late);
  EXPECT_EQ(late.Peek(), Outcome::kClosed);
  monitor_.Close();
  bus_.Publish(Event(1, kAvailable));
  EXPECT_EQ(first.times_set(), 1);
}

TEST_F(ServableStateMonitorTest, DestructionEndsEveryWait) {
  Promised<Outcome> told;
  {
    ServableStateMonitor monitor(&bus_, {});
    monitor.NotifyWhenServablesReachState(
        {{"s", 1}}, kAvailable, [&](Outcome o, const States&) { told.Set(o); });
  }
  EXPECT_EQ(told.Peek(), Outcome::kClosed);
  bus_.Publish(Event(1, kAvailable));
  EXPECT_EQ(told.times_set(), 1);
}

TEST_F(ServableStateMonitorTest, ACallbackMayCallTheMonitor) {
  Promised<Outcome> nested;
  std::optional<ServableState> seen;
  monitor_.NotifyWhenServablesReachState({{"s", 1}}, kAvailable,
                                         [&](Outcome, const States&) {
                                           seen = monitor_.GetState({"s", 1});
                                           Wait(1, kAvailable, &nested);
                                           monitor_.CancelWait(id_);
                                         });
  bus_.Publish(Event(1, kAvailable));
  EXPECT_TRUE(seen.has_value());
  EXPECT_EQ(nested.Peek(), Outcome::kReached);
}

TEST_F(ServableStateMonitorTest, AWaitThatTimesOutLeavesNothingBehind) {
  for (int i = 0; i < 3; ++i) {
    States states = {Event(9, kStart)};
    EXPECT_FALSE(monitor_.WaitUntilServablesReachState(
        {{"s", 1}}, kAvailable, milliseconds(0), &states));
    EXPECT_EQ(states.size(), 1u) << "untouched";
  }
  // Would write to the stack of waits that are over, if they were still there.
  bus_.Publish(Event(1, kAvailable));
  monitor_.Close();
}

TEST_F(ServableStateMonitorTest, ATimedWaitEndsWithTheEvent) {
  std::thread publisher([&] {
    bus_.Publish(Event(1, kLoading));
    bus_.Publish(Event(1, kAvailable));
  });
  States states;
  EXPECT_TRUE(monitor_.WaitUntilServablesReachState({{"s", 1}}, kAvailable,
                                                    kDeadline, &states));
  publisher.join();
  ASSERT_EQ(states.size(), 1u);
  EXPECT_EQ(states[0].manager_state, kAvailable);
}

TEST_F(ServableStateMonitorTest, ATimedWaitEndsWithEndAndWithClose) {
  std::thread ender([&] { bus_.Publish(Event(1, kEnd)); });
  EXPECT_FALSE(monitor_.WaitUntilServablesReachState({{"s", 1}}, kAvailable,
                                                     kDeadline, nullptr));
  ender.join();
  std::thread closer([&] { monitor_.Close(); });
  EXPECT_FALSE(monitor_.WaitUntilServablesReachState({{"s", 2}}, kAvailable,
                                                     kDeadline, nullptr));
  closer.join();
}

TEST_F(ServableStateMonitorTest, ForgettingKeepsTheWaitsOfAName) {
  Promised<Outcome> told;
  bus_.Publish(Event(1, kEnd));
  Wait(2, kAvailable, &told);
  monitor_.ForgetUnloadedServableStates();
  bus_.Publish(Event(2, kAvailable));
  EXPECT_EQ(told.Peek(), Outcome::kReached);
}

TEST_F(ServableStateMonitorTest, WaitsCancelsAndEventsFromManyThreads) {
  std::atomic<int> told = 0, cancelled = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const auto id = monitor_.NotifyWhenServablesReachState(
            {{"s", i}, {"s", i + 1}}, kAvailable,
            [&](Outcome, const States&) { ++told; });
        if ((i + t) % 3 == 0) {
          monitor_.CancelWait(id);
          ++cancelled;
        }
        (void)monitor_.GetVersionStates("s");
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i <= 300; ++i) bus_.Publish(Event(i, kAvailable));
  });
  for (auto& thread : threads) thread.join();
  // Cancelled ones may have been told first; all others are told exactly once.
  EXPECT_GE(told, 900 - cancelled);
  EXPECT_LE(told, 900);
}

}  // namespace
}  // namespace aspired
