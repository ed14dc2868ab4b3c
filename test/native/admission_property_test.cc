// Admission under random operations: estimates, limits, completions, failures,
// cancels, unloads, standbys, priorities and memory of others; a fake clock.
//
// Always: what is reserved on a device stays within its limit (unless that was
// lowered below it), and a load begins only where its reservation is really
// free. At rest, when the clock has moved on: what fits was admitted. In the
// end: the ledger is at zero. And nobody starves.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/basic_manager.h"
#include "native/test_util/allocations.h"
#include "native/test_util/event_recorder.h"
#include "native/test_util/fake_clock.h"
#include "native/test_util/fake_meter.h"

namespace aspired {
namespace {

using std::chrono::milliseconds;
using test::Allocation;
using test::AnyCuda;
using test::Cuda;
using test::FakeMeter;
using test::Main;
using enum HarnessState;

constexpr size_t kDevices = 3;
constexpr uint64_t kMiB = 1 << 20;
constexpr std::array<uint64_t, kDevices> kTotals = {100 * kMiB, 50 * kMiB,
                                                    50 * kMiB};
using PerDevice = std::array<uint64_t, kDevices>;

// One version, as the test knows it.
struct Version {
  ServableId id;
  ResourceAllocation estimate;
  PerDevice reserved = {};
  PerDevice used = {};
  Loader::EstimateDone estimating;
  Loader::LoadDone loading;
  Loader::UnloadDone unloading;
};

size_t DeviceOf(const Resource& resource) {
  return resource.device == kMain ? 0 : 1 + resource.instance.value_or(0);
}

class World {
 public:
  explicit World(unsigned seed, int load_threads = 8) : random_(seed) {
    BasicManagerOptions o;
    o.num_load_threads = load_threads;
    o.num_unload_threads = 4;
    o.retry.max_num_load_retries = 0;
    o.clock = clock_;
    o.bus = bus_;
    o.meter = meter_;
    o.limits = Allocation(
        {Main(kTotals[0]), Cuda(0, kTotals[1]), Cuda(1, kTotals[2])});
    o.wake = [this] { woken_ = true; };
    o.random_seed = seed;
    // Some systems tell what this process has of a device.
    if (seed % 2 == 1) {
      meter_->SetSelf(0, meter_->ReadSelf().rss);
      for (size_t d = 1; d < kDevices; ++d) meter_->SetSelf(d, 0);
    }
    manager_ = BasicManager::Create(std::move(o));
  }
  ~World() {
    manager_->Shutdown(std::nullopt);
    manager_->Flush();
    manager_.reset();
    events_.ExpectAllEnded();
  }

  unsigned Random(unsigned below) { return random_() % below; }

  // As the thread of an owner would.
  void Pump() {
    do {
      woken_ = false;
      manager_->Flush();
      manager_->Pump();
    } while (woken_);
  }
  void Advance(milliseconds by) {
    clock_->Advance(by);
    Pump();
  }

  Version* Add(ResourceAllocation estimate, int priority, bool hold_estimate);
  // A random one with that state; null when there is none.
  Version* Any(HarnessState state);
  std::vector<Version*> All(HarnessState state);
  bool IsStandby(const Version& v) {
    return manager_->GetSnapshot(v.id)->standby;
  }
  void FinishEstimate(Version& v) {
    std::exchange(v.estimating, nullptr)({{}, true, v.estimate});
  }
  void FinishLoad(Version& v, bool ok);
  void FinishUnload(Version& v) {
    Use(v, {});
    v.reserved = {};
    std::exchange(v.unloading, nullptr)(Status::Ok());
  }
  void Forget(Version* v);
  void SetForeign(size_t device, uint64_t bytes);
  void SetLimit(size_t device, uint64_t bytes) {
    limits_[device] = bytes;
    manager_->SetLimits({limits_.begin(), limits_.end()});
  }
  void RandomStep();
  void ComeToRest();
  void ExpectNothingWaitsThatFits();
  void Empty();
  void ExpectZero();

  void LoadsUseNoMemory() { loads_use_memory_ = false; }
  size_t admitted() const { return admitted_.size(); }
  BasicManager& manager() { return *manager_; }
  size_t size() const { return versions_.size(); }

 private:
  class WorldLoader;
  void OnLoad(Version& v, const LoadContext& context, Loader::LoadDone done);
  void Use(Version& v, const PerDevice& now);
  ResourceAllocation RandomEstimate();

