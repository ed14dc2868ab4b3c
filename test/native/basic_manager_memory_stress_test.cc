// BasicManager with memory under threads: loads and unloads on a pool of their
// own, a meter that moves, standbys, limits that change, reports meanwhile.
//
// What is checked: the obligations of loader.h and of readers (FakeLoader,
// FakeReaders), forward events with one End each (EventRecorder), one
// completion per request; that what is reserved for loads under way never
// exceeds the highest limit that was ever set; that everything comes to rest,
// and the ledger to zero.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "native/test_util/allocations.h"
#include "native/test_util/fake_meter.h"
#include "native/test_util/test_manager.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::Allocation;
using test::AnyCuda;
using test::Completion;
using test::Cuda;
using test::FakeMeter;
using test::LoaderProbe;
using test::Main;
using test::ProbePtr;
using test::TestManager;
using Kind = LoaderProbe::Kind;

constexpr uint64_t kLimit = 100;
constexpr uint64_t kGpu = 50;
constexpr int kThreads = 3;
constexpr int kOperations = 700;
constexpr int kVersions = 8;

class BasicManagerMemoryStressTest : public ::testing::Test {
 protected:
  ProbePtr RandomProbe(std::mt19937& random) {
    constexpr Kind kKinds[] = {Kind::kBlocking, Kind::kNonBlocking,
                               Kind::kOtherThread};
    auto probe = t_.NewProbe(kKinds[random() % 3]);
    const uint64_t main = 1 + random() % 60;
    switch (random() % 5) {
      case 0:
        break;  // no estimate
      case 1:
        probe->Estimate(Allocation({Main(main), AnyCuda(1 + random() % 40)}));
        break;
      case 2:
        probe->Estimate(Allocation({Main(random() % 130)}));
        break;
      default:
        probe->Estimate(Allocation({Main(main)}));
    }
    if (random() % 6 == 0) {
      probe->ScriptEstimate(
          {Status(ErrorCode::kEstimateFailed, "no"), random() % 2 == 0});
    }
    if (random() % 4 == 0) {
      probe->ScriptLoad(Status(ErrorCode::kLoadFailed, "no"));
    }
    // Captured weakly: the hook belongs to the probe.
    probe->OnLoad([this, weak = std::weak_ptr<LoaderProbe>(probe)] {
      const auto p = weak.lock();
      EXPECT_LE(MainOf(p->reserved()), kLimit);
      const uint64_t sum = under_way_ += MainOf(p->reserved());
      EXPECT_LE(sum, kLimit) << "of loads that overlap";
      meter_->Grow(0, 3);
      std::this_thread::yield();
      meter_->Grow(0, -3);
      under_way_ -= MainOf(p->reserved());
    });
    return probe;
  }

  static uint64_t MainOf(const ResourceAllocation& reserved) {
    for (const auto& entry : reserved.entries) {
      if (entry.resource.device == kMain) return entry.quantity;
    }
    return 0;
  }

  void Operate(unsigned seed) {
    std::mt19937 random(seed);
    BasicManager& m = *t_.manager;
    for (int i = 0; i < kOperations; ++i) {
      const ServableId id{"m", static_cast<int64_t>(random() % kVersions)};
      switch (random() % 12) {
        case 0:
        case 1: {
          // Refused when it is managed: then the probe's loader dies here.
          const auto probe = RandomProbe(random);
          auto loader = probe->MakeLoader();
          t_.Remember(probe);
          (void)m.ManageServable(id, loader);
          break;
        }
        case 2:
        case 3: {
          LoadOptions options;
          options.priority = static_cast<int>(random() % 3);
          options.frees_own = random() % 2 == 0;
          Completion end;
          m.LoadServable(id, options, end.done());
          Keep(end);
          break;
        }
        case 4:
        case 5: {
          UnloadOptions options;
          options.keep_drained = random() % 2 == 0;
          Completion end;
          m.UnloadServable(id, options, end.done());
          Keep(end);
          break;
        }
        case 6:
          (void)m.CancelLoad(id);
          break;
        case 7:
          (void)m.RevokeUnload(id);
          break;
        case 8:
          (void)m.StopManagingServable(id);
          break;
        case 9:
          m.EvictStandby(id);
          break;
        case 10:
          m.SetLimits({kLimit / (1 + random() % 2), kGpu, kGpu});
          break;
        default:
          meter_->SetUsed(1, random() % kGpu);
          (void)m.GetResources();
          (void)m.ExplainWait(id);
          (void)m.FitsWithout(id, {{"m", 0}, {"m", 1}});
          t_.clock->Advance(milliseconds(random() % 50));
      }
      m.Flush();
    }
  }
  void Keep(const Completion& end) {
    std::lock_guard<std::mutex> lock(mu_);
    ends_.push_back(end);
  }

  const std::shared_ptr<FakeMeter> meter_ =
      std::make_shared<FakeMeter>(std::vector<uint64_t>{kLimit, kGpu, kGpu});
  std::atomic<uint64_t> under_way_ = 0;
  std::mutex mu_;
  std::vector<Completion> ends_;  // guarded by mu_
  TestManager t_{
      {.load_threads = 3,
       .unload_threads = 2,
       .max_num_load_retries = 1,
       .limits = Allocation({Main(kLimit), Cuda(0, kGpu), Cuda(1, kGpu)}),
       .meter = meter_,
       .on_pressure = [](const ServableId&) {}}};
};

TEST_F(BasicManagerMemoryStressTest, RandomOperationsKeepEveryInvariant) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([this, i] { Operate(4000 + i); });
  }
  for (auto& thread : threads) thread.join();
  // What waits for memory is let go; the rest comes to its end by itself.
  meter_->SetUsed(1, 0);
  for (int64_t version = 0; version < kVersions; ++version) {
    (void)t_.manager->CancelLoad({"m", version});
  }
  // The end of an unload to a standby is the end of that.
  t_.manager->EvictStandbys();
  t_.Sync();
  for (const auto& end : ends_) {
    (void)end.status();
    EXPECT_EQ(end.times(), 1);
  }
  std::vector<Completion> unloads;
  for (int64_t version = 0; version < kVersions; ++version) {
    unloads.push_back(t_.Unload({"m", version}));
  }
  for (const auto& unload : unloads) (void)unload.status();
}

TEST_F(BasicManagerMemoryStressTest, AStormOfPromotionsFitsInTheEnd) {
  // Old and new never fit beside each other: each waits for the one before.
  constexpr int kStreams = 4;
  std::vector<std::thread> threads;
  for (int i = 0; i < kStreams; ++i) {
    threads.emplace_back([this, i] {
      const std::string name(1, static_cast<char>('a' + i));
      for (int64_t version = 0; version < 25; ++version) {
        auto probe = t_.NewProbe();
        probe->Estimate(Allocation({Main(60)}));
        t_.Manage({name, version}, probe);
        const Completion load = t_.Load({name, version});
        EXPECT_TRUE(load.status().ok());
        EXPECT_TRUE(t_.Unload({name, version}).status().ok());
        EXPECT_TRUE(t_.StopManaging({name, version}).ok());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const auto report = t_.manager->GetResources();
  EXPECT_EQ(report.devices[0].reserved, 0u);
  EXPECT_EQ(report.devices[0].measured, 0);
  EXPECT_TRUE(report.versions.empty());
}

}  // namespace
}  // namespace aspired
