#include "core/harness_state.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>

namespace aspired {
namespace {

// The legal edges once more, by hand and by another notation than the table's:
// row from, column to.
//                                    N R A L Y U Q D X D E
constexpr std::array<const char*, kNumHarnessStates> kLegal = {
    /* New             */ ".x.......xx",
    /* LoadRequested   */ "..x......xx",
    /* LoadApproved    */ "...x.....xx",
    /* Loading         */ "....x...xxx",
    /* Ready           */ ".....x....x",
    /* UnloadRequested */ "....x.x...x",
    /* Quiescing       */ "....x..x..x",
    /* Quiesced        */ "....x...x.x",
    /* Unloading       */ ".........xx",
    /* Disabled        */ "...........",
    /* Error           */ "...........",
};

constexpr std::array<const char*, kNumHarnessStates> kNames = {
    "New",       "LoadRequested",   "LoadApproved", "Loading",
    "Ready",     "UnloadRequested", "Quiescing",    "Quiesced",
    "Unloading", "Disabled",        "Error"};

HarnessState State(size_t i) { return static_cast<HarnessState>(i); }

TEST(HarnessStateTest, All121PairsAreLegalOrNotAsTheMatrixSays) {
  for (size_t from = 0; from < kNumHarnessStates; ++from) {
    for (size_t to = 0; to < kNumHarnessStates; ++to) {
      EXPECT_EQ(IsLegal(State(from), State(to)), kLegal[from][to] == 'x')
          << kNames[from] << " -> " << kNames[to];
    }
  }
}

TEST(HarnessStateTest, NamesAreThoseOfThePublicContract) {
  for (size_t i = 0; i < kNumHarnessStates; ++i) {
    EXPECT_EQ(Name(State(i)), kNames[i]);
    EXPECT_EQ(RowOf(State(i)).state, State(i));
  }
  EXPECT_EQ(Name(ManagerState::kStart), "Start");
  EXPECT_EQ(Name(ManagerState::kLoading), "Loading");
  EXPECT_EQ(Name(ManagerState::kAvailable), "Available");
  EXPECT_EQ(Name(ManagerState::kUnloading), "Unloading");
  EXPECT_EQ(Name(ManagerState::kEnd), "End");
}

TEST(HarnessStateTest, OnlyDisabledAndErrorAreTerminal) {
  for (size_t i = 0; i < kNumHarnessStates; ++i) {
    const bool terminal =
        State(i) == HarnessState::kDisabled || State(i) == HarnessState::kError;
    EXPECT_EQ(IsTerminal(State(i)), terminal) << kNames[i];
    EXPECT_EQ(RowOf(State(i)).manager_state == ManagerState::kEnd, terminal);
  }
}

TEST(HarnessStateTest, EveryLiveStateCanFailAndEveryStateCanBeReached) {
  std::set<size_t> reached = {0};
  for (size_t from = 0; from < kNumHarnessStates; ++from) {
    if (!IsTerminal(State(from))) {
      EXPECT_TRUE(IsLegal(State(from), HarnessState::kError)) << kNames[from];
    }
    for (size_t to = 0; to < kNumHarnessStates; ++to) {
      if (IsLegal(State(from), State(to))) reached.insert(to);
    }
  }
  EXPECT_EQ(reached.size(), kNumHarnessStates);
}

TEST(HarnessStateTest, AnEdgeGoesBackwardsOutsideOnlyWhenAnUnloadIsRevoked) {
  for (size_t from = 0; from < kNumHarnessStates; ++from) {
    for (size_t to = 0; to < kNumHarnessStates; ++to) {
      if (!IsLegal(State(from), State(to))) continue;
      const bool backwards =
          RowOf(State(to)).manager_state < RowOf(State(from)).manager_state;
      // Quiesced: a standby.
      const bool revoked = (State(from) == HarnessState::kQuiescing ||
                            State(from) == HarnessState::kQuiesced) &&
                           State(to) == HarnessState::kReady;
      EXPECT_EQ(backwards, revoked) << kNames[from] << " -> " << kNames[to];
    }
  }
}

TEST(HarnessStateTest, ResourcesAreHeldFromTheApprovalToTheEndOfTheUnload) {
  const std::set<std::string> holders = {
      "LoadApproved", "Loading",  "Ready",    "UnloadRequested",
      "Quiescing",    "Quiesced", "Unloading"};
  for (size_t i = 0; i < kNumHarnessStates; ++i) {
    EXPECT_EQ(RowOf(State(i)).holds_resources, holders.count(kNames[i]) == 1)
        << kNames[i];
  }
}

}  // namespace
}  // namespace aspired
