#include "core/attribution.h"

#include <gtest/gtest.h>

#include <vector>

namespace aspired {
namespace {

using Shares = std::vector<int64_t>;
using enum Claim::Kind;

TEST(Attribution, GrowthBelongsToLoadsByWhatIsReserved) {
  EXPECT_EQ(ShareOut(4200, {{kLoad, 30, 7}, {kUnload, 50, 50}, {kLoad, 10, 0}}),
            (Shares{3100, 0, 1100}));
  EXPECT_EQ(ShareOut(5, {{kLoad, 0, 0}}), Shares{5})
      << "what reserved nothing may have taken it all the same";
}

TEST(Attribution, ShrinkingBelongsToUnloadsByWhatWasCountedAndNoMore) {
  EXPECT_EQ(
      ShareOut(-20, {{kUnload, 9, 30}, {kLoad, 50, 50}, {kUnload, 9, 10}}),
      (Shares{-15, 0, -5}));
  EXPECT_EQ(ShareOut(-100, {{kUnload, 0, 30}, {kUnload, 0, 10}}),
            (Shares{-30, -10}));
  EXPECT_EQ(ShareOut(-100, {{kUnload, 99, 0}, {kUnload, 99, -5}}),
            (Shares{0, 0}));
}

TEST(Attribution, WhatFitsNobodyIsTheRestOfTheProcesss) {
  EXPECT_EQ(ShareOut(10, {{kUnload, 10, 10}, {kNone, 10, 10}}), (Shares{0, 0}));
  EXPECT_EQ(ShareOut(-10, {{kLoad, 10, 10}, {kNone, 10, 10}}), (Shares{0, 0}));
  EXPECT_EQ(ShareOut(0, {{kLoad, 10, 10}, {kUnload, 10, 10}}), (Shares{0, 0}));
  EXPECT_EQ(ShareOut(10, {}), Shares{});
}

}  // namespace
}  // namespace aspired
