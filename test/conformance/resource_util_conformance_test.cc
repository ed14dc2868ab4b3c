// Cases RU: arithmetic on allocations, with one main memory and two GPUs.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "native/test_util/allocations.h"
#include "resources/resource_util.h"

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
using Allocations = std::vector<ResourceAllocation>;

class ResourceUtilConformance : public testing::Test {
 protected:
  ResourceAllocation Sum(ResourceAllocation base,
                         const ResourceAllocation& addend) {
    EXPECT_TRUE(util_.Add(addend, &base).ok());
    return base;
  }
  ResourceAllocation Difference(ResourceAllocation base,
                                const ResourceAllocation& subtrahend) {
    EXPECT_TRUE(util_.Subtract(subtrahend, &base).ok());
    return base;
  }
  ResourceAllocation Overbound(const ResourceAllocation& allocation) {
    ResourceAllocation out;
    EXPECT_TRUE(util_.Overbind(allocation, &out).ok());
    return out;
  }
  ResourceAllocation Max(const ResourceAllocation& lhs,
                         const ResourceAllocation& rhs) {
    ResourceAllocation out;
    EXPECT_TRUE(util_.Max(lhs, rhs, &out).ok());
    return out;
  }
  ResourceAllocation Min(const ResourceAllocation& lhs,
                         const ResourceAllocation& rhs) {
    ResourceAllocation out;
    EXPECT_TRUE(util_.Min(lhs, rhs, &out).ok());
    return out;
  }

  const ResourceUtil util_{test::MainAndTwoGpus()};
};

TEST_F(ResourceUtilConformance, RU_01_VerifyValidity) {
  for (const ResourceAllocation& valid : Allocations{{},
                                                     {{AnyMain(8)}},
                                                     {{AnyMain(8), AnyGpu(4)}},
                                                     {{Gpu(0, 4)}},
                                                     {{Gpu(1, 4)}}}) {
    EXPECT_TRUE(util_.VerifyValidity(valid).ok()) << valid.ToString();
  }
  for (const ResourceAllocation& invalid :
       Allocations{{{Of("nope", {}, kRam, 8)}},
                   {{AnyMain(8), Of("nope", {}, kRam, 8)}},
                   {{Gpu(2, 4)}},
                   {{AnyGpu(4), AnyGpu(8)}},
                   {{Gpu(0, 4), Gpu(0, 8)}}}) {
    EXPECT_EQ(util_.VerifyValidity(invalid).canonical(),
              StatusCode::kInvalidArgument)
        << invalid.ToString();
  }
}

TEST_F(ResourceUtilConformance, RU_02_VerifyResourceValidity) {
  for (const auto& valid : {AnyMain(0), Gpu(0, 0), Gpu(1, 0)}) {
    EXPECT_TRUE(util_.VerifyResourceValidity(valid.resource).ok());
  }
  for (const auto& invalid : {Of("nope", {}, kRam, 0), Gpu(2, 0)}) {
    EXPECT_EQ(util_.VerifyResourceValidity(invalid.resource).canonical(),
              StatusCode::kInvalidArgument);
  }
}

TEST_F(ResourceUtilConformance, RU_03_NormalizeDropsZerosBindsAndKeepsOrder) {
  EXPECT_EQ(util_.Normalize(ResourceAllocation{}), ResourceAllocation{});
  EXPECT_EQ(util_.Normalize(Allocation({Gpu(0, 0), AnyMain(8), AnyGpu(4)})),
            Allocation({Main(8), AnyGpu(4)}));
}

TEST_F(ResourceUtilConformance, RU_04_IsNormalized) {
  for (const ResourceAllocation& normalized :
       Allocations{{}, {{AnyGpu(8)}}, {{Gpu(0, 8)}}, {{Main(8)}}}) {
    EXPECT_TRUE(util_.IsNormalized(normalized)) << normalized.ToString();
  }
  for (const ResourceAllocation& other :
       Allocations{{{Main(0)}}, {{Main(8), AnyGpu(0)}}, {{AnyMain(8)}}}) {
    EXPECT_FALSE(util_.IsNormalized(other)) << other.ToString();
  }
}