  std::mt19937 random_;
  const std::shared_ptr<test::FakeClock> clock_ =
      std::make_shared<test::FakeClock>();
  const std::shared_ptr<FakeMeter> meter_ = std::make_shared<FakeMeter>(
      std::vector<uint64_t>(kTotals.begin(), kTotals.end()));
  const std::shared_ptr<ServableEventBus> bus_ =
      std::make_shared<ServableEventBus>();
  test::EventRecorder events_{bus_.get()};
  std::shared_ptr<BasicManager> manager_;
  std::map<int64_t, std::unique_ptr<Version>> versions_;
  PerDevice limits_ = kTotals;
  PerDevice foreign_ = {};
  int64_t next_ = 1;
  std::vector<int64_t> admitted_;
  bool woken_ = false;
  bool loads_use_memory_ = true;
};

class World::WorldLoader final : public Loader {
 public:
  WorldLoader(World* world, Version* v, bool hold_estimate)
      : world_(*world), v_(*v), hold_estimate_(hold_estimate) {}
  bool Blocks() const override { return false; }
  bool Estimates() const override { return !v_.estimate.empty(); }
  void EstimateResources(const ServableId&, EstimateDone done) override {
    v_.estimating = std::move(done);
    if (!hold_estimate_) world_.FinishEstimate(v_);
  }
  void Load(const LoadContext& context, LoadDone done) override {
    world_.OnLoad(v_, context, std::move(done));
  }
  void Unload(UnloadDone done) override { v_.unloading = std::move(done); }

