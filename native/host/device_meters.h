// DeviceMeters: the MemoryMeter of a process: main memory, and readers of other
// devices behind it.
//
// Main memory is read on the thread that asks. The other devices are read on a
// thread of their own ("aspired-meter", made by the first Read() where there
// are any), because a driver may hang for ever: a Read() waits for it no longer
// than kPatience, and then says that those devices cannot be read. So a GPU
// that hangs holds up the loads that want memory of it, and nothing else.
//
// Thread-safety: as MemoryMeter; the readers are called on one thread.
//
// Lifetime: the destructor joins the thread; where it hangs in a driver it is
// left to itself, with all that it uses.
#ifndef ASPIRED_HOST_DEVICE_METERS_H_
#define ASPIRED_HOST_DEVICE_METERS_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "host/host_memory.h"
#include "resources/memory_meter.h"

namespace aspired {

class DeviceMeters final : public MemoryMeter {
 public:
  using Reader = std::function<DeviceReading()>;
  static constexpr std::chrono::milliseconds kPatience{200};

  // `others`: the devices behind main memory, in the order of the ledger.
  explicit DeviceMeters(std::vector<Reader> others);
  ~DeviceMeters() override;

  DeviceMeters(const DeviceMeters&) = delete;
  DeviceMeters& operator=(const DeviceMeters&) = delete;

  std::vector<DeviceReading> Read() override;
  // An answer may be 500 us old, or 20 times as old as it took to read: in a
  // storm of loads that take microseconds the system calls would cost more than
  // the loads, and a kernel may need long to sum the counters of a cgroup.
  SelfMemory ReadSelf() override;

 private:
  // What the thread shares with whoever asks.
  struct Others;

  std::vector<DeviceReading> ReadOthers();
  static void Run(const std::shared_ptr<Others>& others);

  const std::unique_ptr<HostMemory> host_;
  const std::shared_ptr<Others> others_;  // null: none
  std::mutex start_mu_;
  std::thread thread_;  // guarded by start_mu_
  std::mutex self_mu_;
  // Guarded by self_mu_.
  SelfMemory self_;
  std::chrono::steady_clock::time_point self_until_;
};

}  // namespace aspired

#endif  // ASPIRED_HOST_DEVICE_METERS_H_