TEST_F(ResourceUtilConformance, RU_05_IsBound) {
  for (const ResourceAllocation& bound :
       Allocations{{}, {{Gpu(0, 8)}}, {{Main(8), Gpu(1, 4)}}}) {
    EXPECT_TRUE(util_.IsBound(bound)) << bound.ToString();
  }
  for (const ResourceAllocation& unbound :
       Allocations{{{AnyGpu(8)}}, {{AnyGpu(8), Main(4)}}}) {
    EXPECT_FALSE(util_.IsBound(unbound)) << unbound.ToString();
  }
}

TEST_F(ResourceUtilConformance, RU_06_CreateBoundResource) {
  EXPECT_EQ(ResourceUtil::CreateBoundResource(kGpu, kRam, 2),
            (Resource{kGpu, 2, kRam}));
  EXPECT_EQ(ResourceUtil::CreateBoundResource(kGpu, kRam),
            (Resource{kGpu, 0, kRam}));
}

TEST_F(ResourceUtilConformance, RU_07_GetQuantity) {
  const ResourceAllocation a = {{Main(32), Gpu(1, 100, kProcessing)}};
  EXPECT_EQ(util_.GetQuantity(AnyMain(0).resource, a), 32u);
  EXPECT_EQ(util_.GetQuantity(Main(0).resource, a), 32u);
  EXPECT_EQ(util_.GetQuantity(Gpu(1, 0, kProcessing).resource, a), 100u);
  EXPECT_EQ(util_.GetQuantity(Gpu(1, 0).resource, a), 0u);
}

TEST_F(ResourceUtilConformance, RU_08_SetQuantityKeepsTheSpellingOrAppends) {
  ResourceAllocation a = {{AnyMain(8), Gpu(1, 4)}};
  ASSERT_TRUE(util_.SetQuantity(Main(0).resource, 16, &a).ok());
  ASSERT_TRUE(util_.SetQuantity(AnyGpu(0).resource, 2, &a).ok());
  EXPECT_EQ(a, Allocation({AnyMain(16), Gpu(1, 4), AnyGpu(2)}));
}

TEST_F(ResourceUtilConformance, RU_09_AddEmpty) {
  EXPECT_EQ(Sum({}, {}), ResourceAllocation{});
}

TEST_F(ResourceUtilConformance, RU_10_Add) {
  EXPECT_EQ(Sum({{Main(100, kProcessing), Main(8)}},
                {{Main(300, kProcessing), AnyGpu(4)}}),
            Allocation({Main(400, kProcessing), Main(8), AnyGpu(4)}));
}

TEST_F(ResourceUtilConformance, RU_11_AddKeepsBoundAndUnboundApart) {
  EXPECT_EQ(
      Sum({{AnyGpu(8), Gpu(0, 4)}}, {{AnyGpu(16), Gpu(0, 2), Gpu(1, 12)}}),
      Allocation({AnyGpu(24), Gpu(0, 6), Gpu(1, 12)}));
}

TEST_F(ResourceUtilConformance, RU_12_SubtractEmpty) {
  EXPECT_EQ(Difference({}, {}), ResourceAllocation{});
}

TEST_F(ResourceUtilConformance, RU_13_Subtract) {
  EXPECT_EQ(Difference({{Main(300, kProcessing), Main(8), AnyGpu(16)}},
                       {{Main(100, kProcessing), Main(4)}}),
            Allocation({Main(200, kProcessing), Main(4), AnyGpu(16)}));
}

TEST_F(ResourceUtilConformance, RU_14_SubtractBelowZeroChangesNothing) {
  ResourceAllocation base = {{Main(100, kProcessing), Main(8)}};
  const ResourceAllocation before = base;
  EXPECT_FALSE(util_.Subtract({{Main(50, kProcessing), Main(9)}}, &base).ok());
  EXPECT_EQ(base, before);
  EXPECT_FALSE(util_.Subtract({{AnyGpu(1)}}, &base).ok());
  EXPECT_EQ(base, before);
}

TEST_F(ResourceUtilConformance, RU_15_SubtractAllLeavesNothing) {
  const ResourceAllocation a = {{Main(100, kProcessing)}};
  EXPECT_EQ(Difference(a, a), ResourceAllocation{});
}

TEST_F(ResourceUtilConformance, RU_16_SubtractKeepsBoundAndUnboundApart) {
  EXPECT_EQ(Difference({{AnyGpu(16), Gpu(0, 4), Gpu(1, 12)}},
                       {{AnyGpu(8), Gpu(0, 2)}}),
            Allocation({AnyGpu(8), Gpu(0, 2), Gpu(1, 12)}));
}

