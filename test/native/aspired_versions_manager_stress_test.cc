// AspiredVersionsManager with its thread, under random lists from several
// threads while others read.
//
// Checked, besides what the fakes check by themselves: every list settles;
// under availability-preserving a stream that has had a Ready version and only
// non-empty lists since is never without one; when the lists stop, what is
// served is what was aspired last.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "native/test_util/manager_fixture.h"
#include "native/test_util/test_avm.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::FakeReaders;
using test::kAvailabilityPreserving;
using test::kLoadBroken;
using test::kThreadShapes;
using test::LoaderProbe;
using test::NameOfShape;
using test::ProbePtr;
using test::Promised;
using test::Settled;
using test::ThreadShape;
using Kind = LoaderProbe::Kind;

constexpr int kStreams = 3;
constexpr int64_t kGood = 0;  // a version whose loads never fail

class AspiredVersionsManagerStressTest
    : public ::testing::TestWithParam<ThreadShape> {
 protected:
  AspiredVersionsManagerStressTest() {
    AspiredVersionsManager::Options o;
    o.policy = &kAvailabilityPreserving;
    o.manage_state_interval = milliseconds(5);
    o.num_load_threads = GetParam().load_threads;
    o.num_unload_threads = GetParam().unload_threads;
    o.retry.max_num_load_retries = 1;
    o.retry.quick = {milliseconds(1), milliseconds(2)};
    o.retry.slow = {milliseconds(2), milliseconds(10)};
    o.clock = std::make_shared<SystemClock>();
    o.readers = readers_;
    manager_ = AspiredVersionsManager::Create(std::move(o));
    events_ = std::make_unique<test::EventRecorder>(manager_->bus().get());
    readers_->set_drained(
        [weak = std::weak_ptr<AspiredVersionsManager>(manager_)](
            const ServableId& id, uint64_t epoch) {
          if (auto m = weak.lock()) m->Drained(id, epoch);
        });
  }

  void TearDown() override {
    auto closed = std::make_shared<Promised<std::vector<ServableId>>>();
    ASSERT_TRUE(manager_
                    ->Close(test::kDeadline,
                            [closed](std::vector<ServableId> abandoned) {
                              closed->Set(std::move(abandoned));
                            })
                    .ok());
    const auto abandoned = closed->Get();
    ASSERT_TRUE(abandoned.has_value()) << "close() did not end";
    EXPECT_TRUE(abandoned->empty());
    manager_->Join();
    events_->ExpectAllEnded();
    manager_.reset();
    for (const auto& probe : probes_) {
      probe->JoinThreads();
      EXPECT_TRUE(probe->destroyed());
    }
  }

  ProbePtr NewProbe(std::mt19937& random, int64_t version) {
    constexpr Kind kKinds[] = {Kind::kBlocking, Kind::kNonBlocking,
                               Kind::kOtherThread};
    auto probe = LoaderProbe::Create(kKinds[random() % 3], readers_.get());
    if (version != kGood) {
      for (unsigned i = random() % 4; i > 0; --i) {
        probe->ScriptLoad(kLoadBroken, random() % 4 != 0);
      }
    }
    std::lock_guard<std::mutex> lock(mu_);
    probes_.push_back(probe);
    return probe;
  }

  Settled Aspire(std::mt19937& random, const std::string& name,
                 const std::vector<int64_t>& versions) {
    std::vector<AspiredVersion> list;
    for (int64_t version : versions) {
      AspiredVersion v;
      v.version = version;
      v.loader = NewProbe(random, version)->MakeLoader();
      list.push_back(std::move(v));
    }
    Settled settled;
    EXPECT_TRUE(
        manager_->SetAspiredVersions(name, std::move(list), {}, settled.done())
            .ok());
    return settled;
  }

  static std::string StreamName(int i) {
    return std::string(1, static_cast<char>('a' + i));
  }

  const std::shared_ptr<FakeReaders> readers_ = std::make_shared<FakeReaders>();
  std::shared_ptr<AspiredVersionsManager> manager_;
  std::unique_ptr<test::EventRecorder> events_;
  std::mutex mu_;
  std::vector<ProbePtr> probes_;  // guarded by mu_
};

INSTANTIATE_TEST_SUITE_P(Shapes, AspiredVersionsManagerStressTest,
                         kThreadShapes, NameOfShape);

TEST_P(AspiredVersionsManagerStressTest, RandomListsSettleAndTheLastOneRules) {
  std::mutex mu;
  std::vector<Settled> lists;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random(i);
      std::vector<FakeReaders::Lease> leases;
      for (int round = 0; round < 60; ++round) {
        const std::string name =
            StreamName(static_cast<int>(random() % kStreams));
        std::vector<int64_t> versions;
        for (int64_t v = 0; v < 4; ++v) {
          if (random() % 3 == 0) versions.push_back(v);
        }
        const Settled settled = Aspire(random, name, versions);
        {
          std::lock_guard<std::mutex> lock(mu);
          lists.push_back(settled);
        }
        if (random() % 4 == 0) {
          manager_->SetNumLoadThreads(static_cast<int>(random() % 4));
        }
        if (auto lease = readers_->AcquireLatest(name)) {
          leases.push_back(std::move(lease));
        }
        if (random() % 2 == 0) leases.clear();
        if (random() % 8 == 0) {
          leases.clear();  // a wait under a lease may be a wait for oneself
          std::this_thread::yield();
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::mt19937 random(99);
  for (int i = 0; i < kStreams; ++i) {
    const Settled last = Aspire(random, StreamName(i), {kGood});
    EXPECT_TRUE(last.Wait());
    EXPECT_EQ(last.Text(), "0:Available");
    EXPECT_TRUE(readers_->IsOpen({StreamName(i), kGood}));
  }
  EXPECT_EQ(readers_->OpenIds().size(), size_t{kStreams});
  for (const auto& list : lists) {
    EXPECT_TRUE(list.Wait());
    EXPECT_EQ(list.times(), 1);
  }
}

TEST_P(AspiredVersionsManagerStressTest, AStreamWithAReadyVersionKeepsOne) {
  std::mt19937 random(7);
  ASSERT_TRUE(Aspire(random, "a", {kGood}).Wait());
  std::atomic<bool> stop = false;
  std::atomic<int> reads = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        const auto lease = readers_->AcquireLatest("a");
        ASSERT_TRUE(lease);
        ++reads;
        std::this_thread::yield();
      }
    });
  }
  std::vector<Settled> lists;
  for (int round = 0; round < 80; ++round) {
    std::vector<int64_t> versions;
    for (int64_t v = 0; v < 4; ++v) {
      if (random() % 2 == 0) versions.push_back(v);
    }
    if (versions.empty()) versions.push_back(kGood);
    lists.push_back(Aspire(random, "a", versions));
    EXPECT_TRUE(random() % 4 != 0 || lists.back().Wait());
    const int before = reads;
    while (reads < before + 2) std::this_thread::yield();
  }
  lists.push_back(Aspire(random, "a", {kGood}));
  for (const auto& list : lists) EXPECT_TRUE(list.Wait());
  stop = true;
  for (auto& reader : readers) reader.join();
}

}  // namespace
}  // namespace aspired
