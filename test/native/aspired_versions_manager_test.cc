// AspiredVersionsManager: what a list does, in each state of each version.
#include "core/aspired_versions_manager.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "native/test_util/test_avm.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::Item;
using test::kLoadBroken;
using test::kResourcePreserving;
using test::ProbePtr;
using test::Settled;
using test::TestAvm;
using enum HarnessState;

const ServableId kM1{"m", 1};
const ServableId kM2{"m", 2};
const ServableId kM3{"m", 3};
const Status kSourceBroken(ErrorCode::kSourceError, "source broken");

// ------------------------------- where we promise to be different

TEST(AspiredVersionsManagerTest, RollbackWhileTheNewOneLoads) {
  TestAvm t;
  auto one = t.Probe();
  EXPECT_EQ(t.Aspire("m", {{1, one}}).Text(), "1:Available");
  auto two = t.HeldProbe();
  const Settled promotion = t.Aspire("m", {{2, two}});
  EXPECT_EQ(t.State(kM2), kLoading);
  auto one_again = t.Probe();
  const Settled rollback = t.Aspire("m", {{1, one_again}});
  EXPECT_TRUE(t.IsOpen(kM1));
  EXPECT_EQ(two->cancels(), 1);
  EXPECT_EQ(rollback.Text(), "pending") << "2 is still there";
  two->FinishLoad();  // all the same
  t.Step();
  EXPECT_EQ(rollback.Text(), "1:Available");
  EXPECT_EQ(promotion.Text(), "2:End(ERR_LOAD_CANCELLED)");
  EXPECT_TRUE(promotion.superseded());
  EXPECT_EQ(t.readers->opens(kM2), 0);
  EXPECT_EQ(two->unloads(), 1);
  EXPECT_EQ(t.State(kM2), std::nullopt);
  EXPECT_EQ(one->loads(), 1);
  EXPECT_EQ(one->unloads(), 0);
  EXPECT_EQ(t.events->Trace(kM1), "Start Loading Available");
  EXPECT_TRUE(one_again->destroyed());
  EXPECT_EQ(one_again->loads(), 0);
}

TEST(AspiredVersionsManagerTest, RollbackAfterTheNewOneFailed) {
  TestAvm t;
  auto one = t.Probe();
  t.Aspire("m", {{1, one}});
  const Settled promotion = t.Aspire("m", {{2, t.FailingProbe()}});
  EXPECT_EQ(promotion.Text(), "2:End(ERR_LOAD_FAILED)");
  EXPECT_TRUE(t.IsOpen(kM1)) << "the last good one stays";
  const Settled rollback = t.Aspire("m", {{1, t.Probe()}});
  EXPECT_EQ(rollback.Text(), "1:Available");
  EXPECT_EQ(t.State(kM2), std::nullopt);
  EXPECT_EQ(one->loads(), 1);
}

TEST(AspiredVersionsManagerTest, RollbackWithANewerOneAfterAFailureLoadsIt) {
  TestAvm t;
  t.Aspire("m", {{1, t.Probe()}});
  t.Aspire("m", {{2, t.FailingProbe()}});
  const Settled next = t.Aspire("m", {{1, t.Probe()}, {3, t.Probe()}});
  EXPECT_EQ(next.Text(), "1:Available 3:Available");
  EXPECT_TRUE(t.IsOpen(kM1));
  EXPECT_TRUE(t.IsOpen(kM3));
}

TEST(AspiredVersionsManagerTest, AHeldHandleToAStopsNothingOfB) {
  TestAvm t;
  t.Aspire("a", {{1, t.Probe()}});
  auto lease = t.readers->Acquire({"a", 1});
  const Settled drop = t.Aspire("a", {});
  EXPECT_EQ(t.Aspire("b", {{1, t.Probe()}}).Text(), "1:Available");
  EXPECT_EQ(t.Aspire("b", {{2, t.Probe()}}).Text(), "2:Available");
  EXPECT_TRUE(t.Aspire("b", {}).is_settled());
  const Settled next = t.Aspire("a", {{2, t.Probe()}});
  EXPECT_TRUE(t.IsOpen({"a", 2}));
  EXPECT_TRUE(drop.is_settled()) << "superseded";
  EXPECT_EQ(next.Text(), "pending") << "1 is not gone";
  lease.Release();
  EXPECT_EQ(next.Text(), "2:Available");
}

