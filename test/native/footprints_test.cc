#include "core/footprints.h"

#include <gtest/gtest.h>

#include <vector>

#include "native/test_util/allocations.h"

namespace aspired {
namespace {

using test::Allocation;
using test::AnyCuda;
using test::AnyMain;
using test::Cuda;
using test::Main;

constexpr uint64_t kMiB = 1 << 20;

TEST(FootprintsTest, AnUnknownServableIsAsEstimated) {
  const Footprints footprints;
  EXPECT_TRUE(footprints.empty());
  const auto estimate = Allocation({Main(100 * kMiB), AnyCuda(5)});
  EXPECT_EQ(footprints.Correct("m", estimate), estimate);
}

TEST(FootprintsTest, AnEstimateIsRaisedByTheWorstRatioOfTheLastThree) {
  Footprints footprints;
  footprints.Learn({"m", kMain, 100 * kMiB, 400 * kMiB});
  footprints.Learn({"m", kMain, 100 * kMiB, 150 * kMiB});
  footprints.Learn({"m", kMain, 100 * kMiB, 200 * kMiB});
  const auto estimate = Allocation({Main(10 * kMiB)});
  EXPECT_EQ(footprints.Correct("m", estimate), Allocation({Main(40 * kMiB)}));
  EXPECT_EQ(footprints.Correct("other", estimate), estimate);
  footprints.Learn({"m", kMain, 100 * kMiB, 120 * kMiB});
  EXPECT_EQ(footprints.Correct("m", estimate), Allocation({Main(20 * kMiB)}))
      << "the factor of 4 is forgotten";
}

TEST(FootprintsTest, AnEstimateIsNeverLowered) {
  Footprints footprints;
  footprints.Learn({"m", kMain, 100 * kMiB, 20 * kMiB});
  const auto estimate = Allocation({Main(100 * kMiB)});
  EXPECT_EQ(footprints.Correct("m", estimate), estimate);
}

TEST(FootprintsTest, NoiseIsNotLearned) {
  Footprints footprints;
  footprints.Learn({"m", kMain, 1, Footprints::kNoiseBytes - 1});
  EXPECT_TRUE(footprints.empty());
  // Within the tolerance; and twice of what is small.
  footprints.Learn({"m", kMain, 100 * kMiB, 104 * kMiB});
  footprints.Learn({"m", kMain, 5 * kMiB, 8 * kMiB});
  EXPECT_EQ(footprints.Correct("m", Allocation({Main(100 * kMiB)})),
            Allocation({Main(100 * kMiB)}));
}

TEST(FootprintsTest, AWrongMeasurementOfASmallOneIsForgottenToo) {
  Footprints footprints;
  footprints.Learn({"m", kMain, 5 * kMiB, 330 * kMiB});
  const auto estimate = Allocation({Main(5 * kMiB)});
  for (int i = 0; i < 2; ++i) {
    footprints.Learn({"m", kMain, 5 * kMiB, 4 * kMiB});
    EXPECT_EQ(footprints.Correct("m", estimate),
              Allocation({Main(330 * kMiB)}));
  }
  EXPECT_EQ(footprints.Export().size(), 3u);
  footprints.Learn({"m", kMain, 5 * kMiB, 0});
  EXPECT_EQ(footprints.Correct("m", estimate), estimate);
  EXPECT_TRUE(footprints.empty());
}

TEST(FootprintsTest, OneOrAllAreForgottenOnDemand) {
  Footprints footprints;
  for (const char* name : {"a", "b", "c"}) {
    footprints.Learn({name, kMain, 10 * kMiB, 30 * kMiB});
  }
  footprints.Clear("b");
  footprints.Clear("nobody");
  EXPECT_EQ(footprints.Export(),
            (std::vector<Footprint>{{"a", kMain, 10 * kMiB, 30 * kMiB},
                                    {"c", kMain, 10 * kMiB, 30 * kMiB}}));
  footprints.Clear();
  EXPECT_TRUE(footprints.empty());
}

TEST(FootprintsTest, WhereALoaderSaysNothingTheLargestStandsIn) {
  Footprints footprints;
  footprints.Learn({"m", kMain, 0, 30 * kMiB});
  footprints.Learn({"m", kMain, 0, 20 * kMiB});
  EXPECT_EQ(footprints.Correct("m", {}), Allocation({AnyMain(30 * kMiB)}));
  // A zero is no estimate; an estimate of another device or kind neither.
  EXPECT_EQ(footprints.Correct("m", Allocation({Main(0), Cuda(1, 7)})),
            Allocation({Main(0), Cuda(1, 7), AnyMain(30 * kMiB)}));
  EXPECT_EQ(footprints.Correct("m", Allocation({Main(3, "slots")})),
            Allocation({Main(3, "slots"), AnyMain(30 * kMiB)}));
}

TEST(FootprintsTest, EachDeviceHasItsOwnRatio) {
  Footprints footprints;
  footprints.Learn({"m", kMain, 100 * kMiB, 200 * kMiB});
  footprints.Learn({"m", kCuda, 100 * kMiB, 300 * kMiB});
  EXPECT_EQ(footprints.Correct("m", Allocation({Main(10), Cuda(1, 10)})),
            Allocation({Main(20), Cuda(1, 30)}));
}

TEST(FootprintsTest, WhatWouldNotFit64BitsIsAsEstimated) {
  Footprints footprints;
  footprints.Learn({"m", kMain, 10 * kMiB, 1000 * kMiB});
  const auto huge = Allocation({Main(UINT64_MAX / 2)});
  EXPECT_EQ(footprints.Correct("m", huge), huge);
}

TEST(FootprintsTest, ExportAndImportKeepAllAndTheirOrder) {
  Footprints footprints;
  const std::vector<Footprint> all = {{"a", kCuda, 10 * kMiB, 20 * kMiB},
                                      {"a", kMain, 30 * kMiB, 20 * kMiB},
                                      {"a", kMain, 10 * kMiB, 40 * kMiB},
                                      {"b", kMain, 0, 50 * kMiB}};
  footprints.Import(all);
  footprints.Import({{"c", kMain, 10, 0}});
  EXPECT_EQ(footprints.Export(), all);
  Footprints copy;
  copy.Import(footprints.Export());
  EXPECT_EQ(copy.Export(), all);
}

}  // namespace
}  // namespace aspired
