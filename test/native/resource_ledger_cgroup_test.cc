// What the ledger makes of the cgroup of the process: counted like the RSS,
// beside it.
#include <gtest/gtest.h>

#include <optional>

#include "core/resource_ledger.h"
#include "native/test_util/allocations.h"

namespace aspired {
namespace {

using test::Allocation;
using test::Main;

constexpr uint64_t kSelf = 1000;

class ResourceLedgerCgroupTest : public ::testing::Test {
 protected:
  ResourceAccount Reserved(uint64_t bytes) {
    ResourceAccount account;
    account.estimated = account.requested = Allocation({Main(bytes)});
    EXPECT_TRUE(ledger_.Reserve(&account));
    return account;
  }
  // The RSS, and what cgroup 1 is charged of which `cache` is page cache.
  static SelfMemory Self(uint64_t rss, uint64_t charged, uint64_t cache = 0,
                         bool alone = true) {
    SelfMemory self(rss);
    self.cgroup = CgroupCharge{1, charged, charged - cache, alone};
    return self;
  }

  ResourceLedger ledger_{Allocation({Main(100)})};
};

TEST_F(ResourceLedgerCgroupTest, ALoadIsMeasuredByWhatItsCgroupIsChargedMore) {
  auto a = Reserved(40);
  ledger_.BeginLoad(&a, Self(kSelf, 5000));
  ledger_.EndLoad(&a, Self(kSelf + 3, 5050, 20));
  ASSERT_TRUE(a.charged);
  EXPECT_EQ(a.measured[0], 3);
  EXPECT_EQ(a.charged->charged, 50);
  EXPECT_EQ(a.charged->kept, 30);
  EXPECT_EQ(a.MainMemoryTaken(), 30) << "page cache is no reason to ask for it";
  EXPECT_EQ(ledger_.devices()[0].measured, 3) << "the books are of the RSS";
  ledger_.BeginUnload(&a, Self(kSelf + 3, 5060, 20));
  ledger_.EndUnload(&a, Self(kSelf, 5020, 20));
  EXPECT_EQ(a.charged->charged, 10);
  EXPECT_EQ(a.charged->kept, 0) << "no more than was counted";
  ledger_.Release(&a);
  EXPECT_FALSE(a.charged);
}

TEST_F(ResourceLedgerCgroupTest, LoadsThatOverlapShareByTheirReservations) {
  auto a = Reserved(30);
  auto b = Reserved(10);
  ledger_.BeginLoad(&a, Self(kSelf, 100));
  ledger_.BeginLoad(&b, Self(kSelf, 108));
  ledger_.EndLoad(&b, Self(kSelf, 108 + 4200, 420));
  ledger_.EndLoad(&a, Self(kSelf, 108 + 4200 + 2, 420));
  EXPECT_EQ(a.charged->charged, 8 + 3100 + 2);
  EXPECT_EQ(b.charged->charged, 1100);
  EXPECT_EQ(b.charged->kept, 990);
  EXPECT_TRUE(a.measured.empty() || a.measured[0] == 0);
}

TEST_F(ResourceLedgerCgroupTest, TheRssCountsWhereItIsMore) {
  auto a = Reserved(40);
  ledger_.BeginLoad(&a, Self(kSelf, 5000));
  ledger_.EndLoad(&a, Self(kSelf + 30, 5010));
  EXPECT_EQ(a.MainMemoryTaken(), 30) << "pages that another cgroup pays for";
}

TEST_F(ResourceLedgerCgroupTest, WhereOthersAreTheCgroupSaysNothingForSure) {
  for (const bool at_begin : {false, true}) {
    auto a = Reserved(40);
    ledger_.BeginLoad(&a, Self(kSelf, 5000, 0, at_begin));
    ledger_.EndLoad(&a, Self(kSelf + 3, 5050, 0, !at_begin));
    EXPECT_EQ(a.charged->charged, 50);
    EXPECT_EQ(a.MainMemoryTaken(), 3);
    ledger_.Release(&a);
    ledger_.BeginLoad(&a, Self(kSelf, 5000));
    ledger_.Release(&a);
  }
}

TEST_F(ResourceLedgerCgroupTest, NothingIsCountedAcrossAMoveToAnotherCgroup) {
  auto a = Reserved(40);
  ledger_.BeginLoad(&a, Self(kSelf, 5000));
  SelfMemory moved = Self(kSelf + 3, 90000);
  moved.cgroup->cgroup = 2;
  ledger_.EndLoad(&a, moved);
  EXPECT_FALSE(a.charged);
  EXPECT_EQ(a.MainMemoryTaken(), 3);
  auto b = Reserved(40);
  ledger_.BeginLoad(&b, moved);
  moved.cgroup->charged += 7;
  ledger_.EndLoad(&b, moved);
  EXPECT_EQ(b.charged->charged, 7);
}

TEST_F(ResourceLedgerCgroupTest, WithoutACgroupThereIsNoFigure) {
  auto a = Reserved(40);
  ledger_.BeginLoad(&a, kSelf);
  ledger_.EndLoad(&a, kSelf + 3);
  EXPECT_FALSE(a.charged);
  auto b = Reserved(40);
  ledger_.BeginLoad(&b, Self(kSelf, 10));
  ledger_.EndLoad(&b, kSelf + 3);
  EXPECT_FALSE(b.charged) << "it could not be read at the end";
}

TEST_F(ResourceLedgerCgroupTest, AFailedAttemptIsForgotten) {
  auto a = Reserved(40);
  ledger_.BeginLoad(&a, Self(kSelf, 10));
  ledger_.EndLoad(&a, Self(kSelf, 50));
  ledger_.ForgetMeasured(&a);
  EXPECT_FALSE(a.charged);
  EXPECT_EQ(a.MainMemoryTaken(), 0);
}

}  // namespace
}  // namespace aspired