TEST_F(ResourceUtilConformance, RU_17_MultiplyEmpty) {
  ResourceAllocation a;
  EXPECT_TRUE(util_.Multiply(2, &a).ok());
  EXPECT_EQ(a, ResourceAllocation{});
}

TEST_F(ResourceUtilConformance, RU_18_Multiply) {
  ResourceAllocation a = {{Main(300, kProcessing), Main(8), AnyGpu(16)}};
  EXPECT_TRUE(util_.Multiply(2, &a).ok());
  EXPECT_EQ(a, Allocation({Main(600, kProcessing), Main(16), AnyGpu(32)}));
}

TEST_F(ResourceUtilConformance, RU_19_EqualIsIdentityOnDifferentValues) {
  const Allocations values = {{},
                              {{Main(8)}},
                              {{AnyGpu(8)}},
                              {{Gpu(0, 8)}},
                              {{Gpu(1, 8)}},
                              {{Gpu(1, 8), AnyGpu(8)}}};
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t j = 0; j < values.size(); ++j) {
      EXPECT_EQ(util_.Equal(values[i], values[j]), i == j) << i << " " << j;
    }
  }
}

TEST_F(ResourceUtilConformance, RU_20_EqualIsOrderInsensitive) {
  EXPECT_TRUE(util_.Equal({{Main(8), Gpu(0, 4)}}, {{Gpu(0, 4), Main(8)}}));
}

TEST_F(ResourceUtilConformance, RU_21_ResourcesEqual) {
  EXPECT_TRUE(util_.ResourcesEqual(AnyMain(0).resource, Main(0).resource));
  EXPECT_FALSE(util_.ResourcesEqual(AnyGpu(0).resource, Gpu(0, 0).resource));
  EXPECT_FALSE(util_.ResourcesEqual(Gpu(0, 0).resource, Gpu(1, 0).resource));
  EXPECT_FALSE(
      util_.ResourcesEqual(Main(0).resource, Main(0, kProcessing).resource));
}

TEST_F(ResourceUtilConformance, RU_22_LessThanOrEqualEmpty) {
  EXPECT_TRUE(util_.LessThanOrEqual({}, {}));
}

TEST_F(ResourceUtilConformance, RU_23_LessThanOrEqualOneEntry) {
  EXPECT_TRUE(util_.LessThanOrEqual({{Gpu(1, 10)}}, {{Gpu(1, 20)}}));
  EXPECT_TRUE(util_.LessThanOrEqual({{Gpu(1, 10)}}, {{Gpu(1, 10)}}));
  EXPECT_FALSE(util_.LessThanOrEqual({{Gpu(1, 20)}}, {{Gpu(1, 10)}}));
}

TEST_F(ResourceUtilConformance, RU_24_LessThanOrEqualTwoEntries) {
  const ResourceAllocation larger = {{Main(10, kProcessing), Main(4)}};
  const ResourceAllocation smaller = {{Main(5, kProcessing), Main(4)}};
  EXPECT_FALSE(util_.LessThanOrEqual(larger, smaller));
  EXPECT_TRUE(util_.LessThanOrEqual(smaller, larger));
}

TEST_F(ResourceUtilConformance, RU_25_AMissingEntryIsZero) {
  EXPECT_FALSE(util_.LessThanOrEqual({{Main(10, kProcessing), Main(4)}},
                                     {{Main(10, kProcessing)}}));
}

TEST_F(ResourceUtilConformance, RU_26_LessThanOrEqualWithUnboundEntries) {
  const ResourceAllocation base = {
      {Main(1000, kProcessing), Gpu(0, 100, kProcessing),
       Gpu(1, 50, kProcessing), Gpu(0, 2), Gpu(1, 4)}};
  for (const ResourceAllocation& fits :
       Allocations{{},
                   {{AnyMain(100, kProcessing), AnyGpu(4)}},
                   {{AnyGpu(4)}},
                   {{Gpu(0, 100, kProcessing), AnyGpu(4)}},
                   {{AnyGpu(50, kProcessing), AnyGpu(4)}},
                   {{Gpu(0, 90, kProcessing), Gpu(1, 40, kProcessing),
                     AnyGpu(10, kProcessing)}}}) {
    EXPECT_TRUE(util_.LessThanOrEqual(fits, base)) << fits.ToString();
  }
  for (const ResourceAllocation& too_much :
       Allocations{{{AnyGpu(5)}},
                   {{AnyGpu(101, kProcessing), AnyGpu(4)}},
                   {{AnyGpu(50, kProcessing), AnyGpu(5)}},
                   {{Gpu(0, 90, kProcessing), Gpu(1, 40, kProcessing),
                     AnyGpu(20, kProcessing)}}}) {
    EXPECT_FALSE(util_.LessThanOrEqual(too_much, base)) << too_much.ToString();
  }
}

