// BasicManager under random operations from several threads.
//
// What is checked: the obligations of loader.h (FakeLoader), the order of
// Readers and no Unload() under a lease (FakeReaders), forward events with one
// End per incarnation (EventRecorder), one completion per request, no version
// that is visible after its load was cancelled, and that everything comes to
// rest.
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

namespace aspired {
namespace {

using test::Completion;
using test::FakeReaders;
using test::kThreadShapes;
using test::LoaderProbe;
using test::NameOfShape;
using test::ProbePtr;
using test::TestManager;
using test::ThreadShape;
using Kind = LoaderProbe::Kind;

const Status kBroken(ErrorCode::kLoadFailed, "broken");
constexpr int kNames = 2;
constexpr int kVersions = 3;
constexpr int kThreads = 4;
constexpr int kOperations = 2000;

class BasicManagerStressTest : public ::testing::TestWithParam<ThreadShape> {
 protected:
  BasicManagerStressTest()
      : t_({.load_threads = GetParam().load_threads,
            .unload_threads = GetParam().unload_threads,
            .max_num_load_retries = 2}) {}

  ServableId RandomId(std::mt19937& random) {
    return {std::string(1, static_cast<char>('a' + random() % kNames)),
            static_cast<int64_t>(random() % kVersions)};
  }

  ProbePtr RandomProbe(std::mt19937& random) {
    constexpr Kind kKinds[] = {Kind::kBlocking, Kind::kNonBlocking,
                               Kind::kOtherThread};
    auto probe = t_.NewProbe(kKinds[random() % 3]);
    for (unsigned i = random() % 4; i > 0; --i) {
      probe->ScriptLoad(kBroken, random() % 4 != 0);
    }
    if (random() % 8 == 0) {
      probe->FailUnloads(Status(ErrorCode::kUnloadFailed, "stuck"));
    }
    return probe;
  }

  void Keep(Completion end) {
    std::lock_guard<std::mutex> lock(mu_);
    ends_.push_back(std::move(end));
  }

  // One thread's work. It does not wait for effects: others deliver them.
  void Operate(unsigned seed) {
    std::mt19937 random(seed);
    std::vector<FakeReaders::Lease> leases;
    for (int i = 0; i < kOperations; ++i) {
      const ServableId id = RandomId(random);
      BasicManager& m = *t_.manager;
      switch (random() % 12) {
        case 0:
        case 1:
          (void)t_.TryManage(id, RandomProbe(random));
          break;
        case 2:
        case 3:
        case 4: {
          Completion end;
          m.LoadServable(id, end.done());
          Keep(end);
          break;
        }
        case 5:
        case 6: {
          Completion end;
          m.UnloadServable(id, end.done());
          Keep(end);
          break;
        }
        case 7:
          (void)m.CancelLoad(id);
          break;
        case 8:
          (void)m.RevokeUnload(id);
          break;
        case 9:
          (void)m.StopManagingServable(id);
          break;
        case 10:
          if (leases.size() > 3) leases.erase(leases.begin());
          if (auto lease = t_.readers->Acquire(id)) {
            leases.push_back(std::move(lease));
          }
          break;
        default:
          if (random() % 2 == 0) {
            m.SetNumLoadThreads(static_cast<int>(random() % 4));
          } else {
            m.SetNumUnloadThreads(static_cast<int>(random() % 3));
          }
      }
      m.Flush();
    }
  }

  TestManager t_;
  std::mutex mu_;
  std::vector<Completion> ends_;  // guarded by mu_
};

INSTANTIATE_TEST_SUITE_P(Shapes, BasicManagerStressTest, kThreadShapes,
                         NameOfShape);

TEST_P(BasicManagerStressTest, RandomOperationsKeepEveryInvariant) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([this, i] { Operate(1000 + i); });
  }
  for (auto& thread : threads) thread.join();
  // Leases are back, nothing fails for ever: every request comes to its end.
  for (const auto& end : ends_) {
    (void)end.status();
    EXPECT_EQ(end.times(), 1);
  }
}

TEST_P(BasicManagerStressTest, WhatWasCancelledInTimeIsNeverVisible) {
  std::atomic<int> cancelled = 0, loaded = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random(static_cast<unsigned>(i));
      for (int64_t v = 0; v < 60; ++v) {
        const ServableId id{std::string(1, static_cast<char>('a' + i)), v};
        t_.Manage(id, RandomProbe(random));
        Completion end;
        t_.manager->LoadServable(id, end.done());
        t_.manager->Flush();
        for (unsigned spin = random() % 50; spin > 0; --spin) {
          std::this_thread::yield();
        }
        const Status s = t_.manager->CancelLoad(id);
        t_.manager->Flush();
        const Status outcome = end.status();
        if (s.ok()) {
          ++cancelled;
          EXPECT_FALSE(outcome.ok());
          EXPECT_EQ(t_.readers->opens(id), 0);
          EXPECT_FALSE(t_.events->EverAvailable(id));
        } else if (outcome.ok()) {
          ++loaded;
          EXPECT_TRUE(t_.events->EverAvailable(id));
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  RecordProperty("cancelled", cancelled.load());
  RecordProperty("loaded", loaded.load());
}

TEST_P(BasicManagerStressTest, ReadersOfLatestNeverMissDuringPromotions) {
  // 1 -> 2 -> 3 ...: the new one is Ready before the old one goes.
  t_.Loaded({"m", 0});
  std::atomic<bool> stop = false;
  std::atomic<int> reads = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      int64_t latest = 0;
      while (!stop) {
        const auto lease = t_.readers->AcquireLatest("m");
        ASSERT_TRUE(lease);
        ASSERT_GE(lease.id().version, latest);
        latest = lease.id().version;
        ++reads;
      }
    });
  }
  for (int64_t v = 1; v <= 30; ++v) {
    t_.Loaded({"m", v});
    EXPECT_TRUE(t_.Unload({"m", v - 1}).status().ok());
    EXPECT_TRUE(t_.StopManaging({"m", v - 1}).ok());
    const int before = reads;
    while (reads < before + 3) std::this_thread::yield();
  }
  stop = true;
  for (auto& reader : readers) reader.join();
}

}  // namespace
}  // namespace aspired
