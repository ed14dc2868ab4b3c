#include "core/resource_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "native/test_util/allocations.h"

namespace aspired {
namespace {

using test::Allocation;
using test::AnyCuda;
using test::AnyMain;
using test::Cuda;
using test::Main;
using Phase = ResourceAccount::Phase;
using ::testing::HasSubstr;

const Status kLost(ErrorCode::kInternal, "GPU 0 has fallen off the bus");
constexpr uint64_t kSelf = 1000;  // RAM of this process
// No resident came after that.
constexpr uint64_t kNobody = std::numeric_limits<uint64_t>::max();

DeviceReading Reading(uint64_t total, uint64_t used) {
  DeviceReading reading;
  reading.total = total;
  reading.used = used;
  return reading;
}
DeviceReading Lost() {
  DeviceReading reading;
  reading.status = kLost;
  return reading;
}

// 100 of main memory and two GPUs of 50.
class ResourceLedgerTest : public ::testing::Test {
 protected:
  ResourceAccount Wants(std::vector<test::Entry> entries) {
    ResourceAccount account;
    account.estimated = ledger_.util().Normalize(Allocation(entries));
    account.requested = account.estimated;
    return account;
  }
  bool Fits(std::vector<test::Entry> entries) {
    return ledger_.Fits(ledger_.util().Normalize(Allocation(entries)));
  }
  const ResourceLedger::Device& At(size_t device) {
    return ledger_.devices()[device];
  }
  void ExpectBaseline() {
    for (const auto& device : ledger_.devices()) {
      EXPECT_EQ(device.reserved, 0u);
      EXPECT_EQ(device.measured, 0);
      EXPECT_EQ(device.outstanding, 0u);
      EXPECT_EQ(device.transit, 0u);
    }
    EXPECT_TRUE(ledger_.leaving().empty());
    EXPECT_FALSE(ledger_.wants_reading());
  }

