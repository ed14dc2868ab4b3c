// Cases RT: the tracker. Its inputs are estimates, so "Load and Unload are
// never called" holds by type.
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "native/test_util/allocations.h"
#include "resources/resource_tracker.h"

namespace aspired {
namespace {

using test::Allocation;
using test::AnyGpu;
using test::AnyMain;
using test::Gpu;
using test::Main;

class ResourceTrackerConformance : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(ResourceTracker::Create(total_, util_, &tracker_).ok());
  }

  void Use(std::vector<ResourceAllocation> estimates) {
    ASSERT_TRUE(tracker_->RecomputeUsedResources(estimates).ok());
  }
  bool Reserve(const ResourceAllocation& estimate) {
    bool success = false;
    EXPECT_TRUE(tracker_->ReserveResources(estimate, &success).ok());
    return success;
  }
  void ExpectUsed(const ResourceAllocation& expected) {
    EXPECT_TRUE(util_->Equal(tracker_->used(), expected))
        << tracker_->used().ToString();
    EXPECT_EQ(tracker_->total(), total_);
  }

  const std::shared_ptr<const ResourceUtil> util_ =
      std::make_shared<ResourceUtil>(test::MainAndTwoGpus());
  const ResourceAllocation total_ = {{Main(16), Gpu(0, 16), Gpu(1, 16)}};
  const ResourceAllocation l0_ = {{Main(1), Gpu(0, 3)}};
  const ResourceAllocation l1_ = {{Main(5), Gpu(0, 7)}};
  const ResourceAllocation l2_ = {{Main(15)}};
  const ResourceAllocation l3_ = {{AnyGpu(12)}};
  const ResourceAllocation bad_ = {{test::Of("no_such_device", 0, kRam, 4)}};
  std::unique_ptr<ResourceTracker> tracker_;
};

TEST_F(ResourceTrackerConformance, RT_01_AnUnboundTotalIsRefused) {
  std::unique_ptr<ResourceTracker> tracker;
  const Status status =
      ResourceTracker::Create(Allocation({AnyGpu(12)}), util_, &tracker);
  EXPECT_EQ(status.canonical(), StatusCode::kInvalidArgument);
  EXPECT_EQ(tracker, nullptr);
}

TEST_F(ResourceTrackerConformance, RT_02_ATotalIsNormalized) {
  std::unique_ptr<ResourceTracker> tracker;
  ASSERT_TRUE(
      ResourceTracker::Create(Allocation({AnyMain(12)}), util_, &tracker).ok());
  EXPECT_EQ(tracker->total(), Allocation({Main(12)}));
}

TEST_F(ResourceTrackerConformance, RT_03_RecomputeStartsFromNothing) {
  ExpectUsed({});
  Use({l0_, l1_, l3_});
  ExpectUsed({{Main(6), Gpu(0, 10), AnyGpu(12)}});
  Use({l0_});
  ExpectUsed(l0_);
}

TEST_F(ResourceTrackerConformance, RT_04_WhatFitsIsReserved) {
  Use({l0_});
  EXPECT_TRUE(Reserve(l2_));
  ExpectUsed({{Main(16), Gpu(0, 3)}});
}

TEST_F(ResourceTrackerConformance, RT_05_WhatDoesNotFitIsNoError) {
  Use({l1_});
  EXPECT_FALSE(Reserve(l2_));
  ExpectUsed(l1_);
}

TEST_F(ResourceTrackerConformance, RT_06_ABoundOneFitsBesideAnUnboundOne) {
  Use({l3_});
  EXPECT_TRUE(Reserve(l0_));
  ExpectUsed({{AnyGpu(12), Main(1), Gpu(0, 3)}});
}

TEST_F(ResourceTrackerConformance, RT_07_AnUnboundOneCountsOnEveryInstance) {
  Use({l3_});
  EXPECT_FALSE(Reserve(l1_));
  ExpectUsed(l3_);
  EXPECT_FALSE(Reserve(l3_));
  ExpectUsed(l3_);
}

TEST_F(ResourceTrackerConformance, RT_08_AnInvalidEstimateIsAnError) {
  Use({l1_});
  bool success = true;
  EXPECT_EQ(tracker_->ReserveResources(bad_, &success).canonical(),
            StatusCode::kInvalidArgument);
  EXPECT_FALSE(success);
  EXPECT_EQ(tracker_->RecomputeUsedResources({l0_, bad_}).canonical(),
            StatusCode::kInvalidArgument);
  ExpectUsed(l1_);  // There it would be partly filled.
}

}  // namespace
}  // namespace aspired
