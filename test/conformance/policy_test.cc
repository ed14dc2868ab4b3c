// Cases POL, AP and RP: the policies, equal to the decision tables.
//
// Versions are written as in the case catalogue: "1R 2N*" is version 1 Ready
// and not aspired, version 2 New and aspired.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "policy/availability_preserving_policy.h"
#include "policy/resource_preserving_policy.h"

namespace aspired {
namespace {

using Snapshots = std::vector<AspiredServableStateSnapshot>;

HarnessState StateOf(const std::string& letter) {
  using enum HarnessState;
  static const std::map<std::string, HarnessState> kLetters = {
      {"N", kNew},       {"LR", kLoadRequested}, {"LA", kLoadApproved},
      {"L", kLoading},   {"R", kReady},          {"UR", kUnloadRequested},
      {"Q", kQuiescing}, {"QD", kQuiesced},      {"U", kUnloading},
      {"D", kDisabled},  {"E", kError}};
  return kLetters.at(letter);
}

Snapshots Parse(const std::string& text) {
  Snapshots snapshots;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    AspiredServableStateSnapshot s;
    if (word.back() == '*') {
      s.is_aspired = true;
      word.pop_back();
    }
    char* end = nullptr;
    s.version = std::strtoll(word.c_str(), &end, 10);
    s.state = StateOf(end);
    snapshots.push_back(s);
  }
  return snapshots;
}

std::string Text(const std::optional<PolicyAction>& action) {
  if (!action) return "none";
  const bool load = action->kind == PolicyAction::Kind::kLoad;
  return (load ? "load " : "unload ") + std::to_string(action->version);
}

std::string Availability(const std::string& text) {
  return Text(AvailabilityPreservingPolicy().GetNextAction(Parse(text)));
}

std::string Resource(const std::string& text) {
  return Text(ResourcePreservingPolicy().GetNextAction(Parse(text)));
}

TEST(PolicyConformance, POL_1_NoAspiredNewVersionNothingIsChosen) {
  EXPECT_EQ(HighestAspiredNew(Parse("10N 9U*")), std::nullopt);
}

TEST(PolicyConformance, POL_2_TheHighestAspiredNewVersionIsChosen) {
  EXPECT_EQ(HighestAspiredNew(Parse("10N 9U* 1N* 5N* 3N*")), 5);
}

TEST(AvailabilityPreservingConformance, AP_01_LoadsTheHighestNew) {
  EXPECT_EQ(Availability("1U 2E 3R* 4N* 5N*"), "load 5");
}

TEST(AvailabilityPreservingConformance, AP_02_UnloadsBeforeItLoads) {
  EXPECT_EQ(Availability("1U 2E 3R 4R* 5N*"), "unload 3");
}

TEST(AvailabilityPreservingConformance, AP_03_NothingAspiredUnloadsLowest) {
  EXPECT_EQ(Availability("3R 1R 2R"), "unload 1");
  EXPECT_EQ(Availability("3R 1U 2R"), "unload 2");
  EXPECT_EQ(Availability("1R"), "unload 1");
}

TEST(AvailabilityPreservingConformance, AP_04_NothingToDoIsNoAction) {
  EXPECT_EQ(Availability("1R* 2E* 3L* 4U 5D"), "none");
}

TEST(AvailabilityPreservingConformance, AP_05_KeepsTheOldWhileTheNewLoads) {
  EXPECT_EQ(Availability("1R 2L*"), "none");
}

TEST(AvailabilityPreservingConformance, AP_06_KeepsTheOldWhenTheNewFailed) {
  EXPECT_EQ(Availability("1R 2E*"), "none");
}

TEST(AvailabilityPreservingConformance, AP_07_UnloadsTheOldWhenOneIsReady) {
  EXPECT_EQ(Availability("1R 2L* 3R*"), "unload 1");
}

TEST(AvailabilityPreservingConformance, AP_08_AlsoWhenAnotherOneFailed) {
  EXPECT_EQ(Availability("1R 2E* 3R*"), "unload 1");
}

TEST(AvailabilityPreservingConformance, AP_09_UnloadsTheLowestNotTheFirst) {
  EXPECT_EQ(Availability("2R 1R 3E* 4L*"), "unload 1");
}

TEST(ResourcePreservingConformance, RP_01_UnloadsTheFirstOfTheList) {
  EXPECT_EQ(Resource("1U 2R* 3R 4N* 5R"), "unload 3");
  EXPECT_EQ(Resource("5R 1U 2R* 3R 4N*"), "unload 5");
}

TEST(ResourcePreservingConformance, RP_02_LoadsTheHighestAspiredNew) {
  EXPECT_EQ(Resource("1R* 2L* 3N* 4D 5N*"), "load 5");
}

TEST(ResourcePreservingConformance, RP_03_WaitsForAnUnload) {
  EXPECT_EQ(Resource("1R* 2E* 3L* 4U 5D"), "none");
  EXPECT_EQ(Resource("4U 5N*"), "none");
}

TEST(ResourcePreservingConformance, RP_04_UnloadsBeforeItLoads) {
  EXPECT_EQ(Resource("1R 2N*"), "unload 1");
}

TEST(ResourcePreservingConformance, RP_05_AFailedOldVersionDoesNotBlock) {
  EXPECT_EQ(Resource("1E 2N*"), "load 2");
}

TEST(ResourcePreservingConformance, RP_06_AnOldVersionOnItsWayBlocks) {
  EXPECT_EQ(Resource("1E 2UR 3N*"), "none");
}

TEST(ResourcePreservingConformance, RP_07_DisabledDoesNotBlock) {
  EXPECT_EQ(Resource("1E 2D 3N*"), "load 3");
}

// ------------------------------------------- the decision tables, complete

TEST(AvailabilityPreservingConformance, Table31WalkThrough) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"1R", "unload 1"},
      {"1R 2R", "unload 1"},
      {"1R 2N*", "load 2"},
      {"1R 2L*", "none"},
      {"1R 2E*", "none"},
      {"1R 2R*", "unload 1"},
      {"1R 2R 3N*", "unload 1"},
      {"2R 3N*", "load 3"},
      {"1R 2R 3E* 4L*", "unload 1"},
      {"1R 2E* 3R*", "unload 1"},
      {"1R* 2N* 3N*", "load 3"},
      {"1R* 2N* 3L*", "load 2"},
      {"1R 2R* 3N*", "unload 1"},
      {"1E*", "none"},
      {"1L 2N*", "load 2"},
      {"1U 2N*", "load 2"},
  };
  for (const auto& [given, then] : rows) {
    EXPECT_EQ(Availability(given), then) << given;
  }
}

