// FakeMeter: memory of devices that a test sets.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_METER_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_METER_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "resources/memory_meter.h"

namespace aspired::test {

// Thread-safe. The RSS begins at 1 GiB and is not part of any reading; there is
// no cgroup.
class FakeMeter final : public MemoryMeter {
 public:
  // One device each, main memory first; nothing is used.
  explicit FakeMeter(const std::vector<uint64_t>& totals) {
    for (const uint64_t total : totals) {
      DeviceReading reading;
      reading.total = total;
      readings_.push_back(std::move(reading));
    }
  }

  std::vector<DeviceReading> Read() override {
    std::function<void()> after;
    std::vector<DeviceReading> readings;
    {
      std::lock_guard<std::mutex> lock(mu_);
      ++reads_;
      readings = readings_;
      after = std::exchange(after_read_, nullptr);
    }
    if (after) after();
    return readings;
  }
  // Once: between the moment of the next reading and its return.
  void AfterNextRead(std::function<void()> hook) {
    std::lock_guard<std::mutex> lock(mu_);
    after_read_ = std::move(hook);
  }
  SelfMemory ReadSelf() override {
    std::lock_guard<std::mutex> lock(mu_);
    return self_;
  }

  void SetUsed(size_t device, uint64_t used) {
    std::lock_guard<std::mutex> lock(mu_);
    readings_.at(device).used = used;
  }
  void SetTotal(size_t device, uint64_t total) {
    std::lock_guard<std::mutex> lock(mu_);
    readings_.at(device).total = total;
  }
  void SetSelf(size_t device, std::optional<uint64_t> self) {
    std::lock_guard<std::mutex> lock(mu_);
    readings_.at(device).self = self;
  }
  // Until it is given a total again by Restore().
  void Lose(size_t device, Status status) {
    std::lock_guard<std::mutex> lock(mu_);
    DeviceReading lost;
    lost.status = std::move(status);
    readings_.at(device) = std::move(lost);
  }
  void Restore(size_t device, uint64_t total, uint64_t used) {
    std::lock_guard<std::mutex> lock(mu_);
    DeviceReading back;
    back.total = total;
    back.used = used;
    readings_.at(device) = std::move(back);
  }
  // By what a load takes, or an unload gives back: of this process, and so of
  // what is used.
  void Grow(size_t device, int64_t bytes) {
    std::lock_guard<std::mutex> lock(mu_);
    const auto by = static_cast<uint64_t>(bytes);  // wraps for less
    readings_.at(device).used += by;
    if (device == 0) self_.rss += by;
    if (auto& self = readings_.at(device).self) *self += by;
  }
  // By what another process takes.
  void GrowForeign(size_t device, int64_t bytes) {
    std::lock_guard<std::mutex> lock(mu_);
    readings_.at(device).used += static_cast<uint64_t>(bytes);
  }
  // 0: the system does not say.
  void SetSelfRam(uint64_t bytes) {
    std::lock_guard<std::mutex> lock(mu_);
    self_.rss = bytes;
  }
  void SetCgroup(std::optional<CgroupCharge> charge) {
    std::lock_guard<std::mutex> lock(mu_);
    self_.cgroup = charge;
  }
  // Charged to the cgroup, and not resident. REQUIRES: there is one.
  void Charge(int64_t kept, int64_t cache) {
    std::lock_guard<std::mutex> lock(mu_);
    self_.cgroup->kept += static_cast<uint64_t>(kept);
    self_.cgroup->charged += static_cast<uint64_t>(kept + cache);
  }
  int reads() const {
    std::lock_guard<std::mutex> lock(mu_);
    return reads_;
  }

 private:
  mutable std::mutex mu_;
  // Guarded by mu_.
  std::vector<DeviceReading> readings_;
  SelfMemory self_ = 1ull << 30;
  int reads_ = 0;
  std::function<void()> after_read_;
};

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_METER_H_
