// HostMemory: what the operating system says of main memory.
//
// Three things may limit a process: the memory of the machine, the limits of
// its cgroups (cgroup_memory.h), and RLIMIT_AS ("ulimit -v"), which counts
// address space and not memory. Each has its own usage; the one with the least
// left is the one that would kill the process, and it is the one that Read()
// answers.
//
//   limit          total            used
//   machine        MemTotal         MemTotal - MemAvailable
//   cgroup v2      memory.max       memory.current - inactive_file
//   cgroup v1      limit_in_bytes   usage_in_bytes - total_inactive_file
//   address space  RLIMIT_AS        VmSize
//
// Nothing is cached: a limit that changes counts at the next call. Files are
// opened once and read by pread. Measured on a VM with 2 busy cores and Linux
// 6.18: Read() and ReadLimits() 45 us with three cgroups of version 1 and none
// limited, and 80 us for Read() with a limit; ReadSelf() 5 us of the processor
// without a cgroup and 30 to 38 us with one of version 1, a third of them for
// memory.stat and a third for who is in it. So: before and after a load, or on
// a timer, but not for every decision.
//
// Thread-safety: any thread; calls are serialised. A call takes system calls
// and may wait for the kernel to sum the counters of a large cgroup.
//
// Elsewhere than on Linux there are no cgroups: macOS is asked through Mach,
// Windows through GlobalMemoryStatusEx.
#ifndef ASPIRED_HOST_HOST_MEMORY_H_
#define ASPIRED_HOST_HOST_MEMORY_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "host/cgroup_memory.h"
#include "host/kept_file.h"
#include "host/system_memory.h"
#include "resources/memory_meter.h"

namespace aspired {

// For tests.
struct HostPaths {
  // Prefixed to /proc and to every mount point.
  std::string root;
  // Instead of RLIMIT_AS.
  std::optional<uint64_t> address_space_limit;
};

enum class MemoryLimit : uint8_t { kMachine, kCgroup, kAddressSpace };

class HostMemory {
 public:
  struct Limits {
    uint64_t machine = 0;  // 0: the system does not say
    std::optional<uint64_t> cgroup;
    std::optional<uint64_t> address_space;
    // The smallest of the three, and which it is.
    uint64_t bytes = 0;
    MemoryLimit binding = MemoryLimit::kMachine;
    // "the limit of cgroup /sys/fs/cgroup/app", for messages.
    std::string text;
  };
  struct Reading {
    // self is the RSS. The status is kInternal when the machine's memory can't
    // be read; a cgroup that can't be read does not count.
    DeviceReading memory;
    // Of whom total and used are: of the one with the least left, which need
    // not be the smallest.
    MemoryLimit binding = MemoryLimit::kMachine;
  };

  // Looks for the files. Never fails: readings say what is missing.
  static std::unique_ptr<HostMemory> Create(HostPaths paths = {});

  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  Limits ReadLimits();
  Reading Read();
  // The RSS counts anonymous memory and files. Linux kernels from 6.2 on may
  // count per CPU and be off by some MB on machines with many.
  SelfMemory ReadSelf();

 private:
  explicit HostMemory(HostPaths paths);
  // nullopt when unlimited.
  std::optional<uint64_t> AddressSpaceLimit() const;
  std::optional<SystemMachine> ReadMachine();
  std::optional<SystemProcess> ReadProcess();

  const HostPaths paths_;
  std::mutex mu_;  // a leaf
  KeptFile meminfo_;
  KeptFile statm_;
  KeptFile::Buffer buffer_;
  CgroupMemory cgroups_;
};

}  // namespace aspired

#endif  // ASPIRED_HOST_HOST_MEMORY_H_