// The tables once more, in words of sets; the policies are written otherwise.
struct Sets {
  explicit Sets(const Snapshots& all) {
    for (const auto& s : all) {
      if (s.is_aspired) {
        any_aspired = true;
        if (s.state == HarnessState::kReady) aspired_ready = true;
        if (s.state == HarnessState::kNew) aspired_new.push_back(s.version);
      } else {
        if (s.state == HarnessState::kReady) ready.push_back(s.version);
        if (s.state != HarnessState::kDisabled &&
            s.state != HarnessState::kError) {
          busy = true;
        }
      }
    }
  }
  std::string LoadHighest() const {
    if (aspired_new.empty()) return "none";
    return "load " + std::to_string(*std::max_element(aspired_new.begin(),
                                                      aspired_new.end()));
  }
  bool any_aspired = false;
  bool aspired_ready = false;
  bool busy = false;           // un-aspired, neither Disabled nor Error
  std::vector<int64_t> ready;  // un-aspired
  std::vector<int64_t> aspired_new;
};

std::string Table31(const Snapshots& all) {
  const Sets sets(all);
  const bool unload =
      !sets.ready.empty() &&
      (!sets.any_aspired || sets.aspired_ready || sets.ready.size() > 1);
  if (!unload) return sets.LoadHighest();
  return "unload " + std::to_string(*std::min_element(sets.ready.begin(),
                                                      sets.ready.end()));
}