TEST(AspiredVersionsManagerTest, ManyModelsAspiredAtOnceNeedOneRound) {
  TestAvm t;
  std::vector<Settled> lists;
  for (int i = 0; i < 100; ++i) {
    Settled s;
    ASSERT_TRUE(
        t.TryAspire("m" + std::to_string(i), {{1, t.Probe()}}, {}, &s).ok());
    lists.push_back(s);
  }
  t.Step();
  for (const auto& list : lists) EXPECT_EQ(list.Text(), "1:Available");
}

TEST(AspiredVersionsManagerTest, ASwitchNeedsOneRoundAndLeavesNoGap) {
  TestAvm t;
  t.Aspire("m", {{1, t.Probe()}});
  bool gap = false;
  auto subscription = t.manager->bus()->Subscribe(
      [&](const ServableState&) { gap |= !t.IsOpen(kM1) && !t.IsOpen(kM2); });
  EXPECT_EQ(t.Aspire("m", {{2, t.Probe()}}).Text(), "2:Available");
  EXPECT_FALSE(t.IsOpen(kM1));
  EXPECT_FALSE(gap);
  EXPECT_EQ(t.State(kM1), std::nullopt);
}

TEST(AspiredVersionsManagerTest, ThePredicateDoesNotTouchSuccess) {
  TestAvm t([](auto* o) {
    o->retry.max_num_load_retries = 5;
    o->should_retry = [](const Status&, const ServableId&) { return false; };
  });
  EXPECT_EQ(t.Aspire("m", {{1, t.Probe()}}).Text(), "1:Available");
  auto two = t.FailingProbe();
  EXPECT_EQ(t.Aspire("m", {{1, t.Probe()}, {2, two}}).Text(),
            "1:Available 2:End(ERR_LOAD_FAILED)");
  EXPECT_EQ(two->loads(), 1);
}

// ------------------------------------------------- lists that are no good

TEST(AspiredVersionsManagerTest, ABadListIsRefusedAndChangesNothing) {
  TestAvm t;
  t.Aspire("m", {{1, t.Probe()}});
  const auto refused = [&](const std::string& name,
                           const std::vector<Item>& items) {
    Settled settled;
    const Status s = t.TryAspire(name, items, {}, &settled);
    t.Step();
    EXPECT_FALSE(settled.is_settled());
    for (const Item& item : items) {
      EXPECT_TRUE(item.probe == nullptr || item.probe->destroyed());
    }
    EXPECT_TRUE(t.IsOpen(kM1));
    EXPECT_EQ(t.manager->GetVersionStates("m").size(), 1u);
    return s.code();
  };
  EXPECT_EQ(refused("", {{1, t.Probe()}}), ErrorCode::kInvalidName);
  EXPECT_EQ(refused("m", {{2, t.Probe()}, {-1, t.Probe()}}),
            ErrorCode::kInvalidVersion);
  EXPECT_EQ(refused("m", {{2, t.Probe()}, {2, t.Probe()}}),
            ErrorCode::kDuplicateVersion);
  EXPECT_EQ(refused("m", {{2, nullptr}}), ErrorCode::kInvalidLoader);
  EXPECT_EQ(t.manager->SetIntent("", {}).code(), ErrorCode::kInvalidName);
}

TEST(AspiredVersionsManagerTest, AListAfterCloseIsRefused) {
  TestAvm t;
  t.Aspire("m", {{1, t.Probe()}});
  t.Close(milliseconds(0));
  Settled settled;
  EXPECT_EQ(t.TryAspire("m", {{2, t.Probe()}}, {}, &settled).code(),
            ErrorCode::kManagerClosed);
  EXPECT_EQ(t.manager->SetIntent("m", {}).code(), ErrorCode::kManagerClosed);
  EXPECT_EQ(t.manager->Close(milliseconds(0), nullptr).code(),
            ErrorCode::kManagerClosed);
}

// ------------------------------------------------------- applying a list

TEST(AspiredVersionsManagerTest, AnEmptyListOfAnUnknownNameSettlesAtOnce) {
  TestAvm t;
  EXPECT_TRUE(t.Aspire("m", {}).is_settled());
  EXPECT_TRUE(t.manager->GetServableNames().empty());
}

