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

class MemoryMeter {
 public:
  virtual ~MemoryMeter() = default;

  // Index 0 is main memory; then the CUDA devices of the ledger in its order.
  virtual std::vector<DeviceReading> Read() = 0;
  // Resident memory of this process in bytes: cheap, for before and after a
  // load. 0 when the system does not say.
  virtual uint64_t ReadSelfRam() = 0;
};

}  // namespace aspired

#endif  // ASPIRED_RESOURCES_MEMORY_METER_H_