TEST_F(ResourceUtilConformance, RU_27_Overbind) {
  EXPECT_EQ(Overbound({}), ResourceAllocation{});
  const ResourceAllocation bound = {{Main(8), Gpu(1, 4)}};
  EXPECT_EQ(Overbound(bound), bound);
  EXPECT_TRUE(util_.Equal(Overbound({{AnyGpu(4), Gpu(1, 100, kProcessing)}}),
                          {{Gpu(0, 4), Gpu(1, 4), Gpu(1, 100, kProcessing)}}));
  EXPECT_TRUE(util_.Equal(Overbound({{AnyGpu(4), Gpu(1, 2)}}),
                          {{Gpu(0, 4), Gpu(1, 6)}}));
}

TEST_F(ResourceUtilConformance, RU_28_MaxEmpty) {
  EXPECT_EQ(Max({}, {}), ResourceAllocation{});
}

TEST_F(ResourceUtilConformance, RU_29_MaxKeepsUnpairedEntries) {
  EXPECT_EQ(Max({{Main(100, kProcessing), Main(8)}},
                {{Main(300, kProcessing), Gpu(0, 4)}}),
            Allocation({Main(300, kProcessing), Gpu(0, 4), Main(8)}));
}

TEST_F(ResourceUtilConformance, RU_30_MaxKeepsBoundAndUnboundApart) {
  EXPECT_EQ(Max({{Main(100, kProcessing), AnyGpu(8)}},
                {{Main(300, kProcessing), Gpu(0, 4)}}),
            Allocation({Main(300, kProcessing), Gpu(0, 4), AnyGpu(8)}));
}

TEST_F(ResourceUtilConformance, RU_31_MaxNormalizes) {
  EXPECT_EQ(Max({{AnyMain(100, kProcessing), AnyMain(8)}},
                {{AnyMain(300, kProcessing)}}),
            Allocation({Main(300, kProcessing), Main(8)}));
}

TEST_F(ResourceUtilConformance, RU_32_MinEmpty) {
  EXPECT_EQ(Min({}, {}), ResourceAllocation{});
}

TEST_F(ResourceUtilConformance, RU_33_MinDropsUnpairedEntries) {
  EXPECT_EQ(Min({{Main(100, kProcessing), Main(8)}},
                {{Main(300, kProcessing), Gpu(0, 4)}}),
            Allocation({Main(100, kProcessing)}));
}

TEST_F(ResourceUtilConformance, RU_34_MinKeepsBoundAndUnboundApart) {
  EXPECT_EQ(Min({{AnyGpu(8), Main(2)}}, {{Gpu(0, 4), Main(3)}}),
            Allocation({Main(2)}));
}

TEST_F(ResourceUtilConformance, RU_35_MinNormalizes) {
  EXPECT_EQ(Min({{AnyMain(100, kProcessing), AnyMain(8)}},
                {{Main(300, kProcessing), AnyMain(2)}}),
            Allocation({Main(100, kProcessing), Main(2)}));
}

TEST_F(ResourceUtilConformance, RU_36_VerifyOverrideDeviceValidity) {
  const ResourceAllocation base = {
      {Main(100, kProcessing), Main(8), Of("tpu", 0, "hbm_in_bytes", 4)}};
  EXPECT_TRUE(
      util_
          .VerifyOverrideDeviceValidity(
              base, {{Main(7, kProcessing), Of("tpu", 1, "hbm_in_bytes", 9)}})
          .ok());
  EXPECT_EQ(util_.VerifyOverrideDeviceValidity(base, {{Gpu(0, 1)}}).canonical(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace aspired