TEST(AspiredVersionsManagerTest, AnEmptyListUnloadsEverythingLowestFirst) {
  TestAvm t;
  std::vector<int64_t> order;
  std::vector<Item> items;
  for (int64_t v : {2, 3, 1}) {
    auto probe = t.Probe();
    probe->OnUnload([&order, v] { order.push_back(v); });
    items.push_back({v, probe});
  }
  t.Aspire("m", items);
  EXPECT_TRUE(t.Aspire("m", {}).is_settled());
  EXPECT_EQ(order, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_TRUE(t.manager->GetServableNames().empty());
}

TEST(AspiredVersionsManagerTest, LoadsHighestFirstAllAtOnce) {
  TestAvm t;
  std::vector<int64_t> order;
  std::vector<Item> items;
  std::vector<ProbePtr> probes;
  for (int64_t v : {1, 3, 2}) {
    auto probe = t.HeldProbe();
    probe->OnLoad([&order, v] { order.push_back(v); });
    probes.push_back(probe);
    items.push_back({v, probe});
  }
  const Settled settled = t.Aspire("m", items);
  EXPECT_EQ(order, (std::vector<int64_t>{3, 2, 1}));
  for (auto& probe : probes) probe->FinishLoad();
  t.Step();
  EXPECT_EQ(settled.Text(), "1:Available 3:Available 2:Available");
}

TEST(AspiredVersionsManagerTest, ANewLoaderForAVersionThatStaysIsNotUsed) {
  TestAvm t;
  auto first = t.Probe();
  t.Aspire("m", {{1, first}});
  auto second = t.Probe();
  EXPECT_EQ(t.Aspire("m", {{1, second}}).Text(), "1:Available");
  EXPECT_TRUE(second->destroyed());
  EXPECT_EQ(second->loads(), 0);
  EXPECT_EQ(first->unloads(), 0);
}

TEST(AspiredVersionsManagerTest, AVersionOnItsWayStaysOnItsWay) {
  TestAvm t;
  auto probe = t.HeldProbe();
  const Settled first = t.Aspire("m", {{1, probe}});
  const Settled second = t.Aspire("m", {{1, t.Probe()}});
  EXPECT_EQ(probe->cancels(), 0);
  probe->FinishLoad();
  t.Step();
  EXPECT_EQ(first.Text(), "1:Available");
  EXPECT_EQ(second.Text(), "1:Available");
  EXPECT_EQ(probe->loads(), 1);
}

TEST(AspiredVersionsManagerTest, AVersionThatItsSourceCouldNotPrepare) {
  TestAvm t;
  t.Aspire("m", {{1, t.Probe()}});
  const Settled settled = t.Aspire("m", {{2, nullptr, kSourceBroken}});
  EXPECT_EQ(settled.Text(), "2:End(ERR_SOURCE_ERROR)");
  EXPECT_EQ(t.events->Trace(kM2), "End(ERR_SOURCE_ERROR)");
  EXPECT_TRUE(t.IsOpen(kM1));
  EXPECT_TRUE(t.Row(kM2)->degraded);
  EXPECT_FALSE(t.Row(kM2)->retry_in_ms.has_value()) << "nothing to retry";
  EXPECT_EQ(t.Aspire("m", {{2, t.Probe()}}).Text(), "2:Available");
  EXPECT_FALSE(t.Row(kM2)->degraded);
}

TEST(AspiredVersionsManagerTest, DroppedWhileItWaitsForASlotItEndsAtOnce) {
  TestAvm t([](auto* o) { o->num_load_threads = 1; });
  auto busy = t.HeldProbe();
  t.Aspire("a", {{1, busy}});
  auto waiting = t.Probe();
  const Settled first = t.Aspire("m", {{1, waiting}});
  EXPECT_EQ(t.State(kM1), kLoadRequested);
  EXPECT_TRUE(t.Aspire("m", {}).is_settled());
  EXPECT_EQ(first.Text(), "1:End(ERR_LOAD_CANCELLED)");
  EXPECT_TRUE(waiting->destroyed());
  busy->FinishLoad();
}

// ------------------------------------------------ aspired again, by state

TEST(AspiredVersionsManagerTest, AspiredAgainWhileItIsKeptReady) {
  TestAvm t;
  auto one = t.Probe();
  t.Aspire("m", {{1, one}});
  auto two = t.HeldProbe();
  t.Aspire("m", {{2, two}});
  EXPECT_FALSE(t.Row(kM1)->aspired);
  const Settled both = t.Aspire("m", {{1, t.Probe()}, {2, t.Probe()}});
  EXPECT_TRUE(t.Row(kM1)->aspired);
  two->FinishLoad();
  t.Step();
  EXPECT_EQ(both.Text(), "1:Available 2:Available");
  EXPECT_TRUE(t.IsOpen(kM1));
  EXPECT_EQ(one->loads(), 1);
}

TEST(AspiredVersionsManagerTest, AspiredAgainWhileItDrainsIsRevoked) {
  TestAvm t;
  auto one = t.Probe();
  t.Aspire("m", {{1, one}});
  auto lease = t.readers->Acquire(kM1);
  const Settled promotion = t.Aspire("m", {{2, t.Probe()}});
  EXPECT_EQ(t.State(kM1), kQuiescing);
  EXPECT_EQ(promotion.Text(), "pending") << "1 is still held";
  const Settled rollback = t.Aspire("m", {{1, t.Probe()}});
  EXPECT_EQ(rollback.Text(), "1:Available");
  EXPECT_EQ(promotion.Text(), "2:Available");
  EXPECT_TRUE(t.IsOpen(kM1));
  EXPECT_EQ(one->loads(), 1);
  EXPECT_EQ(one->unloads(), 0);
  lease.Release();
  t.Step();
  EXPECT_EQ(t.State(kM1), kReady);
  EXPECT_EQ(t.State(kM2), std::nullopt);
}

TEST(AspiredVersionsManagerTest, AspiredAgainWhileItUnloadsStartsAnewAfter) {
  TestAvm t;
  auto one = t.Probe();
  one->HoldUnloads();
  t.Aspire("m", {{1, one}});
  const Settled drop = t.Aspire("m", {});
  EXPECT_EQ(t.State(kM1), kUnloading);
  auto next = t.Probe();
  const Settled again = t.Aspire("m", {{1, next}});
  EXPECT_EQ(again.Text(), "pending");
  EXPECT_EQ(next->loads(), 0);
  one->FinishUnload();
  t.Step();
  EXPECT_EQ(again.Text(), "1:Available");
  EXPECT_TRUE(drop.is_settled());
  EXPECT_TRUE(one->destroyed());
  EXPECT_EQ(next->loads(), 1);
  EXPECT_EQ(t.events->Trace(kM1),
            "Start Loading Available Unloading End Start Loading Available");
}

TEST(AspiredVersionsManagerTest, ASuccessorThatIsDroppedNeverStarts) {
  TestAvm t;
  auto one = t.Probe();
  one->HoldUnloads();
  t.Aspire("m", {{1, one}});
  t.Aspire("m", {});
  auto next = t.Probe();
  const Settled again = t.Aspire("m", {{1, next}});
  const Settled drop = t.Aspire("m", {});
  EXPECT_EQ(again.Text(), "1:End(ERR_LOAD_CANCELLED)");
  EXPECT_TRUE(next->destroyed());
  EXPECT_FALSE(drop.is_settled());
  one->FinishUnload();
  t.Step();
  EXPECT_TRUE(drop.is_settled());
  EXPECT_EQ(t.State(kM1), std::nullopt);
  EXPECT_EQ(next->loads(), 0);
}

TEST(AspiredVersionsManagerTest, ASuccessorAspiredOnceMoreStartsOnce) {
  TestAvm t;
  auto one = t.Probe();
  one->HoldUnloads();
  t.Aspire("m", {{1, one}});
  t.Aspire("m", {});
  auto second = t.Probe();
  auto third = t.Probe();
  const Settled a = t.Aspire("m", {{1, second}});
  const Settled b = t.Aspire("m", {{1, third}});
  one->FinishUnload();
  t.Step();
  EXPECT_EQ(a.Text(), "1:Available");
  EXPECT_EQ(b.Text(), "1:Available");
  EXPECT_EQ(second->loads() + third->loads(), 1);
}

TEST(AspiredVersionsManagerTest, ASuccessorOfACancelledLoad) {
  for (bool cancelled_load_succeeds : {false, true}) {
    TestAvm t;
    auto first = t.HeldProbe();
    const Settled one = t.Aspire("m", {{1, first}});
    t.Aspire("m", {});
    EXPECT_EQ(first->cancels(), 1);
    auto next = t.Probe();
    const Settled again = t.Aspire("m", {{1, next}});
    EXPECT_EQ(again.Text(), "pending");
    first->FinishLoad(cancelled_load_succeeds ? Status::Ok() : kLoadBroken);
    t.Step();
    EXPECT_EQ(again.Text(), "1:Available");
    EXPECT_TRUE(one.is_settled());
    EXPECT_EQ(first->unloads(), cancelled_load_succeeds ? 1 : 0);
    EXPECT_EQ(t.readers->opens(kM1), 1);
    EXPECT_FALSE(t.Row(kM1)->degraded);
  }
}

TEST(AspiredVersionsManagerTest, ASuccessorWithASourceErrorEndsWithIt) {
  TestAvm t;
  auto first = t.HeldProbe();
  t.Aspire("m", {{1, first}});
  t.Aspire("m", {});
  const Settled again = t.Aspire("m", {{1, nullptr, kSourceBroken}});
  first->FinishLoad();
  t.Step();
  EXPECT_EQ(again.Text(), "1:End(ERR_SOURCE_ERROR)");
}

TEST(AspiredVersionsManagerTest, AspiredAgainAfterAFailureStartsAnew) {
  TestAvm t;
  auto failing = t.FailingProbe();
  EXPECT_EQ(t.Aspire("m", {{1, failing}}).Text(), "1:End(ERR_LOAD_FAILED)");
  auto good = t.Probe();
  EXPECT_EQ(t.Aspire("m", {{1, good}}).Text(), "1:Available");
  EXPECT_TRUE(failing->destroyed());
  t.Advance(milliseconds(100'000));
  EXPECT_EQ(failing->loads(), 1) << "its slow retry is void";
  EXPECT_EQ(good->loads(), 1);
}

TEST(AspiredVersionsManagerTest, WithoutReloadAFailedVersionStaysFailed) {
  TestAvm t([](auto* o) { o->enable_reload_servables_with_error = false; });
  auto failing = t.FailingProbe();
  t.Aspire("m", {{1, failing}});
  auto good = t.Probe();
  EXPECT_EQ(t.Aspire("m", {{1, good}}).Text(), "1:End(ERR_LOAD_FAILED)");
  EXPECT_TRUE(good->destroyed());
  t.Advance(milliseconds(100'000));
  EXPECT_EQ(failing->loads(), 1);
  EXPECT_EQ(t.manager->NextDue(), std::nullopt);
  // Dropped and aspired again it is another matter.
  t.Aspire("m", {});
  EXPECT_EQ(t.Aspire("m", {{1, t.Probe()}}).Text(), "1:Available");
}

// ---------------------------------------------------------------- settling

TEST(AspiredVersionsManagerTest, SettlesWhenTheDroppedOneIsGone) {
  TestAvm t;
  auto one = t.Probe();
  one->HoldUnloads();
  t.Aspire("m", {{1, one}});
  const Settled settled = t.Aspire("m", {{2, t.Probe()}});
  EXPECT_TRUE(t.IsOpen(kM2));
  EXPECT_EQ(settled.Text(), "pending");
  one->FinishUnload();
  EXPECT_EQ(settled.Text(), "2:Available");
  EXPECT_FALSE(settled.superseded());
}

TEST(AspiredVersionsManagerTest, ADropUnderALeaseSettlesWhenItIsBack) {
  TestAvm t;
  t.Aspire("m", {{1, t.Probe()}});
  auto lease = t.readers->Acquire(kM1);
  const Settled settled = t.Aspire("m", {});
  EXPECT_FALSE(settled.is_settled());
  lease.Release();
  EXPECT_TRUE(settled.is_settled());
}

TEST(AspiredVersionsManagerTest,
     AListWhoseVersionsFailedSettlesThoughOneStays) {
  TestAvm t;
  t.Aspire("m", {{1, t.Probe()}});
  const Settled settled = t.Aspire("m", {{2, t.FailingProbe()}});
  EXPECT_EQ(settled.Text(), "2:End(ERR_LOAD_FAILED)");
  EXPECT_EQ(t.State(kM1), kReady);
}

TEST(AspiredVersionsManagerTest, ASupersededListTellsWhatBecameOfIts) {
  TestAvm t;
  auto two = t.HeldProbe();
  const Settled first = t.Aspire("m", {{1, t.Probe()}, {2, two}});
  EXPECT_EQ(first.Text(), "pending");
  const Settled second = t.Aspire("m", {{2, t.Probe()}});
  two->FinishLoad();
  t.Step();
  EXPECT_EQ(first.Text(), "1:Available 2:Available");
  EXPECT_TRUE(first.superseded());
  EXPECT_EQ(second.Text(), "2:Available");
  EXPECT_FALSE(second.superseded());
}

TEST(AspiredVersionsManagerTest, ResourcePreservingUnloadsFirstWithAGap) {
  TestAvm t([](auto* o) { o->policy = &kResourcePreserving; });
  auto one = t.Probe();
  t.Aspire("m", {{1, one}});
  auto two = t.Probe();
  two->OnLoad([&] { EXPECT_TRUE(one->destroyed() || !t.IsOpen(kM1)); });
  EXPECT_EQ(t.Aspire("m", {{2, two}}).Text(), "2:Available");
  EXPECT_EQ(one->unloads(), 1);
  EXPECT_EQ(t.Aspire("m", {{3, t.FailingProbe()}}).Text(),
            "3:End(ERR_LOAD_FAILED)");
  EXPECT_TRUE(t.readers->OpenIds().empty());
}

}  // namespace
}  // namespace aspired
