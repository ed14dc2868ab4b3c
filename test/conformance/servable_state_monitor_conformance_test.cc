// Cases SSM: the state monitor.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/servable_state_monitor.h"

namespace aspired {
namespace {

using Outcome = ServableStateMonitor::WaitOutcome;
using Request = ServableStateMonitor::Request;
using States = std::vector<ServableState>;
using enum ManagerState;

const Status kBroken(ErrorCode::kLoadFailed, "broken");

ServableState Event(const std::string& name, int64_t version,
                    ManagerState state, double at = 0, Status health = {},
                    uint64_t incarnation = 1) {
  return {{name, version}, state, std::move(health), incarnation, at};
}

// What a wait was told, and how often.
struct Told {
  int times = 0;
  std::optional<Outcome> outcome;
  States states;
  ServableStateMonitor::WaitDone done() {
    return [this](Outcome o, States s) {
      ++times;
      outcome = o;
      states = std::move(s);
    };
  }
};

class ServableStateMonitorConformance : public ::testing::Test {
 protected:
  ServableEventBus bus_;
};

TEST_F(ServableStateMonitorConformance, SSM_01_ReflectsEveryEvent) {
  ServableStateMonitor monitor(&bus_, {.max_log_events = 4});
  EXPECT_EQ(monitor.GetState({"foo", 42}), std::nullopt);
  EXPECT_TRUE(monitor.GetVersionStates("foo").empty());
  EXPECT_TRUE(monitor.GetAllServableStates().empty());
  EXPECT_TRUE(monitor.GetBoundedLog().empty());

  const auto foo42 = Event("foo", 42, kStart, 1);
  bus_.Publish(foo42);
  EXPECT_EQ(monitor.GetState({"foo", 42}), foo42);
  EXPECT_EQ(monitor.GetState({"foo", 99}), std::nullopt);
  EXPECT_EQ(monitor.GetState({"bar", 42}), std::nullopt);
  EXPECT_EQ(monitor.GetVersionStates("foo"), States{foo42});
  EXPECT_TRUE(monitor.GetVersionStates("bar").empty());
  EXPECT_EQ(monitor.GetBoundedLog(), States{foo42});

  const auto foo43 = Event("foo", 43, kAvailable, 3, kBroken);
  bus_.Publish(foo43);
  EXPECT_EQ(monitor.GetVersionStates("foo"), (States{foo43, foo42}));

  const auto bar7 = Event("bar", 7, kUnloading, 7);
  bus_.Publish(bar7);
  const std::map<std::string, States> all = {{"bar", {bar7}},
                                             {"foo", {foo43, foo42}}};
  EXPECT_EQ(monitor.GetAllServableStates(), all);
  EXPECT_EQ(monitor.GetBoundedLog(), (States{foo42, foo43, bar7}));
}

TEST_F(ServableStateMonitorConformance, SSM_02_TheLogDropsTheOldest) {
  // A backwards event of the same incarnation is ignored here, in the log too;
  // an overwriting one comes as a new incarnation.
  ServableStateMonitor monitor(&bus_, {.max_log_events = 3});
  const auto foo42 = Event("foo", 42, kStart, 1);
  const auto foo43 = Event("foo", 43, kAvailable, 3);
  const auto bar7 = Event("bar", 7, kUnloading, 7);
  for (const auto& e : {foo42, foo43, bar7}) bus_.Publish(e);
  bus_.Publish(Event("foo", 43, kLoading, 8));
  EXPECT_EQ(monitor.GetState({"foo", 43}), foo43);
  EXPECT_EQ(monitor.GetBoundedLog(), (States{foo42, foo43, bar7}));
  const auto again = Event("foo", 43, kLoading, 8, {}, 2);
  bus_.Publish(again);
  EXPECT_EQ(monitor.GetState({"foo", 43}), again);
  EXPECT_EQ(monitor.GetBoundedLog(), (States{foo43, bar7, again}));
}

TEST_F(ServableStateMonitorConformance, SSM_03_TheLogIsOffByDefault) {
  ServableStateMonitor monitor(&bus_, {});
  bus_.Publish(Event("foo", 42, kStart, 1));
  EXPECT_EQ(monitor.GetAllServableStates().size(), 1u);
  EXPECT_TRUE(monitor.GetBoundedLog().empty());
}

TEST_F(ServableStateMonitorConformance, SSM_04_LiveStatesAreWithoutEnd) {
  ServableStateMonitor monitor(&bus_, {});
  EXPECT_TRUE(monitor.GetLiveServableStates().empty());
  const auto start = Event("foo", 42, kStart, 1);
  bus_.Publish(start);
  const auto available = Event("bar", 7, kAvailable, 2);
  bus_.Publish(available);
  const std::map<std::string, States> live = {{"bar", {available}},
                                              {"foo", {start}}};
  EXPECT_EQ(monitor.GetLiveServableStates(), live);
  bus_.Publish(Event("bar", 7, kEnd, 3));
  EXPECT_EQ(monitor.GetLiveServableStates(),
            (std::map<std::string, States>{{"foo", {start}}}));
  EXPECT_EQ(monitor.GetState({"bar", 7})->manager_state, kEnd);
}

TEST_F(ServableStateMonitorConformance, SSM_06_VersionsAreHighestFirst) {
  ServableStateMonitor monitor(&bus_, {});
  bus_.Publish(Event("foo", 42, kUnloading, 1));
  bus_.Publish(Event("foo", 7, kAvailable, 2));
  bus_.Publish(Event("foo", 100, kStart, 3));
  const auto states = monitor.GetVersionStates("foo");
  ASSERT_EQ(states.size(), 3u);
  EXPECT_EQ(states[0].id.version, 100);
  EXPECT_EQ(states[1].id.version, 42);
  EXPECT_EQ(states[2].id.version, 7);
}

TEST_F(ServableStateMonitorConformance, SSM_07_OnlyWhatEndedIsForgotten) {
  // A name without versions is not kept.
  ServableStateMonitor monitor(&bus_, {});
  const auto bar = Event("bar", 7, kAvailable, 1);
  bus_.Publish(bar);
  bus_.Publish(Event("foo", 42, kUnloading, 1));
  monitor.ForgetUnloadedServableStates();
  EXPECT_EQ(monitor.GetState({"foo", 42})->manager_state, kUnloading);
  bus_.Publish(Event("foo", 42, kEnd, 2));
  EXPECT_EQ(monitor.GetState({"foo", 42})->manager_state, kEnd);
  monitor.ForgetUnloadedServableStates();
  EXPECT_EQ(monitor.GetState({"foo", 42}), std::nullopt);
  EXPECT_TRUE(monitor.GetVersionStates("foo").empty());
  EXPECT_EQ(monitor.GetState({"bar", 7}), bar);
}

TEST_F(ServableStateMonitorConformance, SSM_08_AWaitForNothingIsReached) {
  ServableStateMonitor monitor(&bus_, {});
  Told told;
  monitor.NotifyWhenServablesReachState({}, kAvailable, told.done());
  EXPECT_EQ(told.times, 1);
  EXPECT_EQ(told.outcome, Outcome::kReached);
  EXPECT_TRUE(told.states.empty());
}

TEST_F(ServableStateMonitorConformance, SSM_09_ASpecificVersionIsReached) {
  ServableStateMonitor monitor(&bus_, {});
  Told told;
  monitor.NotifyWhenServablesReachState({{"s", 42}}, kAvailable, told.done());
  EXPECT_EQ(told.times, 0);
  const auto available = Event("s", 42, kAvailable);
  bus_.Publish(available);
  EXPECT_EQ(told.outcome, Outcome::kReached);
  EXPECT_EQ(told.states, States{available});
}

TEST_F(ServableStateMonitorConformance, SSM_10_ASpecificVersionEnds) {
  ServableStateMonitor monitor(&bus_, {});
  Told told;
  monitor.NotifyWhenServablesReachState({{"s", 42}}, kAvailable, told.done());
  const auto end = Event("s", 42, kEnd, 0, kBroken);
  bus_.Publish(end);
  EXPECT_EQ(told.outcome, Outcome::kEnded);
  EXPECT_EQ(told.states, States{end});
}

TEST_F(ServableStateMonitorConformance, SSM_11_AnyVersionIsReached) {
  ServableStateMonitor monitor(&bus_, {});
  Told told;
  monitor.NotifyWhenServablesReachState({{"s", std::nullopt}}, kAvailable,
                                        told.done());
  const auto available = Event("s", 42, kAvailable);
  bus_.Publish(available);
  EXPECT_EQ(told.outcome, Outcome::kReached);
  EXPECT_EQ(told.states, States{available});
}

TEST_F(ServableStateMonitorConformance, SSM_12_EveryVersionEnded) {
  ServableStateMonitor monitor(&bus_, {});
  Told told;
  monitor.NotifyWhenServablesReachState({{"s", std::nullopt}}, kAvailable,
                                        told.done());
  const auto end = Event("s", 7, kEnd, 0, kBroken);
  bus_.Publish(end);
  EXPECT_EQ(told.outcome, Outcome::kEnded);
  EXPECT_EQ(told.states, States{end});
}

TEST_F(ServableStateMonitorConformance, SSM_12b_OneEndDoesNotDecideForOthers) {
  // There a remembered End of a higher version settles a wait for Latest; here
  // only when no version is left that may still come.
  ServableStateMonitor monitor(&bus_, {});
  bus_.Publish(Event("s", 43, kEnd, 0, kBroken));
  bus_.Publish(Event("s", 42, kLoading));
  Told told;
  monitor.NotifyWhenServablesReachState({{"s", std::nullopt}}, kAvailable,
                                        told.done());
  EXPECT_EQ(told.times, 0);
  bus_.Publish(Event("s", 42, kAvailable));
  EXPECT_EQ(told.outcome, Outcome::kReached);
}

TEST_F(ServableStateMonitorConformance, SSM_13_AllOfManyRequestsMustSettle) {
  ServableStateMonitor monitor(&bus_, {});
  Told told;
  monitor.NotifyWhenServablesReachState(
      {{"a", 42}, {"b", 7}, {"c", std::nullopt}}, kAvailable, told.done());
  const auto a = Event("a", 42, kAvailable);
  const auto b = Event("b", 7, kEnd, 0, kBroken);
  const auto c = Event("c", 3, kAvailable);
  bus_.Publish(a);
  EXPECT_EQ(told.times, 0);
  bus_.Publish(b);
  EXPECT_EQ(told.times, 0);
  bus_.Publish(c);
  EXPECT_EQ(told.outcome, Outcome::kEnded);
  EXPECT_EQ(told.states, (States{a, b, c}));
}

TEST_F(ServableStateMonitorConformance, SSM_14_AWaitIsToldOnce) {
  ServableStateMonitor monitor(&bus_, {});
  Told told;
  monitor.NotifyWhenServablesReachState({{"s", 42}}, kAvailable, told.done());
  bus_.Publish(Event("s", 42, kAvailable));
  bus_.Publish(Event("s", 42, kAvailable));
  EXPECT_EQ(told.times, 1);
}

TEST_F(ServableStateMonitorConformance, SSM_15_AStateThatIsThereIsReached) {
  ServableStateMonitor monitor(&bus_, {});
  bus_.Publish(Event("s", 42, kAvailable));
  States states;
  EXPECT_TRUE(monitor.WaitUntilServablesReachState({{"s", 42}}, kAvailable,
                                                   Duration::zero(), &states));
  EXPECT_EQ(states.size(), 1u);
}

}  // namespace
}  // namespace aspired
