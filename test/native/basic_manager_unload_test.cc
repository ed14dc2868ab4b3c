// BasicManager: unloads, drains, leases and revocation.
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "native/test_util/test_manager.h"

namespace aspired {
namespace {

using test::Barrier;
using test::Completion;
using test::FakeReaders;
using test::LoaderProbe;
using test::TestManager;
using enum HarnessState;

const ServableId kA{"a", 1};
const ServableId kB{"b", 1};

TEST(BasicManagerUnloadTest, ALeaseHoldsBackTheUnloadAndNothingElse) {
  TestManager t;
  auto a = t.Loaded(kA);
  auto lease = t.readers->Acquire(kA);
  ASSERT_TRUE(lease);
  const Completion end = t.Unload(kA);
  EXPECT_EQ(t.State(kA), kQuiescing);
  EXPECT_TRUE(t.readers->WaitForClosed(kA)) << "though it is not drained";
  EXPECT_FALSE(t.readers->Acquire(kA));
  // B comes and goes meanwhile.
  auto b = t.Loaded(kB);
  EXPECT_TRUE(t.Unload(kB).status().ok());
  EXPECT_EQ(a->unloads(), 0);
  EXPECT_FALSE(end.is_done());
  lease.Release();
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(a->unloads(), 1);
  EXPECT_EQ(t.events->Trace(kA), "Start Loading Available Unloading End");
}

TEST(BasicManagerUnloadTest, ADrainHoldsNoUnloadSlot) {
  TestManager t({.unload_threads = 1});
  std::vector<FakeReaders::Lease> leases;
  std::vector<Completion> ends;
  for (int v = 0; v < 8; ++v) {
    t.Loaded({"held", v});
    leases.push_back(t.readers->Acquire({"held", v}));
    ends.push_back(t.Unload({"held", v}));
  }
  auto free = t.Loaded(kA);
  EXPECT_TRUE(t.Unload(kA).status().ok());
  leases.clear();
  for (const auto& end : ends) EXPECT_TRUE(end.status().ok());
}

TEST(BasicManagerUnloadTest, EveryLeaseMustBeBack) {
  TestManager t;
  auto probe = t.Loaded(kA);
  auto first = t.readers->Acquire(kA);
  auto second = t.readers->Acquire(kA);
  const Completion end = t.Unload(kA);
  first.Release();
  EXPECT_EQ(t.State(kA), kQuiescing);
  EXPECT_EQ(probe->unloads(), 0);
  second.Release();
  EXPECT_TRUE(end.status().ok());
}

TEST(BasicManagerUnloadTest, RevokedWhileQuiescingItIsReadyWithoutALoad) {
  TestManager t;
  auto probe = t.Loaded(kA);
  const uint64_t first = t.manager->GetSnapshot(kA)->incarnation;
  auto lease = t.readers->Acquire(kA);
  const Completion unload = t.Unload(kA);
  EXPECT_TRUE(t.Revoke(kA).ok());
  EXPECT_EQ(unload.status().code(), ErrorCode::kLoadCancelled);
  EXPECT_EQ(t.State(kA), kReady);
  EXPECT_GT(t.manager->GetSnapshot(kA)->incarnation, first);
  EXPECT_TRUE(t.readers->WaitForOpen(kA));
  EXPECT_TRUE(t.readers->Acquire(kA));
  EXPECT_EQ(probe->loads(), 1);
  EXPECT_EQ(probe->unloads(), 0);
  EXPECT_EQ(t.events->Trace(kA),
            "Start Loading Available Unloading End Start Available");
  lease.Release();
  EXPECT_EQ(t.State(kA), kReady) << "the drain of what was revoked is void";
  EXPECT_TRUE(t.Unload(kA).status().ok());
  EXPECT_EQ(probe->unloads(), 1);
}

TEST(BasicManagerUnloadTest, ADrainedOfAnOldEpochIsIgnored) {
  TestManager t;
  auto probe = t.Loaded(kA);
  t.readers->HoldDrains();
  const Completion first = t.Unload(kA);
  const uint64_t old_epoch = t.readers->last_epoch(kA).value();
  EXPECT_TRUE(t.Revoke(kA).ok());
  auto lease = t.readers->Acquire(kA);
  t.manager->Drained(kA, old_epoch);
  EXPECT_EQ(t.State(kA), kReady);
  const Completion second = t.Unload(kA);
  EXPECT_NE(t.readers->last_epoch(kA).value(), old_epoch);
  t.manager->Drained(kA, old_epoch);  // the answer to the first close, late
  EXPECT_EQ(t.State(kA), kQuiescing) << "there is a lease";
  EXPECT_EQ(probe->unloads(), 0);
  lease.Release();
  EXPECT_EQ(t.readers->AnswerDrains(), 1);
  EXPECT_TRUE(second.status().ok());
  EXPECT_EQ(first.times(), 1);
}

TEST(BasicManagerUnloadTest, ADrainedTwiceOrForAnUnknownIdIsIgnored) {
  TestManager t;
  auto probe = t.Loaded(kA);
  t.manager->Drained(kA, 0);
  t.manager->Drained(kB, 1);
  EXPECT_EQ(t.State(kA), kReady);
  probe->HoldUnloads();
  const Completion end = t.Unload(kA);
  ASSERT_TRUE(probe->WaitForUnloads(1));
  t.manager->Drained(kA, t.readers->last_epoch(kA).value());
  EXPECT_EQ(t.State(kA), kUnloading);
  probe->FinishUnload();
  EXPECT_TRUE(end.status().ok());
  t.manager->Drained(kA, t.readers->last_epoch(kA).value());
  EXPECT_EQ(t.State(kA), kDisabled);
  EXPECT_EQ(probe->unloads(), 1);
}

TEST(BasicManagerUnloadTest, RevokingIsRefusedOutsideOfADrain) {
  TestManager t;
  EXPECT_EQ(t.Revoke(kA).code(), ErrorCode::kServableNotManaged);
  auto probe = t.NewProbe();
  probe->HoldUnloads();
  t.Manage(kA, probe);
  EXPECT_EQ(t.Revoke(kA).code(), ErrorCode::kIllegalTransition);
  EXPECT_TRUE(t.Load(kA).status().ok());
  EXPECT_EQ(t.Revoke(kA).code(), ErrorCode::kIllegalTransition);
  const Completion end = t.Unload(kA);
  ASSERT_TRUE(probe->WaitForUnloads(1));
  EXPECT_EQ(t.Revoke(kA).code(), ErrorCode::kIllegalTransition);
  probe->FinishUnload();
  EXPECT_TRUE(end.status().ok());
  EXPECT_EQ(t.Revoke(kA).code(), ErrorCode::kIllegalTransition);
  EXPECT_EQ(t.events->Trace(kA), "Start Loading Available Unloading End");
}

TEST(BasicManagerUnloadTest, RevokeRacingTheLastLeaseEitherWins) {
  for (int round = 0; round < 300; ++round) {
    TestManager t({.unload_threads = 1});
    auto probe = t.Loaded(kA);
    auto lease = t.readers->Acquire(kA);
    const Completion unload = t.Unload(kA);
    Barrier go(2);
    std::thread reader([&] {
      go.Wait();
      lease.Release();
    });
    go.Wait();
    const Status revoked = t.Revoke(kA);
    reader.join();
    if (revoked.ok()) {
      EXPECT_EQ(unload.status().code(), ErrorCode::kLoadCancelled);
      EXPECT_EQ(t.State(kA), kReady);
      EXPECT_TRUE(t.readers->WaitForOpen(kA));
      EXPECT_EQ(probe->unloads(), 0);
    } else {
      EXPECT_TRUE(unload.status().ok());
      EXPECT_EQ(t.State(kA), kDisabled);
    }
    t.Finish();
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
}

TEST(BasicManagerUnloadTest, AFailedUnloadEndsTheVersionWithItsError) {
  TestManager t;
  auto probe = t.Loaded(kA);
  const Status stuck(ErrorCode::kUnloadFailed, "stuck");
  probe->FailUnloads(stuck);
  EXPECT_EQ(t.Unload(kA).status(), stuck);
  EXPECT_EQ(t.State(kA), kError);
  EXPECT_EQ(t.events->Trace(kA),
            "Start Loading Available Unloading End(ERR_UNLOAD_FAILED)");
  EXPECT_TRUE(t.StopManaging(kA).ok());
  EXPECT_TRUE(probe->WaitForDestroyed());
}

TEST(BasicManagerUnloadTest, WithoutReadersEverythingDrainsAtOnce) {
  TestManager t({.with_readers = false});
  auto probe = t.Loaded(kA);
  EXPECT_TRUE(t.Unload(kA).status().ok());
  EXPECT_EQ(probe->unloads(), 1);
}

TEST(BasicManagerUnloadTest, OpensBeforeAvailableAndClosesAfterUnloading) {
  TestManager t;
  std::vector<std::string> order;
  auto subscription = t.bus->Subscribe([&](const ServableState& e) {
    order.push_back(std::string(Name(e.manager_state)) +
                    (t.readers->IsOpen(e.id) ? " open" : " closed"));
  });
  t.Loaded(kA);
  EXPECT_TRUE(t.Unload(kA).status().ok());
  EXPECT_EQ(order, (std::vector<std::string>{"Start closed", "Loading closed",
                                             "Available open", "Unloading open",
                                             "End closed"}));
}

TEST(BasicManagerUnloadTest, AVersionInUseCannotBeForgotten) {
  TestManager t;
  auto probe = t.Loaded(kA);
  EXPECT_EQ(t.StopManaging(kA).code(), ErrorCode::kIllegalTransition);
  auto lease = t.readers->Acquire(kA);
  const Completion end = t.Unload(kA);
  EXPECT_EQ(t.StopManaging(kA).code(), ErrorCode::kIllegalTransition);
  lease.Release();
  EXPECT_TRUE(end.status().ok());
  EXPECT_TRUE(t.StopManaging(kA).ok());
  EXPECT_FALSE(t.State(kA).has_value());
}

TEST(BasicManagerUnloadTest, UnloadsOfBlockingLoadersRunOnTheUnloadThreads) {
  TestManager t({.load_threads = 1, .unload_threads = 1});
  auto blocking = t.Loaded(kA);
  auto inline_one = t.Loaded(kB, LoaderProbe::Kind::kNonBlocking);
  EXPECT_TRUE(t.Unload(kA).status().ok());
  EXPECT_TRUE(t.Unload(kB).status().ok());
  EXPECT_NE(blocking->unload_thread(), std::this_thread::get_id());
  EXPECT_NE(blocking->unload_thread(), blocking->load_thread());
}

}  // namespace
}  // namespace aspired
