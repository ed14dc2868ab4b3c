// What is ours and not TensorFlow Serving's: overflow, duplicates after
// normalization, placement of all kinds together, messages.
#include "resources/resource_util.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "native/test_util/allocations.h"
#include "resources/resource_tracker.h"

namespace aspired {
namespace {

using test::Allocation;
using test::AnyGpu;
using test::AnyMain;
using test::Gpu;
using test::kGpu;
using test::kProcessing;
using test::Main;
using test::Of;

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

class ResourceUtilTest : public testing::Test {
 protected:
  const ResourceUtil util_{test::MainAndTwoGpus()};
};

TEST_F(ResourceUtilTest, ASumThatOverflowsIsAnErrorAndChangesNothing) {
  ResourceAllocation base = {{AnyMain(kMost - 1), Gpu(0, 0), Gpu(1, 5)}};
  const ResourceAllocation before = base;
  const Status status = util_.Add({{Gpu(1, 1), Main(2)}}, &base);
  EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "main:0 ram_in_bytes: 18446744073709551614 + 2 is more than 64 "
            "bits hold");
  EXPECT_EQ(base, before);
  ASSERT_TRUE(util_.Add({{Main(1)}}, &base).ok());
  EXPECT_EQ(base, Allocation({Main(kMost), Gpu(1, 5)}));
}

TEST_F(ResourceUtilTest, AProductThatOverflowsIsAnErrorAndChangesNothing) {
  ResourceAllocation base = {{Gpu(1, 3), Main(kMost / 2 + 1)}};
  const ResourceAllocation before = base;
  EXPECT_EQ(util_.Multiply(2, &base).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(base, before);
  ASSERT_TRUE(util_.Multiply(0, &base).ok());
  EXPECT_TRUE(base.empty());
}

TEST_F(ResourceUtilTest, AnOverbindThatOverflowsIsAnError) {
  ResourceAllocation out = {{Main(1)}};
  EXPECT_EQ(util_.Overbind({{AnyGpu(kMost), Gpu(1, 1)}}, &out).code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(out, Allocation({Main(1)}));
}

TEST_F(ResourceUtilTest, TwoSpellingsOfOneResourceAreADuplicate) {
  const ResourceAllocation twice = {{AnyMain(1), Main(2)}};
  const Status status = util_.VerifyValidity(twice);
  EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(status.message().find("main ram_in_bytes and main:0 ram_in_bytes"),
            std::string_view::npos)
      << status.message();
  EXPECT_TRUE(util_.VerifyValidity({{AnyGpu(1), Gpu(0, 2)}}).ok());
}

TEST_F(ResourceUtilTest, InvalidArgumentsWriteNothing) {
  const ResourceAllocation bad = {{Of("nope", 0, kRam, 1)}};
  const ResourceAllocation good = {{AnyMain(4)}};
  ResourceAllocation base = good;
  EXPECT_FALSE(util_.Add(bad, &base).ok());
  EXPECT_FALSE(util_.Subtract(bad, &base).ok());
  EXPECT_FALSE(util_.SetQuantity(bad.entries[0].resource, 1, &base).ok());
  EXPECT_FALSE(util_.Overbind(bad, &base).ok());
  EXPECT_FALSE(util_.Max(bad, good, &base).ok());
  EXPECT_FALSE(util_.Min(good, bad, &base).ok());
  EXPECT_EQ(base, good);
  base = bad;
  EXPECT_FALSE(util_.Add(good, &base).ok());
  EXPECT_FALSE(util_.Multiply(2, &base).ok());
  EXPECT_EQ(base, bad);
  EXPECT_EQ(util_.Normalize(bad), bad);
  EXPECT_FALSE(util_.Equal(bad, bad));
  EXPECT_FALSE(util_.IsBound(bad));
  EXPECT_FALSE(util_.LessThanOrEqual(bad, bad));
  EXPECT_FALSE(util_.LessThanOrEqual({}, {{AnyGpu(1)}}));  // not bound
  EXPECT_FALSE(util_.Place(bad, bad).has_value());
}

TEST_F(ResourceUtilTest, ADeviceWithoutInstancesIsNotThere) {
  const ResourceUtil none({{kMain, 1}, {kCuda, 0}});
  EXPECT_EQ(none.InstancesOf(kCuda), 0u);
  EXPECT_FALSE(none.VerifyValidity({{Of(kCuda, {}, kRam, 1)}}).ok());
}

TEST_F(ResourceUtilTest, AnAllocationIsAddedToAndTakenFromItself) {
  ResourceAllocation a = {{Main(3), AnyGpu(4)}};
  ASSERT_TRUE(util_.Add(a, &a).ok());
  EXPECT_EQ(a, Allocation({Main(6), AnyGpu(8)}));
  ASSERT_TRUE(util_.Subtract(a, &a).ok());
  EXPECT_TRUE(a.empty());
}

TEST_F(ResourceUtilTest, SubtractSaysWhatIsShort) {
  ResourceAllocation base = {{Main(10)}};
  const Status status = util_.Subtract({{AnyMain(12)}}, &base);
  EXPECT_EQ(status.code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            "main:0 ram_in_bytes: needs 12, has 10 (2 short)");
}

TEST_F(ResourceUtilTest, AllKindsOfADeviceArePlacedTogether) {
  const ResourceAllocation available = {{Gpu(0, 2), Gpu(1, 4),
                                         Gpu(0, 100, kProcessing),
                                         Gpu(1, 50, kProcessing)}};
  const ResourceAllocation apart = {{AnyGpu(100, kProcessing), AnyGpu(4)}};
  EXPECT_TRUE(util_.LessThanOrEqual(apart, available));
  EXPECT_FALSE(util_.Place(apart, available).has_value());
  EXPECT_EQ(util_.DescribeShortage(apart, available),
            "gpu processing_in_millis: needs 100 on one instance; gpu:0 has "
            "100, gpu:1 has 50; gpu ram_in_bytes: needs 4 on one instance; "
            "gpu:0 has 2, gpu:1 has 4");
  EXPECT_EQ(util_.Place({{AnyGpu(100, kProcessing), AnyGpu(2)}}, available),
            Allocation({Gpu(0, 100, kProcessing), Gpu(0, 2)}));
}

TEST_F(ResourceUtilTest, PlaceTakesTheInstanceWithMostMemoryThenTheLowest) {
  const ResourceAllocation request = {{AnyGpu(1)}};
  EXPECT_EQ(util_.Place(request, {{Gpu(0, 5), Gpu(1, 6)}}),
            Allocation({Gpu(1, 1)}));
  EXPECT_EQ(util_.Place(request, {{Gpu(1, 6), Gpu(0, 6)}}),
            Allocation({Gpu(0, 1)}));
  // The bound entry takes its share before the choice.
  EXPECT_EQ(util_.Place({{AnyGpu(1), Gpu(1, 3)}}, {{Gpu(0, 5), Gpu(1, 6)}}),
            Allocation({Gpu(0, 1), Gpu(1, 3)}));
  // A kind that is no memory goes where most memory is left.
  EXPECT_EQ(util_.Place({{AnyGpu(1, kProcessing)}},
                        {{Gpu(0, 1, kProcessing), Gpu(1, 9, kProcessing),
                          Gpu(0, 7), Gpu(1, 6)}}),
            Allocation({Gpu(0, 1, kProcessing)}));
}

TEST_F(ResourceUtilTest, PlaceMergesWhatItBindsToOneInstance) {
  EXPECT_EQ(util_.Place({{Gpu(1, 3), AnyGpu(4)}}, {{Gpu(0, 3), Gpu(1, 7)}}),
            Allocation({Gpu(1, 7)}));
  EXPECT_FALSE(util_.Place({{Gpu(1, 3), AnyGpu(4)}}, {{Gpu(0, 3), Gpu(1, 6)}}));
  EXPECT_EQ(util_.Place({{Gpu(0, kMost - 1), AnyGpu(1)}}, {{Gpu(0, kMost)}}),
            Allocation({Gpu(0, kMost)}));
}

TEST_F(ResourceUtilTest, PlaceNormalizes) {
  EXPECT_EQ(util_.Place({{AnyMain(4), AnyGpu(0)}}, {{AnyMain(4)}}),
            Allocation({Main(4)}));
  EXPECT_EQ(util_.Place({}, {}), ResourceAllocation{});
  EXPECT_FALSE(util_.Place({{AnyGpu(4)}}, {{AnyGpu(4)}}));
}

TEST_F(ResourceUtilTest, EachDeviceIsPlacedOnItsOwn) {
  const ResourceUtil util({{kMain, 1}, {kCuda, 2}, {"tpu", 2}});
  EXPECT_EQ(util.Place({{Of(kCuda, {}, kRam, 2), Of("tpu", {}, kRam, 2),
                         Of(kCuda, {}, "slots", 1)}},
                       {{Of(kCuda, 0, kRam, 9), Of(kCuda, 1, kRam, 2),
                         Of(kCuda, 1, "slots", 1), Of("tpu", 0, kRam, 2)}}),
            Allocation({Of(kCuda, 1, kRam, 2), Of("tpu", 0, kRam, 2),
                        Of(kCuda, 1, "slots", 1)}));
}

// A placement is bound, is the request, fits, and is found whenever one is.
TEST_F(ResourceUtilTest, PlaceAgreesWithTryingEveryInstance) {
  std::mt19937 random(20240611);
  const auto draw = [&](uint64_t most) {
    return std::uniform_int_distribution<uint64_t>(0, most)(random);
  };
  int placed_count = 0;
  for (int round = 0; round < 20'000; ++round) {
    const ResourceAllocation request = {{AnyMain(draw(6)), AnyGpu(draw(6)),
                                         Gpu(0, draw(3)), Gpu(1, draw(3)),
                                         AnyGpu(draw(6), kProcessing)}};
    const ResourceAllocation available = {
        {Main(draw(9)), Gpu(0, draw(9)), Gpu(1, draw(9)),
         Gpu(0, draw(9), kProcessing), Gpu(1, draw(9), kProcessing)}};
    bool possible = false;
    for (uint32_t i : {0u, 1u}) {
      ResourceAllocation left = available;
      possible |=
          util_
              .Subtract({{request.entries[0], request.entries[2],
                          request.entries[3]}},
                        &left)
              .ok() &&
          util_
              .Subtract({{Gpu(i, request.entries[1].quantity),
                          Gpu(i, request.entries[4].quantity, kProcessing)}},
                        &left)
              .ok();
    }
    const auto placed = util_.Place(request, available);
    ASSERT_EQ(placed.has_value(), possible) << request.ToString();
    ASSERT_EQ(util_.DescribeShortage(request, available).empty(), possible);
    if (!placed.has_value()) continue;
    ++placed_count;
    ASSERT_TRUE(util_.IsBound(*placed) && util_.IsNormalized(*placed));
    ASSERT_TRUE(util_.LessThanOrEqual(*placed, available));
    ASSERT_EQ(placed, util_.Place(request, available));
  }
  EXPECT_GT(placed_count, 1000);
}

// The tracker asks for one instance too, and an error leaves it alone.
TEST_F(ResourceUtilTest, TheTrackerWantsRoomForAllKindsOnOneInstance) {
  std::unique_ptr<ResourceTracker> tracker;
  ASSERT_TRUE(ResourceTracker::Create(
                  {{Gpu(0, 2), Gpu(1, 4), Gpu(0, 9, kProcessing),
                    Gpu(1, 5, kProcessing)}},
                  std::make_shared<ResourceUtil>(test::MainAndTwoGpus()),
                  &tracker)
                  .ok());
  bool success = true;
  ASSERT_TRUE(
      tracker->ReserveResources({{AnyGpu(4), AnyGpu(9, kProcessing)}}, &success)
          .ok());
  EXPECT_FALSE(success);
  ASSERT_TRUE(tracker->RecomputeUsedResources({{{Gpu(0, kMost)}}}).ok());
  EXPECT_FALSE(
      tracker->RecomputeUsedResources({{{Main(kMost)}}, {{Main(1)}}}).ok());
  EXPECT_EQ(tracker->used(), Allocation({Gpu(0, kMost)}));
  ASSERT_TRUE(tracker->ReserveResources({{Gpu(1, 1)}}, &success).ok());
  EXPECT_FALSE(success);  // More is used than there is.
}

TEST_F(ResourceUtilTest, QuantitiesReadAsBytes) {
  EXPECT_EQ(FormatQuantity(kRam, 1023), "1023");
  EXPECT_EQ(FormatQuantity(kRam, 1610612736), "1.50 GiB (1610612736)");
  EXPECT_EQ(FormatQuantity(kRam, 1048575), "1.00 MiB (1048575)");
  EXPECT_EQ(FormatQuantity(kRam, kMost), "16.00 EiB (18446744073709551615)");
  EXPECT_EQ(FormatQuantity(kProcessing, 1610612736), "1610612736");
  EXPECT_EQ(Allocation({AnyGpu(5), Main(6)}).ToString(),
            "gpu ram_in_bytes 5, main:0 ram_in_bytes 6");
  EXPECT_EQ(ResourceAllocation{}.ToString(), "nothing");
}

}  // namespace
}  // namespace aspired
