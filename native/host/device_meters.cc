#include "host/device_meters.h"

#include <algorithm>
#include <condition_variable>
#include <utility>

#include "concurrency/thread.h"

namespace aspired {
namespace {

constexpr std::chrono::microseconds kFresh{500};

}  // namespace

struct DeviceMeters::Others {
  std::vector<Reader> readers;

  std::mutex mu;
  std::condition_variable changed;
  // Guarded by mu. A round answers everybody who asked before it began.
  uint64_t asked = 0;
  uint64_t answered = 0;
  bool reading = false;
  bool stop = false;
  std::vector<DeviceReading> readings;
};

DeviceMeters::DeviceMeters(std::vector<Reader> others)
    : host_(HostMemory::Create()),
      others_(others.empty() ? nullptr : std::make_shared<Others>()) {
  if (others_ != nullptr) others_->readers = std::move(others);
}

DeviceMeters::~DeviceMeters() {
  if (!thread_.joinable()) return;
  bool hangs = false;
  {
    std::unique_lock<std::mutex> lock(others_->mu);
    others_->stop = true;
    others_->changed.notify_all();
    hangs = !others_->changed.wait_for(lock, kPatience,
                                       [this] { return !others_->reading; });
  }
  if (hangs) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void DeviceMeters::Run(const std::shared_ptr<Others>& others) {
  SetCurrentThreadName("aspired-meter");
  std::unique_lock<std::mutex> lock(others->mu);
  while (true) {
    others->changed.wait(lock, [&others] {
      return others->stop || others->asked > others->answered;
    });
    if (others->stop) return;
    const uint64_t round = others->asked;
    others->reading = true;
    lock.unlock();
    std::vector<DeviceReading> readings;
    for (const Reader& read : others->readers) readings.push_back(read());
    lock.lock();
    others->reading = false;
    others->readings = std::move(readings);
    others->answered = round;
    others->changed.notify_all();
  }
}

std::vector<DeviceReading> DeviceMeters::ReadOthers() {
  {
    std::lock_guard<std::mutex> lock(start_mu_);
    if (!thread_.joinable()) {
      thread_ = std::thread([others = others_] { Run(others); });
    }
  }
  std::unique_lock<std::mutex> lock(others_->mu);
  const uint64_t round = ++others_->asked;
  others_->changed.notify_all();
  if (others_->changed.wait_for(lock, kPatience, [this, round] {
        return others_->answered >= round;
      })) {
    return others_->readings;
  }
  DeviceReading hangs;
  hangs.status = Status(ErrorCode::kDeviceUnreadable,
                        "The driver has not answered for " +
                            std::to_string(kPatience.count()) + " ms");
  return std::vector<DeviceReading>(others_->readers.size(), hangs);
}

std::vector<DeviceReading> DeviceMeters::Read() {
  std::vector<DeviceReading> readings{host_->Read().memory};
  if (others_ == nullptr) return readings;
  for (DeviceReading& reading : ReadOthers()) {
    readings.push_back(std::move(reading));
  }
  return readings;
}

SelfMemory DeviceMeters::ReadSelf() {
  std::lock_guard<std::mutex> lock(self_mu_);
  const auto begin = std::chrono::steady_clock::now();
  if (begin < self_until_) return self_;
  self_ = host_->ReadSelf();
  const auto end = std::chrono::steady_clock::now();
  self_until_ = end + std::max<std::chrono::steady_clock::duration>(
                          kFresh, 20 * (end - begin));
  return self_;
}

}  // namespace aspired
