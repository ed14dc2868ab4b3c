// DeviceMeters: the MemoryMeter of a process: main memory, and readers of other
// devices behind it.
//
// Thread-safety: as MemoryMeter; the readers must allow any thread. A reading
// of a device that hangs (a driver may) holds up later Read() calls, and no
// ReadSelfRam().
#ifndef ASPIRED_HOST_DEVICE_METERS_H_
#define ASPIRED_HOST_DEVICE_METERS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "host/host_memory.h"
#include "resources/memory_meter.h"

namespace aspired {

class DeviceMeters final : public MemoryMeter {
 public:
  using Reader = std::function<DeviceReading()>;

  // `others`: the devices behind main memory, in the order of the ledger.
  explicit DeviceMeters(std::vector<Reader> others);
  ~DeviceMeters() override;

  std::vector<DeviceReading> Read() override;
  // A value may be 500 us old: in a storm of loads that take microseconds the
  // system call would cost more than the loads.
  uint64_t ReadSelfRam() override;

 private:
  const std::unique_ptr<HostMemory> host_;
  const std::vector<Reader> others_;
  std::mutex mu_;  // one Read() at a time
  std::atomic<uint64_t> self_ram_{0};
  std::atomic<int64_t> self_ram_at_{0};  // ns of the steady clock; 0: never
};

}  // namespace aspired

#endif  // ASPIRED_HOST_DEVICE_METERS_H_