 private:
  World& world_;
  Version& v_;
  const bool hold_estimate_;
};

Version* World::Add(ResourceAllocation estimate, int priority,
                    bool hold_estimate) {
  const int64_t version = next_++;
  auto& v = versions_[version] = std::make_unique<Version>();
  v->id = {"m", version};
  v->estimate = std::move(estimate);
  std::unique_ptr<Loader> loader =
      std::make_unique<WorldLoader>(this, v.get(), hold_estimate);
  EXPECT_TRUE(manager_->ManageServable(v->id, loader).ok());
  LoadOptions options;
  options.priority = priority;
  manager_->LoadServable(v->id, options, nullptr);
  return v.get();
}

std::vector<Version*> World::All(HarnessState state) {
  std::vector<Version*> all;
  for (const auto& snapshot : manager_->GetSnapshots("m")) {
    if (snapshot.state != state) continue;
    all.push_back(versions_.at(snapshot.version).get());
  }
  return all;
}

Version* World::Any(HarnessState state) {
  const auto all = All(state);
  return all.empty() ? nullptr : all[Random(static_cast<unsigned>(all.size()))];
}

void World::Use(Version& v, const PerDevice& now) {
  for (size_t d = 0; d < kDevices; ++d) {
    meter_->Grow(d, static_cast<int64_t>(now[d] - v.used[d]));
  }
  v.used = now;
}

void World::OnLoad(Version& v, const LoadContext& context,
                   Loader::LoadDone done) {
  admitted_.push_back(v.id.version);
  for (const auto& entry : context.reserved.entries) {
    v.reserved[DeviceOf(entry.resource)] += entry.quantity;
  }
  PerDevice sum = {};
  for (const auto& [version, other] : versions_) {
    for (size_t d = 0; d < kDevices; ++d) sum[d] += other->reserved[d];
  }
  const auto readings = meter_->Read();
  PerDevice takes = {};
  for (size_t d = 0; d < kDevices; ++d) {
    if (v.reserved[d] == 0) continue;
    EXPECT_LE(sum[d], limits_[d]) << v.id.ToString() << " on " << d;
    EXPECT_LE(readings[d].used + v.reserved[d], readings[d].total)
        << v.id.ToString() << " on " << d;
    // Never more than was set aside.
    if (loads_use_memory_) takes[d] = v.reserved[d] * Random(5) / 4;
  }
  Use(v, takes);
  v.loading = std::move(done);
}

void World::FinishLoad(Version& v, bool ok) {
  if (!ok) {
    Use(v, {});
    v.reserved = {};
  }
  std::exchange(v.loading, nullptr)(
      {ok ? Status::Ok() : Status(ErrorCode::kLoadFailed, "no")});
  if (!ok || v.reserved[0] == 0) return;
  // Where it was more than was ever there, what it did not take goes back.
  for (const auto& row : manager_->GetResources().versions) {
    if (row.id != v.id) continue;
    uint64_t left = 0;
    for (const auto& share : row.shares) {
      if (share.device == 0) left = share.reserved;
    }
    EXPECT_LE(left, v.reserved[0]);
    EXPECT_GE(left, std::min(v.reserved[0], v.used[0]));
    v.reserved[0] = left;
  }
}

void World::Forget(Version* v) {
  EXPECT_TRUE(manager_->StopManagingServable(v->id).ok());
  manager_->Flush();
  // A held estimate outlives its version: it is answered into the void.
  if (v->estimating) FinishEstimate(*v);
  versions_.erase(v->id.version);
}

void World::SetForeign(size_t device, uint64_t bytes) {
  // Not of this process.
  meter_->GrowForeign(device, static_cast<int64_t>(bytes - foreign_[device]));
  foreign_[device] = bytes;
  // Older readings do not show it; they are too old, then.
  clock_->Advance(milliseconds(20));
}

ResourceAllocation World::RandomEstimate() {
  const auto some = [this](unsigned most) { return (1 + Random(most)) * kMiB; };
  switch (Random(8)) {
    case 0:
      return {};
    case 1:
      return Allocation({AnyCuda(some(50))});
    case 2:
      return Allocation({Main(some(20)), Cuda(Random(2), some(40))});
    case 3:
      return Allocation({Main(some(60)), AnyCuda(some(30))});
    case 4:
      return Allocation({Main(some(130))});
    default:
      return Allocation({Main(some(40))});
  }
}

void World::RandomStep() {
  switch (Random(12)) {
    case 0:
    case 1:
    case 2:
      if (versions_.size() > 60) break;
      Add(RandomEstimate(), static_cast<int>(Random(3)), Random(4) == 0);
      break;
    case 3:
    case 4:
      if (Version* v = Any(kLoading)) FinishLoad(*v, Random(4) != 0);
      break;
    case 5:
      if (Version* v = Any(kReady)) {
        UnloadOptions options;
        options.keep_drained = Random(3) == 0;
        manager_->UnloadServable(v->id, options, nullptr);
      }
      break;
    case 6:
      if (Version* v = Any(kUnloading)) {
        if (v->unloading) FinishUnload(*v);
      }
      break;
    case 7:
      if (Version* v = Any(Random(2) == 0 ? kLoadRequested : kLoading)) {
        EXPECT_TRUE(manager_->CancelLoad(v->id).ok());
      }
      break;
    case 8:
      if (Version* v = Any(kQuiesced)) (void)manager_->RevokeUnload(v->id);
      break;
    case 9:
      if (Version* v = Any(kLoadRequested)) {
        if (v->estimating) FinishEstimate(*v);
      }
      break;
    case 10: {
      const unsigned d = Random(kDevices);
      const uint64_t most = kTotals[d];
      if (Random(2) == 0) {
        SetForeign(d, Random(3) * most / 4);
      } else {
        SetLimit(d, most * (2 + Random(3)) / 4);
      }
      break;
    }
    default:
      for (HarnessState state : {kDisabled, kError}) {
        if (Version* v = Any(state)) Forget(v);
      }
  }
  Advance(milliseconds(Random(2) * Random(150)));
}

// Everything under way ends, and the clock moves as the owner's thread would.
void World::ComeToRest() {
  for (int round = 0; round < 10'000; ++round) {
    Pump();
    bool any = false;
    for (const auto& [version, v] : versions_) {
      any |= v->estimating || v->loading || v->unloading;
      if (v->estimating) FinishEstimate(*v);
      if (v->loading) FinishLoad(*v, true);
      if (v->unloading) FinishUnload(*v);
    }
    Pump();
    // A hold, or the next look at memory: whatever is due comes.
    const auto due = manager_->NextDue();
    if (!any && round > 100) return;
    if (due) clock_->Set(*due);
  }
  FAIL() << "it does not come to rest";
}

void World::ExpectNothingWaitsThatFits() {
  for (const Version* v : All(kLoadRequested)) {
    EXPECT_NE(manager_->FitsWithout(v->id, {}), true)
        << v->id.ToString() << " " << v->estimate.ToString() << ": "
        << manager_->ExplainWait(v->id);
  }
  EXPECT_TRUE(All(kLoading).empty());
  // And the ledger is that of the test.
  const auto report = manager_->GetResources();
  for (size_t d = 0; d < kDevices; ++d) {
    uint64_t reserved = 0;
    for (const auto& [version, v] : versions_) reserved += v->reserved[d];
    EXPECT_EQ(report.devices[d].reserved, reserved) << d;
  }
}

void World::Empty() {
  for (size_t d = 0; d < kDevices; ++d) {
    SetForeign(d, 0);
    SetLimit(d, kTotals[d]);
  }
  for (int round = 0; round < 200; ++round) {
    ComeToRest();
    manager_->EvictStandbys();
    for (Version* v : All(kReady)) {
      manager_->UnloadServable(v->id, UnloadOptions(), nullptr);
    }
    ComeToRest();
    for (HarnessState state : {kDisabled, kError}) {
      for (Version* v : All(state)) Forget(v);
    }
    if (versions_.empty()) return;
  }
  FAIL() << versions_.size() << " versions never came to their end";
}

void World::ExpectZero() {
  const auto report = manager_->GetResources();
  for (const auto& device : report.devices) {
    EXPECT_EQ(device.reserved, 0u);
    EXPECT_EQ(device.measured, 0);
    EXPECT_EQ(device.available, device.limit);
  }
  EXPECT_TRUE(report.versions.empty());
}

class AdmissionPropertyMemoryTest : public ::testing::TestWithParam<unsigned> {
};

TEST_P(AdmissionPropertyMemoryTest, RandomOperationsKeepEveryInvariant) {
  constexpr int kSeeds = 4;
  size_t admitted = 0;
  for (unsigned s = 0; s < kSeeds; ++s) {
    const unsigned seed = GetParam() * kSeeds + s;
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    for (int phase = 0; phase < 4; ++phase) {
      for (int step = 0; step < 250; ++step) world.RandomStep();
      world.ComeToRest();
      world.ExpectNothingWaitsThatFits();
      if (HasFailure()) return;
    }
    world.Empty();
    world.ExpectZero();
    admitted += world.admitted();
    if (HasFailure()) return;
  }
  EXPECT_GT(admitted, 150u) << "or nothing was tested";
}

// A stream of small loads that come and go, each for at most three seconds: a
// big one that needs most of them gone is admitted within a few holds.
void ExpectBigOneIsAdmitted(World& world, uint64_t needs) {
  std::multimap<int, Version*> ends;  // at which step
  Version* big = nullptr;
  int step = 0;  // of 50 ms
  for (; step < 3000; ++step) {
    if (step == 40) {
      // Nobody is before it, and all memory is in use.
      for (const Version* older : world.All(kLoadRequested)) {
        EXPECT_TRUE(world.manager().CancelLoad(older->id).ok());
      }
      big = world.Add(Allocation({Main(needs)}), 0, false);
    }
    Version* v =
        world.Add(Allocation({Main((1 + world.Random(25)) * kMiB)}), 0, false);
    ends.emplace(step + 1 + static_cast<int>(world.Random(60)), v);
    world.Advance(milliseconds(50));
    if (big != nullptr && big->loading) break;
    while (!ends.empty() && ends.begin()->first <= step) {
      Version* over = ends.begin()->second;
      ends.erase(ends.begin());
      if (over->loading) {
        world.FinishLoad(*over, false);
      } else {
        (void)world.manager().CancelLoad(over->id);
      }
      world.Pump();
    }
  }
  EXPECT_TRUE(big->loading) << "it starves";
  // Holds of 1, 2 and 4 s, each after 8 that went past it, and between them
  // four times as long.
  EXPECT_LE(step, 40 + 20 * (1 + 4 + 2 + 8 + 4) + 3 * 20);
  world.Empty();
  world.ExpectZero();
}

TEST_P(AdmissionPropertyMemoryTest, NoLoadStarvesBehindSmallerYoungerOnes) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  World world(GetParam(), /*load_threads=*/64);
  world.LoadsUseNoMemory();
  ExpectBigOneIsAdmitted(world, (80 + world.Random(21)) * kMiB);
}

// What overlapping loads took is known only roughly: some of it looks like the
// memory of others until they are gone, so there has to be a margin.
TEST_P(AdmissionPropertyMemoryTest, NorWhenTheirMemoryIsMeasured) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  World world(GetParam(), /*load_threads=*/64);
  ExpectBigOneIsAdmitted(world, (50 + world.Random(11)) * kMiB);
}

INSTANTIATE_TEST_SUITE_P(Seeds, AdmissionPropertyMemoryTest,
                         ::testing::Range(1u, 11u));

}  // namespace
}  // namespace aspired
