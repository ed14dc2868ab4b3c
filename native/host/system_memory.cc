#include "host/system_memory.h"

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
// After windows.h.
#include <psapi.h>
#else
#include <sys/resource.h>
#include <unistd.h>
#endif
#ifdef __APPLE__
#include <mach/mach.h>
#include <sys/sysctl.h>
#endif

namespace aspired {

#if defined(_WIN32)

std::optional<SystemMachine> ReadSystemMachine() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof(status);
  if (!GlobalMemoryStatusEx(&status)) return std::nullopt;
  return SystemMachine{status.ullTotalPhys, status.ullAvailPhys};
}

std::optional<SystemProcess> ReadSystemProcess() {
  PROCESS_MEMORY_COUNTERS counters{};
  if (!GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof(counters))) {
    return std::nullopt;
  }
  return SystemProcess{0, counters.WorkingSetSize};
}

#elif defined(__APPLE__)

std::optional<SystemMachine> ReadSystemMachine() {
  uint64_t total = 0;
  size_t size = sizeof(total);
  if (sysctlbyname("hw.memsize", &total, &size, nullptr, 0) != 0) {
    return std::nullopt;
  }
  vm_statistics64_data_t statistics{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  // The send right is the process's own: mach_host_self() adds a reference.
  const mach_port_t host = mach_host_self();
  const kern_return_t result =
      host_statistics64(host, HOST_VM_INFO64,
                        reinterpret_cast<host_info64_t>(&statistics), &count);
  mach_port_deallocate(mach_task_self(), host);
  if (result != KERN_SUCCESS) return std::nullopt;
  const uint64_t pages =
      uint64_t{statistics.free_count} + statistics.inactive_count;
  return SystemMachine{total, pages * SystemPageSize()};
}

std::optional<SystemProcess> ReadSystemProcess() {
  mach_task_basic_info_data_t info{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO,
                reinterpret_cast<task_info_t>(&info), &count) != KERN_SUCCESS) {
    return std::nullopt;
  }
  return SystemProcess{info.virtual_size, info.resident_size};
}

#else

std::optional<SystemMachine> ReadSystemMachine() { return std::nullopt; }
std::optional<SystemProcess> ReadSystemProcess() { return std::nullopt; }

#endif

#ifdef _WIN32

std::optional<uint64_t> SystemAddressSpaceLimit() { return std::nullopt; }
uint64_t SystemPageSize() { return 4096; }
uint32_t SystemProcessId() { return GetCurrentProcessId(); }

#else

std::optional<uint64_t> SystemAddressSpaceLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return std::nullopt;
  }
  return limit.rlim_cur;
}

uint64_t SystemPageSize() {
  static const auto size = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return size;
}

uint32_t SystemProcessId() { return static_cast<uint32_t>(getpid()); }

#endif

}  // namespace aspired
