#include "host/host_memory.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace aspired {
namespace {

// "total resident shared ...", in pages.
std::optional<SystemProcess> ParseStatm(std::string_view text) {
  const std::optional<uint64_t> total = ParseNumber(TakeUntil(text, ' '));
  const std::optional<uint64_t> resident = ParseNumber(TakeUntil(text, ' '));
  if (!total.has_value() || !resident.has_value()) return std::nullopt;
  return SystemProcess{*total * SystemPageSize(), *resident * SystemPageSize()};
}

uint64_t Left(uint64_t total, uint64_t used) {
  return total - std::min(total, used);
}

}  // namespace

std::unique_ptr<HostMemory> HostMemory::Create(HostPaths paths) {
  return std::unique_ptr<HostMemory>(new HostMemory(std::move(paths)));
}

HostMemory::HostMemory(HostPaths paths)
    : paths_(std::move(paths)),
      meminfo_(paths_.root + "/proc/meminfo"),
      statm_(paths_.root + "/proc/self/statm"),
      cgroups_(paths_.root) {}

std::optional<uint64_t> HostMemory::AddressSpaceLimit() const {
  if (paths_.address_space_limit.has_value()) return paths_.address_space_limit;
  return paths_.root.empty() ? SystemAddressSpaceLimit() : std::nullopt;
}

std::optional<SystemMachine> HostMemory::ReadMachine() {
  const std::optional<std::string_view> text = meminfo_.Read(buffer_);
  if (!text.has_value()) {
    return paths_.root.empty() ? ReadSystemMachine() : std::nullopt;
  }
  const std::optional<uint64_t> total = FindNumber(*text, "MemTotal:");
  if (!total.has_value()) return std::nullopt;
  // Kernels before 3.14 have no estimate of their own.
  const uint64_t available =
      FindNumber(*text, "MemAvailable:")
          .value_or(FindNumber(*text, "MemFree:").value_or(0) +
                    FindNumber(*text, "Cached:").value_or(0));
  return SystemMachine{*total * 1024, std::min(*total, available) * 1024};
}

std::optional<SystemProcess> HostMemory::ReadProcess() {
  const std::optional<std::string_view> text = statm_.Read(buffer_);
  if (text.has_value()) return ParseStatm(*text);
  return paths_.root.empty() ? ReadSystemProcess() : std::nullopt;
}

HostMemory::Limits HostMemory::ReadLimits() {
  const std::lock_guard lock(mu_);
  Limits limits;
  limits.machine = ReadMachine().value_or(SystemMachine{}).total;
  limits.bytes = limits.machine;
  limits.text = "the memory of the machine";
  const auto consider = [&](uint64_t bytes, MemoryLimit kind,
                            std::string text) {
    if (limits.bytes != 0 && bytes >= limits.bytes) return;
    limits.bytes = bytes;
    limits.binding = kind;
    limits.text = std::move(text);
  };
  if (const auto cgroup = cgroups_.SmallestLimit(); cgroup.has_value()) {
    limits.cgroup = cgroup->bytes;
    consider(cgroup->bytes, MemoryLimit::kCgroup,
             "the limit of cgroup " + std::string(cgroup->cgroup));
  }
  limits.address_space = AddressSpaceLimit();
  if (limits.address_space.has_value()) {
    consider(*limits.address_space, MemoryLimit::kAddressSpace,
             "RLIMIT_AS (ulimit -v)");
  }
  return limits;
}

HostMemory::Reading HostMemory::Read() {
  const std::lock_guard lock(mu_);
  Reading reading;
  DeviceReading& memory = reading.memory;
  const std::optional<SystemMachine> machine = ReadMachine();
  if (!machine.has_value()) {
    memory.status = Status(ErrorCode::kInternal,
                           "the system does not say how much memory it has");
    return reading;
  }
  memory.total = machine->total;
  memory.used = machine->total - machine->available;
  const auto consider = [&](uint64_t total, uint64_t used, MemoryLimit kind) {
    if (Left(total, used) >= Left(memory.total, memory.used)) return;
    memory.total = total;
    memory.used = used;
    reading.binding = kind;
  };
  if (const auto cgroup = cgroups_.Tightest(machine->total);
      cgroup.has_value()) {
    consider(cgroup->limit.bytes, cgroup->used, MemoryLimit::kCgroup);
  }
  const std::optional<SystemProcess> process = ReadProcess();
  if (process.has_value()) {
    memory.self = process->resident;
    if (const auto limit = AddressSpaceLimit(); limit.has_value()) {
      consider(*limit, process->address_space, MemoryLimit::kAddressSpace);
    }
  }
  return reading;
}

SelfMemory HostMemory::ReadSelf() {
  const std::lock_guard lock(mu_);
  SelfMemory self = ReadProcess().value_or(SystemProcess{}).resident;
  self.cgroup = cgroups_.ReadOwn();
  return self;
}

}  // namespace aspired
