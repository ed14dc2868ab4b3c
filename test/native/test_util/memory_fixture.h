// MemoryTest: a manager of 100 MiB of main memory and two GPUs of 50 MiB, with
// a meter that the test sets; loaders do not block and nothing has a thread, so
// that everything happens in Pump(). Quantities are in MiB where a test gives
// them, in bytes where it reads them.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_MEMORY_FIXTURE_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_MEMORY_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "native/test_util/allocations.h"
#include "native/test_util/fake_meter.h"
#include "native/test_util/test_manager.h"

namespace aspired::test {

inline constexpr int64_t kMiB = 1 << 20;

class MemoryTest : public ::testing::Test {
 protected:
  explicit MemoryTest(TestManager::Options options = {})
      : t_(WithMemory(std::move(options), meter_)) {}

  // No entries: its loader has no estimate.
  ProbePtr Managed(const ServableId& id, std::vector<Entry> entries) {
    auto probe = t_.NewProbe(LoaderProbe::Kind::kNonBlocking);
    for (Entry& entry : entries) entry.quantity *= kMiB;
    if (!entries.empty()) probe->Estimate(Allocation(std::move(entries)));
    t_.Manage(id, probe);
    return probe;
  }
  ProbePtr Loaded(const ServableId& id, std::vector<Entry> entries) {
    auto probe = Managed(id, std::move(entries));
    const Completion end = Load(id);
    EXPECT_TRUE(end.is_done() && end.status().ok()) << id.ToString();
    return probe;
  }
  void Pump() { t_.Pump(); }
  Completion Load(const ServableId& id, LoadOptions options = {}) {
    Completion end = t_.Load(id, options);
    Pump();
    return end;
  }
  Completion Unload(const ServableId& id, UnloadOptions options = {}) {
    Completion end = t_.Unload(id, std::move(options));
    Pump();
    return end;
  }
  void SetLimits(uint64_t main) {
    t_.manager->SetLimits({main * kMiB, 50 * kMiB, 50 * kMiB});
    Pump();
  }
  ResourcesReport::Device Device(size_t index) {
    return t_.manager->GetResources().devices.at(index);
  }
  void ExpectBaseline() {
    const auto report = t_.manager->GetResources();
    for (const auto& device : report.devices) {
      EXPECT_EQ(device.reserved, 0u) << device.device << device.instance;
      EXPECT_EQ(device.measured, 0) << device.device << device.instance;
      EXPECT_EQ(device.estimated, 0u) << device.device << device.instance;
    }
    EXPECT_TRUE(report.versions.empty());
  }

  const std::shared_ptr<FakeMeter> meter_ = std::make_shared<FakeMeter>(
      std::vector<uint64_t>{100 * kMiB, 50 * kMiB, 50 * kMiB});
  TestManager t_;

 private:
  static TestManager::Options WithMemory(
      TestManager::Options options, const std::shared_ptr<FakeMeter>& meter) {
    options.load_threads = 1;
    options.pump_thread = false;
    options.meter = meter;
    options.limits =
        Allocation({Main(100 * kMiB), Cuda(0, 50 * kMiB), Cuda(1, 50 * kMiB)});
    return options;
  }
};

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_MEMORY_FIXTURE_H_