  ResourceLedger ledger_{Allocation({Main(100), Cuda(0, 50), Cuda(1, 50)})};
};

TEST_F(ResourceLedgerTest, AnEstimateOfOtherDevicesIsInvalid) {
  EXPECT_TRUE(ledger_.Verify(Allocation({AnyMain(1), AnyCuda(1)})).ok());
  EXPECT_TRUE(ledger_.Verify({}).ok());
  for (const auto& entry : {Cuda(2, 1), test::AnyGpu(1), Main(1, "slots"),
                            test::Of(kMain, 1, kRam, 1)}) {
    EXPECT_EQ(ledger_.Verify(Allocation({entry})).code(),
              ErrorCode::kInvalidEstimate)
        << entry.resource.ToString();
  }
  EXPECT_FALSE(ledger_.Verify(Allocation({Main(1), Main(1)})).ok());
}

TEST_F(ResourceLedgerTest, AReservationIsTakenAndGivenBack) {
  auto a = Wants({AnyMain(60), Cuda(1, 20)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  EXPECT_EQ(a.reserved, Allocation({Main(60), Cuda(1, 20)}));
  EXPECT_EQ(a.phase, Phase::kLoading);
  EXPECT_EQ(At(0).reserved, 60u);
  EXPECT_EQ(At(0).transit, 60u);
  EXPECT_EQ(At(0).outstanding, 60u);
  EXPECT_EQ(At(2).reserved, 20u);
  EXPECT_EQ(ledger_.AvailableOn(0), 40u);
  EXPECT_TRUE(Fits({Main(40)}));
  EXPECT_FALSE(Fits({Main(41)}));
  auto b = Wants({Main(41)});
  EXPECT_FALSE(ledger_.Reserve(&b));
  EXPECT_TRUE(b.reserved.empty());
  ledger_.SetPhase(&a, Phase::kResident);
  EXPECT_EQ(At(0).transit, 0u);
  ledger_.SetPhase(&a, Phase::kLeaving);
  EXPECT_EQ(ledger_.leaving(), a.reserved);
  EXPECT_EQ(At(0).transit, 60u);
  ledger_.Release(&a);
  EXPECT_EQ(a.phase, Phase::kIdle);
  ExpectBaseline();
  ledger_.Release(&a);  // what holds nothing gives nothing
  ExpectBaseline();
}

TEST_F(ResourceLedgerTest, AnUnboundEstimateIsPlacedOnOneInstance) {
  auto a = Wants({AnyCuda(30)});
  auto b = Wants({AnyCuda(30)});
  auto c = Wants({AnyCuda(30)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ASSERT_TRUE(ledger_.Reserve(&b));
  EXPECT_EQ(a.reserved, Allocation({Cuda(0, 30)}));
  EXPECT_EQ(b.reserved, Allocation({Cuda(1, 30)}));
  EXPECT_FALSE(ledger_.Reserve(&c)) << "20 on each are not 30 on one";
  ledger_.Release(&a);
  ASSERT_TRUE(ledger_.Reserve(&c));
  EXPECT_EQ(c.reserved, Allocation({Cuda(0, 30)}));
}

TEST_F(ResourceLedgerTest, FreedMemoryCountsOnlyWhereItIs) {
  auto a = Wants({Cuda(0, 50)});
  auto b = Wants({Cuda(1, 50)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ASSERT_TRUE(ledger_.Reserve(&b));
  EXPECT_FALSE(Fits({AnyCuda(10)}));
  EXPECT_TRUE(ledger_.Fits(Allocation({AnyCuda(50)}), a.reserved));
  EXPECT_FALSE(ledger_.Fits(Allocation({Cuda(1, 50)}), a.reserved));
  EXPECT_TRUE(ledger_.FitsAtRest(Allocation({AnyCuda(50)}), kNobody));
  ledger_.SetPhase(&a, Phase::kResident);
  ledger_.SetPhase(&b, Phase::kResident);
  EXPECT_FALSE(ledger_.FitsAtRest(Allocation({AnyCuda(50)}), kNobody));
}

TEST_F(ResourceLedgerTest, AtRestNewcomersAreGoneAndOlderResidentsAreNot) {
  auto old = Wants({Main(20)});
  auto young = Wants({Main(30)});
  auto loading = Wants({Main(10)});
  for (auto* account : {&old, &young, &loading}) {
    account->resident_since = ledger_.NextResidency();
    ASSERT_TRUE(ledger_.Reserve(account));
  }
  ledger_.SetPhase(&old, Phase::kResident);
  ledger_.SetPhase(&young, Phase::kResident);
  const auto most = [this](uint64_t since) {
    uint64_t bytes = 100;
    while (!ledger_.FitsAtRest(Allocation({Main(bytes)}), since)) --bytes;
    return bytes;
  };
  EXPECT_EQ(most(kNobody), 50u);
  EXPECT_EQ(most(young.resident_since), 80u);
  EXPECT_EQ(most(old.resident_since), 100u);
  EXPECT_EQ(most(young.resident_since), 80u);
  ledger_.SetPhase(&loading, Phase::kResident);
  EXPECT_EQ(most(young.resident_since), 80u) << "it is younger still";
  EXPECT_EQ(most(loading.resident_since), 50u);
  ledger_.SetPhase(&young, Phase::kLeaving);
  EXPECT_EQ(most(loading.resident_since), 80u);
  EXPECT_EQ(most(young.resident_since), 80u);
  for (auto* account : {&old, &young, &loading}) ledger_.Release(account);
  EXPECT_EQ(most(young.resident_since), 100u);
  ExpectBaseline();
  EXPECT_EQ(At(0).newcomers, 0u);
}

TEST_F(ResourceLedgerTest, AtRestWhatNewcomersTookBeyondTheirShareIsBackToo) {
  auto young = Wants({Main(30)});
  young.resident_since = ledger_.NextResidency();
  ASSERT_TRUE(ledger_.Reserve(&young));
  ledger_.BeginLoad(&young, kSelf);
  ledger_.EndLoad(&young, kSelf + 45);
  ledger_.SetPhase(&young, Phase::kResident);
  ledger_.Observe({Reading(100, 45), Reading(50, 0), Reading(50, 0)});
  EXPECT_FALSE(ledger_.FitsAtRest(Allocation({Main(60)}), kNobody));
  EXPECT_TRUE(ledger_.FitsAtRest(Allocation({Main(100)}), 0));
  // Measured later, as device memory is.
  ledger_.BeginLoad(&young, kSelf + 45);
  ledger_.EndLoad(&young, kSelf + 50);
  ledger_.Observe({Reading(100, 50), Reading(50, 0), Reading(50, 0)});
  EXPECT_TRUE(ledger_.FitsAtRest(Allocation({Main(100)}), 0));
  EXPECT_EQ(At(0).newcomers_excess, 20u);
  ledger_.Release(&young);
  EXPECT_EQ(At(0).newcomers_excess, 0u);
}

TEST_F(ResourceLedgerTest, NeverIsMoreThanTheLimitOrTheDevice) {
  const auto big = Allocation({Main(80)});
  EXPECT_EQ(ledger_.NeverFits(big), "");
  EXPECT_THAT(ledger_.NeverFits(Allocation({Main(101)})),
              HasSubstr("needs 101, has 100 (1 short)"));
  ledger_.Observe({Reading(90, 85), Reading(50, 0), Reading(50, 0)});
  EXPECT_EQ(ledger_.NeverFits(big), "") << "what is used may come back";
  ledger_.Observe({Reading(70, 0), Reading(50, 0), Reading(50, 0)});
  EXPECT_NE(ledger_.NeverFits(big), "") << "the machine has less";
  ledger_.Observe({Reading(200, 0), Lost(), Reading(50, 0)});
  EXPECT_EQ(ledger_.NeverFits(Allocation({Cuda(0, 50)})), "")
      << "a lost device may come back";
  ledger_.SetLimits({79, 50, 50});
  EXPECT_NE(ledger_.NeverFits(big), "");
}

TEST_F(ResourceLedgerTest, AShortageTellsTheArithmetic) {
  auto a = Wants({Main(70)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.Observe({Reading(120, 30), Reading(50, 5), Lost()});
  const std::string text = ledger_.Shortage(Allocation({Main(50)}));
  EXPECT_THAT(text, HasSubstr("needs 50, has 20 (30 short)"));
  EXPECT_THAT(text, HasSubstr("limit 100, reserved 70, in use by all 30 of "
                              "120, promised and not used 70"));
  EXPECT_EQ(text.find("cuda"), std::string::npos) << "not asked for: " << text;
  EXPECT_EQ(ledger_.Shortage(Allocation({Main(20)})), "");
  EXPECT_THAT(ledger_.Shortage(Allocation({AnyCuda(60)})),
              HasSubstr("fallen off the bus"));
}

TEST_F(ResourceLedgerTest, WhatOthersUseIsNotGivenAway) {
  ledger_.Observe({Reading(100, 70), Reading(50, 0), Reading(50, 0)});
  EXPECT_EQ(ledger_.AvailableOn(0), 30u);
  auto a = Wants({Main(20)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  EXPECT_EQ(ledger_.AvailableOn(0), 10u) << "promised, and not used yet";
  // Used more than there is, for a moment.
  ledger_.Observe({Reading(100, 130), Reading(50, 0), Reading(50, 0)});
  EXPECT_EQ(ledger_.AvailableOn(0), 0u);
}

TEST_F(ResourceLedgerTest, ALostDeviceHasNothing) {
  ledger_.Observe({Reading(100, 0), Lost(), Reading(50, 0)});
  EXPECT_EQ(ledger_.AvailableOn(1), 0u);
  auto a = Wants({AnyCuda(10)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  EXPECT_EQ(a.reserved, Allocation({Cuda(1, 10)}));
  EXPECT_TRUE(ledger_.Observe({Reading(100, 0), Reading(50, 0), Lost()}))
      << "one is back";
  EXPECT_EQ(ledger_.AvailableOn(1), 50u);
}

TEST_F(ResourceLedgerTest, LoweredLimitsTakeNothingBack) {
  auto a = Wants({Main(80)});
  auto b = Wants({Main(10)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.SetLimits({50, 50, 50});
  EXPECT_EQ(At(0).reserved, 80u);
  EXPECT_EQ(ledger_.AvailableOn(0), 0u);
  EXPECT_FALSE(ledger_.Reserve(&b));
  EXPECT_TRUE(ledger_.Fits(Allocation({Main(50)}), a.reserved))
      << "50 once it is gone";
  EXPECT_FALSE(ledger_.Fits(Allocation({Main(51)}), a.reserved));
  ledger_.SetLimits({90, 50, 50});
  EXPECT_TRUE(ledger_.Reserve(&b));
}

TEST_F(ResourceLedgerTest, WithoutALimitSumsDoNotOverflow) {
  ResourceLedger ledger(Allocation({Main(UINT64_MAX)}));
  ResourceAccount a, b;
  a.requested = b.requested = Allocation({Main(UINT64_MAX - 5)});
  ASSERT_TRUE(ledger.Reserve(&a));
  EXPECT_FALSE(ledger.Reserve(&b));
  EXPECT_EQ(ledger.AvailableOn(0), 5u);
  EXPECT_TRUE(ledger.Fits(b.requested, a.reserved));
  EXPECT_TRUE(ledger.FitsAtRest(b.requested, kNobody));
}

TEST_F(ResourceLedgerTest, ObserveTellsWhenMoreMayFit) {
  const auto read = [this](uint64_t total, uint64_t used) {
    return ledger_.Observe(
        {Reading(total, used), Reading(50, 0), Reading(50, 0)});
  };
  EXPECT_TRUE(read(100, 10)) << "the first one";
  EXPECT_FALSE(read(100, 10));
  EXPECT_FALSE(read(100, 20));
  EXPECT_TRUE(read(100, 19));
  EXPECT_TRUE(read(90, 19)) << "what fits no more must end";
  ledger_.SetLimits({50, 50, 50});
  EXPECT_FALSE(read(90, 9)) << "the limit binds";
}

// ---------------------------------------------------------------- measurement

TEST_F(ResourceLedgerTest, ALoadIsMeasuredByWhatTheProcessGrew) {
  auto a = Wants({Main(40)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.BeginLoad(&a, kSelf);
  ledger_.EndLoad(&a, kSelf + 25);
  ledger_.SetPhase(&a, Phase::kResident);
  EXPECT_EQ(a.measured, (std::vector<int64_t>{25, 0, 0}));
  EXPECT_TRUE(a.exclusive);
  EXPECT_EQ(At(0).measured, 25);
  EXPECT_EQ(At(0).outstanding, 15u);
  EXPECT_EQ(At(0).reserved, 40u);
  // The rest of the process grows.
  auto b = Wants({Main(10)});
  ASSERT_TRUE(ledger_.Reserve(&b));
  ledger_.BeginLoad(&b, kSelf + 500);
  ledger_.EndLoad(&b, kSelf + 530);
  EXPECT_EQ(b.measured[0], 30) << "more than it was given";
  EXPECT_EQ(At(0).outstanding, 15u);
  ledger_.BeginUnload(&a, kSelf + 530);
  ledger_.EndUnload(&a, kSelf + 505);
  EXPECT_EQ(a.measured[0], 0);
  ledger_.Release(&a);
  ledger_.Release(&b);
  ExpectBaseline();
}

TEST_F(ResourceLedgerTest, LoadsThatOverlapShareByTheirReservations) {
  auto a = Wants({Main(30)});
  auto b = Wants({Main(10)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ASSERT_TRUE(ledger_.Reserve(&b));
  ledger_.BeginLoad(&a, kSelf);
  ledger_.BeginLoad(&b, kSelf + 8);       // a's own
  ledger_.EndLoad(&b, kSelf + 8 + 4200);  // 31 to 11
  ledger_.EndLoad(&a, kSelf + 8 + 4200 + 2);
  EXPECT_EQ(a.measured[0], 8 + 3100 + 2);
  EXPECT_EQ(b.measured[0], 1100);
  EXPECT_FALSE(a.exclusive);
  EXPECT_FALSE(b.exclusive);
  EXPECT_EQ(At(0).measured, a.measured[0] + b.measured[0]);
}

TEST_F(ResourceLedgerTest, AnUnloadGivesBackWhatWasCountedAndNotMore) {
  auto a = Wants({Main(30)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.BeginLoad(&a, kSelf);
  ledger_.EndLoad(&a, kSelf + 20);
  auto b = Wants({Main(30)});
  ASSERT_TRUE(ledger_.Reserve(&b));
  ledger_.BeginUnload(&a, kSelf + 20);
  ledger_.BeginLoad(&b, kSelf + 20);
  EXPECT_FALSE(b.exclusive) << "an unload is under way";
  ledger_.EndUnload(&a, kSelf + 20 - 100);
  EXPECT_EQ(a.measured[0], 0);
  EXPECT_EQ(b.measured, std::vector<int64_t>()) << "shrinking is no load's";
  ledger_.EndLoad(&b, kSelf);
  EXPECT_EQ(b.measured[0], 80);
}

TEST_F(ResourceLedgerTest, AFailedAttemptIsForgotten) {
  auto a = Wants({Main(30)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.BeginLoad(&a, kSelf);
  ledger_.EndLoad(&a, kSelf + 20);
  ledger_.ForgetMeasured(&a);
  EXPECT_EQ(At(0).measured, 0);
  EXPECT_EQ(At(0).outstanding, 30u);
  EXPECT_EQ(At(0).reserved, 30u);
  ledger_.Release(&a);
  ExpectBaseline();
}

TEST_F(ResourceLedgerTest, ASystemThatSaysNothingLeavesNoLoadBehind) {
  auto a = Wants({Main(30)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.BeginLoad(&a, kSelf);
  ledger_.EndLoad(&a, 0);
  ledger_.SetPhase(&a, Phase::kResident);
  auto b = Wants({Main(30)});
  ASSERT_TRUE(ledger_.Reserve(&b));
  ledger_.BeginLoad(&b, kSelf);
  ledger_.EndLoad(&b, kSelf + 30);
  EXPECT_TRUE(a.measured.empty()) << "its load is long over";
  EXPECT_EQ(b.measured[0], 30);
  EXPECT_TRUE(b.exclusive);
}

TEST_F(ResourceLedgerTest, DeviceMemoryIsMeasuredByTheNextReading) {
  ledger_.Observe({Reading(100, 0), Reading(50, 7), Reading(50, 9)});
  auto a = Wants({Main(10), Cuda(0, 20)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.BeginLoad(&a, kSelf);
  ledger_.EndLoad(&a, kSelf + 10);
  ledger_.SetPhase(&a, Phase::kResident);
  EXPECT_TRUE(ledger_.wants_reading());
  // Of the other device it has nothing.
  ledger_.Observe({Reading(100, 10), Reading(50, 22), Reading(50, 30)});
  EXPECT_FALSE(ledger_.wants_reading());
  EXPECT_EQ(a.measured, (std::vector<int64_t>{10, 15, 0}));
  EXPECT_EQ(At(1).outstanding, 5u);
  EXPECT_EQ(ledger_.AvailableOn(1), 50u - 22u - 5u);
  ledger_.Observe({Reading(100, 10), Reading(50, 30), Reading(50, 30)});
  EXPECT_EQ(a.measured[1], 15) << "what came later is another's";
  ledger_.Release(&a);
  ExpectBaseline();
}

TEST_F(ResourceLedgerTest, OfADeviceTheProcesssOwnPartCountsWhereItIsKnown) {
  const auto read = [this](uint64_t used, uint64_t self) {
    DeviceReading gpu = Reading(50, used);
    gpu.self = self;
    ledger_.Observe({Reading(100, 0), gpu, Reading(50, 0)});
  };
  read(10, 3);
  auto a = Wants({Cuda(0, 20)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.BeginLoad(&a, kSelf);
  ledger_.EndLoad(&a, kSelf);
  read(40, 15);
  EXPECT_EQ(a.measured[1], 12) << "the other 18 are of another process";
}

// The driver lists a process from its first context on, and others have 10.
TEST_F(ResourceLedgerTest, TheLoadThatMakesTheProcessKnownIsMeasuredToo) {
  const auto read = [this](uint64_t used, std::optional<uint64_t> self) {
    DeviceReading gpu = Reading(50, used);
    gpu.self = self;
    ledger_.Observe({Reading(100, 0), gpu, Reading(50, 0)});
  };
  const auto load = [this](ResourceAccount* account) {
    ASSERT_TRUE(ledger_.Reserve(account));
    ledger_.BeginLoad(account, kSelf);
    ledger_.EndLoad(account, kSelf);
  };
  read(10, std::nullopt);
  auto a = Wants({Cuda(0, 12)});
  load(&a);
  read(22, 12);
  ledger_.SetPhase(&a, Phase::kResident);
  EXPECT_EQ(a.measured[1], 12);
  EXPECT_EQ(ledger_.AvailableOn(1), 50u - 22u) << "it is not counted twice";
  auto b = Wants({Cuda(0, 5)});
  load(&b);
  read(47, 17);
  EXPECT_EQ(b.measured[1], 5) << "the other 20 are of another process";
  // An entry that can't be told apart any more.
  auto c = Wants({Cuda(0, 1)});
  load(&c);
  read(48, std::nullopt);
  EXPECT_EQ(c.measured[1], 1);
  for (ResourceAccount* account : {&a, &b, &c}) ledger_.Release(account);
  ExpectBaseline();
}

TEST_F(ResourceLedgerTest, ALoadWhoseDeviceIsStillToBeReadIsOver) {
  auto a = Wants({Cuda(0, 20)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.BeginLoad(&a, kSelf);
  ledger_.EndLoad(&a, kSelf);
  auto b = Wants({Main(5)});
  ASSERT_TRUE(ledger_.Reserve(&b));
  ledger_.BeginLoad(&b, kSelf);
  EXPECT_TRUE(b.exclusive);
  ledger_.EndLoad(&b, kSelf + 5);
  EXPECT_EQ(b.measured[0], 5);
  ledger_.Release(&a);
  ledger_.Release(&b);
  ExpectBaseline();
}

TEST_F(ResourceLedgerTest, WhatIsReleasedWhileItLoadsIsNeverMeasured) {
  ResourceAccount a = Wants({Cuda(0, 20)});
  ASSERT_TRUE(ledger_.Reserve(&a));
  ledger_.BeginLoad(&a, kSelf);
  ledger_.Release(&a);
  ExpectBaseline();
  ledger_.Observe({Reading(100, 0), Reading(50, 20), Reading(50, 0)});
  EXPECT_TRUE(a.measured.empty());
}

}  // namespace
}  // namespace aspired
