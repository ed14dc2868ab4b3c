// MemoryMeter: what the system says of memory, for the ledger.
//
// Thread-safety: any thread; implementations serialise themselves. A call may
// take system calls, so it is made under no lock that readers need.
#ifndef ASPIRED_RESOURCES_MEMORY_METER_H_
#define ASPIRED_RESOURCES_MEMORY_METER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "core/status.h"

namespace aspired {

// One device, in bytes.
struct DeviceReading {
  // What there is: the limit that binds, for main memory.
  uint64_t total = 0;
  // What is taken and can't be reclaimed, by everybody, this process included.
  // May be more than the total for a moment.
  uint64_t used = 0;
  // What this process has of it; none when the system does not say.
  std::optional<uint64_t> self;
  // Not OK: the device is lost, or could not be read; the numbers are 0.
  Status status;
};

// What the memory cgroup of this process is charged, in bytes, cgroups below it
// included. The kernel charges in portions: for each processor it may be a
// quarter of a MiB too much.
struct CgroupCharge {
  // Tells cgroups apart: what a process was charged stays behind when it moves.
  uint64_t cgroup = 0;
  // Without the inactive page cache: what counts against a limit.
  uint64_t charged = 0;
  // Without any page cache, and without what else the kernel takes back when it
  // needs memory: what stays until its owner frees it.
  uint64_t kept = 0;
  // This process is alone in it, and there is none below it.
  bool alone = false;
};

// What this process has of main memory.
struct SelfMemory {
  // Not explicit: the resident memory is all that many systems say.
  SelfMemory(uint64_t resident = 0) : rss(resident) {}

  uint64_t rss;  // bytes; 0: the system does not say
  // None: it is in no cgroup but the root, or that can't be read.
  std::optional<CgroupCharge> cgroup;
};

class MemoryMeter {
 public:
  virtual ~MemoryMeter() = default;

  // Index 0 is main memory; then the CUDA devices of the ledger in its order.
  virtual std::vector<DeviceReading> Read() = 0;
  // Cheap: for before and after a load.
  virtual SelfMemory ReadSelf() = 0;
};

}  // namespace aspired

#endif  // ASPIRED_RESOURCES_MEMORY_METER_H_
