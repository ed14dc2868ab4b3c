// A load that waits while residents come and go: it gets its room, and nobody
// is held up for room that cannot be had.
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <string>

#include "native/test_util/memory_fixture.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Completion;
using test::Main;
using test::MemoryTest;
using enum HarnessState;

// 100 MiB of main memory; no threads: Pump() does all.
class BasicManagerStarvationMemoryTest : public MemoryTest {
 protected:
  void Waits(const ServableId& id, uint64_t mib) {
    Managed(id, {Main(mib)});
    Load(id);
    EXPECT_EQ(t_.State(id), kLoadRequested);
  }
  // A small one comes, is loaded at once or not, and goes.
  bool PassesAtOnce() {
    const ServableId id{"small-" + std::to_string(next_++), 1};
    Managed(id, {Main(5)});
    const Completion loaded = Load(id);
    const bool passed = loaded.is_done();
    if (passed) {
      Unload(id);
    } else {
      EXPECT_TRUE(t_.Cancel(id).ok());
    }
    Pump();
    EXPECT_TRUE(t_.StopManaging(id).ok());
    return passed;
  }
  int PassAtOnce(int of) {
    int passed = 0;
    for (int i = 0; i < of; ++i) {
      passed += PassesAtOnce() ? 1 : 0;
      t_.Advance(milliseconds(10));
    }
    return passed;
  }

  int next_ = 0;
};

// One of them is resident at all times, and each is there before the one before
// it goes.
TEST_F(BasicManagerStarvationMemoryTest,
       ResidentsThatRelieveOneAnotherGiveWay) {
  std::deque<std::pair<int, ServableId>> ends;
  Loaded({"resident-0", 1}, {Main(40)});
  ends.push_back({10, {"resident-0", 1}});
  Waits({"big", 1}, 90);
  int step = 1;
  for (; step < 2000 && t_.State({"big", 1}) != kReady; ++step) {
    if (step % 8 == 0) {
      const ServableId id{"resident-" + std::to_string(step), 1};
      Managed(id, {Main(40)});
      Load(id);
      ends.push_back({step + 10, id});
    }
    while (!ends.empty() && ends.front().first <= step) {
      const ServableId id = ends.front().second;
      ends.pop_front();
      if (t_.State(id) == kReady) {
        Unload(id);
      } else {
        EXPECT_TRUE(t_.Cancel(id).ok());
      }
    }
    t_.Advance(milliseconds(100));
  }
  EXPECT_EQ(t_.State({"big", 1}), kReady) << "it starves";
  EXPECT_GT(step, 8 * 8) << "nothing was shown";
  // Eight that went past it, and one hold.
  EXPECT_LE(step, 8 * 8 + 30);
}

TEST_F(BasicManagerStarvationMemoryTest, NobodyWaitsForWhatOlderResidentsHave) {
  Loaded({"old", 1}, {Main(20)});
  Waits({"big", 1}, 90);
  EXPECT_EQ(PassAtOnce(200), 200);
}

TEST_F(BasicManagerStarvationMemoryTest, NorTwiceForNewcomersThatStay) {
  Loaded({"old", 1}, {Main(20)});
  Waits({"big", 1}, 90);
  Loaded({"young", 1}, {Main(15)});
  Unload({"old", 1});
  Pump();
  EXPECT_EQ(PassAtOnce(7), 7) << "young was the first of eight";
  EXPECT_FALSE(PassesAtOnce()) << "young may go: it is held for";
  t_.Advance(seconds(1));
  EXPECT_EQ(PassAtOnce(200), 200) << "young stays";
  // Until it goes.
  Unload({"young", 1});
  Pump();
  EXPECT_EQ(t_.State({"big", 1}), kReady);
}

// Or the owner's loop would spin for as long as the slot is taken.
TEST_F(BasicManagerStarvationMemoryTest, AHoldThatIsOverWaitsForAFreeSlot) {
  Loaded({"old", 1}, {Main(20)});
  Waits({"big", 1}, 90);
  Loaded({"young", 1}, {Main(15)});
  Unload({"old", 1});
  EXPECT_EQ(PassAtOnce(7), 7);
  EXPECT_FALSE(PassesAtOnce()) << "a hold";
  auto other = Managed({"other", 1}, {});
  other->HoldLoads();
  Load({"other", 1});
  ASSERT_TRUE(other->loading()) << "it wants no memory";
  t_.Advance(seconds(1));
  ASSERT_TRUE(t_.manager->NextDue());
  EXPECT_GT(*t_.manager->NextDue(), t_.clock->Now());
  other->FinishLoad();
  Pump();
  EXPECT_EQ(PassAtOnce(10), 10) << "the hold was over";
}

// A servable that is promoted again and again was there before, and stays.
TEST_F(BasicManagerStarvationMemoryTest, ASuccessorGoesOnWithTheResidency) {
  Loaded({"served", 1}, {Main(40)});
  Waits({"big", 1}, 90);
  for (int64_t version = 2; version < 100; ++version) {
    Managed({"served", version}, {Main(40)});
    const Completion loaded = Load({"served", version});
    ASSERT_TRUE(loaded.is_done()) << version << " was held up for nothing";
    Unload({"served", version - 1});
    Pump();
    EXPECT_TRUE(t_.StopManaging({"served", version - 1}).ok());
    t_.Advance(milliseconds(100));
  }
}

}  // namespace
}  // namespace aspired
