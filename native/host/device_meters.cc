#include "host/device_meters.h"

#include <chrono>
#include <utility>

namespace aspired {
namespace {

constexpr std::chrono::microseconds kFresh{500};

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

DeviceMeters::DeviceMeters(std::vector<Reader> others)
    : host_(HostMemory::Create()), others_(std::move(others)) {}

DeviceMeters::~DeviceMeters() = default;

std::vector<DeviceReading> DeviceMeters::Read() {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<DeviceReading> readings{host_->Read().memory};
  for (const Reader& read : others_) readings.push_back(read());
  return readings;
}

uint64_t DeviceMeters::ReadSelfRam() {
  const int64_t now = NowNs();
  const int64_t at = self_ram_at_.load(std::memory_order_acquire);
  const auto fresh =
      std::chrono::duration_cast<std::chrono::nanoseconds>(kFresh).count();
  if (at != 0 && now - at < fresh) {
    return self_ram_.load(std::memory_order_relaxed);
  }
  const uint64_t rss = ReadRss();
  self_ram_.store(rss, std::memory_order_relaxed);
  self_ram_at_.store(now, std::memory_order_release);
  return rss;
}

}  // namespace aspired