std::string Table32(const Snapshots& all) {
  const Sets sets(all);
  if (!sets.ready.empty()) return "unload " + std::to_string(sets.ready[0]);
  return sets.busy ? "none" : sets.LoadHighest();
}

std::string Describe(const Snapshots& all) {
  std::string text;
  for (const auto& s : all) {
    text += std::to_string(s.version) + std::string(Name(s.state)) +
            (s.is_aspired ? "* " : " ");
  }
  return text;
}

// Every stream of up to three versions in every state, aspired or not, in an
// order where the highest version is neither first nor last.
template <typename Check>
void ForEveryStreamOfUpToThree(Check check) {
  constexpr int kKinds = 2 * static_cast<int>(kNumHarnessStates);
  const auto snapshot = [](int64_t version, int kind) {
    return AspiredServableStateSnapshot{
        version, static_cast<HarnessState>(kind / 2), kind % 2 == 1};
  };
  check(Snapshots{});
  for (int a = 0; a < kKinds; ++a) {
    check(Snapshots{snapshot(2, a)});
    for (int b = 0; b < kKinds; ++b) {
      check(Snapshots{snapshot(2, a), snapshot(3, b)});
      for (int c = 0; c < kKinds; ++c) {
        check(Snapshots{snapshot(2, a), snapshot(3, b), snapshot(1, c)});
      }
    }
  }
}

TEST(AvailabilityPreservingConformance, Table31CompleteOverThreeVersions) {
  const AvailabilityPreservingPolicy policy;
  ForEveryStreamOfUpToThree([&](const Snapshots& all) {
    ASSERT_EQ(Text(policy.GetNextAction(all)), Table31(all)) << Describe(all);
  });
}

TEST(ResourcePreservingConformance, Table32CompleteOverThreeVersions) {
  const ResourcePreservingPolicy policy;
  ForEveryStreamOfUpToThree([&](const Snapshots& all) {
    ASSERT_EQ(Text(policy.GetNextAction(all)), Table32(all)) << Describe(all);
  });
}

TEST(AvailabilityPreservingConformance, TheOrderOfTheListDoesNotMatter) {
  const AvailabilityPreservingPolicy policy;
  ForEveryStreamOfUpToThree([&](Snapshots all) {
    const auto answer = policy.GetNextAction(all);
    std::reverse(all.begin(), all.end());
    ASSERT_EQ(policy.GetNextAction(all), answer) << Describe(all);
  });
}

TEST(PolicyConformance, NoPolicyEverUnloadsAnAspiredVersion) {
  const AvailabilityPreservingPolicy availability;
  const ResourcePreservingPolicy resource;
  ForEveryStreamOfUpToThree([&](const Snapshots& all) {
    for (const AspiredVersionPolicy* policy :
         {static_cast<const AspiredVersionPolicy*>(&availability),
          static_cast<const AspiredVersionPolicy*>(&resource)}) {
      const auto action = policy->GetNextAction(all);
      if (!action) continue;
      const auto it = std::find_if(all.begin(), all.end(), [&](const auto& s) {
        return s.version == action->version;
      });
      ASSERT_NE(it, all.end());
      const bool load = action->kind == PolicyAction::Kind::kLoad;
      ASSERT_EQ(it->is_aspired, load) << Describe(all);
      ASSERT_EQ(it->state, load ? HarnessState::kNew : HarnessState::kReady);
    }
  });
}

TEST(AvailabilityPreservingConformance, KeepsOneReadyWhileSomethingIsAspired) {
  const AvailabilityPreservingPolicy policy;
  ForEveryStreamOfUpToThree([&](const Snapshots& all) {
    const Sets sets(all);
    const auto action = policy.GetNextAction(all);
    if (!action || action->kind == PolicyAction::Kind::kLoad) return;
    if (!sets.any_aspired) return;
    ASSERT_TRUE(sets.aspired_ready || sets.ready.size() > 1) << Describe(all);
  });
}

}  // namespace
}  // namespace aspired
