// What is asked of the system by calls and not by files: all of it where there
// is no /proc, page size, process id and RLIMIT_AS where there is.
//
// Thread-safety: any thread.
#ifndef ASPIRED_HOST_SYSTEM_MEMORY_H_
#define ASPIRED_HOST_SYSTEM_MEMORY_H_

#include <cstdint>
#include <optional>

namespace aspired {

// Bytes.
struct SystemMachine {
  uint64_t total = 0;
  uint64_t available = 0;  // without swapping, reclaimable caches included
};
struct SystemProcess {
  uint64_t address_space = 0;
  uint64_t resident = 0;
};

// nullopt where the system does not say; on Linux the files do.
std::optional<SystemMachine> ReadSystemMachine();
std::optional<SystemProcess> ReadSystemProcess();
// nullopt when unlimited.
std::optional<uint64_t> SystemAddressSpaceLimit();
uint64_t SystemPageSize();
uint32_t SystemProcessId();

}  // namespace aspired

#endif  // ASPIRED_HOST_SYSTEM_MEMORY_H_
