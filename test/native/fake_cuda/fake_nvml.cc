// The libnvidia-ml half of the fake driver. Built with ASPIRED_FAKE_OLD it has
// the functions of the 450 drivers only, with ASPIRED_FAKE_BROKEN it lacks one.
#include <cstring>

#include "native/fake_cuda/fake_driver.h"

namespace {

using aspired::fake::Device;
using aspired::fake::State;
using aspired::fake::TheState;

constexpr int kSuccess = 0;
constexpr int kUninitialized = 1;
constexpr int kInvalidArgument = 2;
constexpr int kNotFound = 6;
constexpr int kInsufficientSize = 7;

struct MemoryV1 {
  uint64_t total, free, used;
};

void* HandleOf(size_t device) { return reinterpret_cast<void*>(device + 1); }

// Null when there is no such device any more. With `mu` held.
Device* DeviceOf(State& state, void* handle) {
  const size_t index = reinterpret_cast<uintptr_t>(handle) - 1;
  return index < state.devices.size() ? &state.devices[index] : nullptr;
}

int IndexOf(void* handle) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(handle)) - 1;
}

// The answer of a function that reads a device. With `mu` held.
int CheckRead(State& state, void* handle) {
  if (state.nvml_users == 0) return kUninitialized;
  const Device* device = DeviceOf(state, handle);
  return device == nullptr ? kInvalidArgument : device->error;
}

int CopyText(const std::string& text, char* out, unsigned int size) {
  if (text.size() >= size) return kInsufficientSize;
  std::memcpy(out, text.c_str(), text.size() + 1);
  return kSuccess;
}

int ReadMemory(State& state, void* handle, MemoryV1* memory) {
  const int result = CheckRead(state, handle);
  if (result != kSuccess) return result;
  memory->total = DeviceOf(state, handle)->total;
  memory->used = aspired::fake::UsedOf(IndexOf(handle));
  memory->free = memory->total - memory->used;
  return kSuccess;
}

int ListProcesses(void* handle, unsigned int* count, unsigned char* entries) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  const int result = CheckRead(state, handle);
  if (result != kSuccess) return result;
  const auto list = aspired::fake::ProcessesOf(IndexOf(handle));
  const unsigned int capacity = *count;
  *count = static_cast<unsigned int>(list.size());
  if (list.size() > capacity) return kInsufficientSize;
  for (const auto& process : list) {
    // The ids of an instance are -1 where there is none.
    std::memset(entries, 0xFF, state.entry_size);
    std::memcpy(entries, &process.pid, sizeof(process.pid));
    std::memcpy(entries + 8, &process.bytes, sizeof(process.bytes));
    if (state.entry_size == 32) std::memset(entries + 24, 0, 8);
    entries += state.entry_size;
  }
  return kSuccess;
}

}  // namespace

ASPIRED_FAKE_EXPORT int nvmlInit_v2() {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (state.nvml_init == kSuccess) ++state.nvml_users;
  return state.nvml_init;
}

#ifndef ASPIRED_FAKE_BROKEN
ASPIRED_FAKE_EXPORT int nvmlShutdown() {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (state.nvml_users == 0) return kUninitialized;
  --state.nvml_users;
  return kSuccess;
}
#endif

ASPIRED_FAKE_EXPORT const char* nvmlErrorString(int result) {
  return result == 15 ? "GPU is lost" : "Unknown Error";
}

ASPIRED_FAKE_EXPORT int nvmlSystemGetDriverVersion(char* text,
                                                   unsigned int size) {
  return CopyText("550.54.15", text, size);
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetCount_v2(unsigned int* count) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  *count = 0;
  for (const Device& device : state.devices) *count += device.parent < 0;
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index,
                                                      void** handle) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  for (size_t i = 0; i < state.devices.size(); ++i) {
    if (state.devices[i].parent >= 0 || index-- > 0) continue;
    *handle = HandleOf(i);
    return state.devices[i].nvml_unknown ? kNotFound : kSuccess;
  }
  return kInvalidArgument;
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetHandleByUUID(const char* uuid,
                                                  void** handle) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  for (size_t i = 0; i < state.devices.size(); ++i) {
    if (state.devices[i].NvmlUuid() != uuid) continue;
    *handle = HandleOf(i);
    return state.devices[i].nvml_unknown ? kNotFound : kSuccess;
  }
  return kNotFound;
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetUUID(void* handle, char* text,
                                          unsigned int size) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  const Device* device = DeviceOf(state, handle);
  if (device == nullptr) return kInvalidArgument;
  return CopyText(device->NvmlUuid(), text, size);
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetName(void* handle, char* text,
                                          unsigned int size) {
  return CopyText("Fake GPU " + std::to_string(IndexOf(handle)), text, size);
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetMemoryInfo(void* handle,
                                                MemoryV1* memory) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  return ReadMemory(state, handle, memory);
}

#ifndef ASPIRED_FAKE_OLD
namespace {
struct MemoryV2 {
  unsigned int version;
  uint64_t total, reserved, free, used;
};
constexpr unsigned int kMemoryV2 = 0x02000028;
constexpr int kVersionMismatch = 25;
constexpr uint64_t kReserved = 16 << 20;
}  // namespace

// What the driver keeps is not among what is used here, as it is in version 1.
ASPIRED_FAKE_EXPORT int nvmlDeviceGetMemoryInfo_v2(void* handle,
                                                   MemoryV2* memory) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (state.refuse_v2 || memory->version != kMemoryV2) return kVersionMismatch;
  MemoryV1 old = {};
  const int result = ReadMemory(state, handle, &old);
  memory->total = old.total;
  memory->reserved = kReserved;
  memory->free = old.free;
  memory->used = old.used - kReserved;
  return result;
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(
    void* handle, unsigned int* count, void* entries) {
  return ListProcesses(handle, count, static_cast<unsigned char*>(entries));
}
#endif

ASPIRED_FAKE_EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(
    void* handle, unsigned int* count, void* entries) {
  return ListProcesses(handle, count, static_cast<unsigned char*>(entries));
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetMigMode(void* handle,
                                             unsigned int* current,
                                             unsigned int* pending) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  const Device* device = DeviceOf(state, handle);
  if (device == nullptr) return kInvalidArgument;
  *current = *pending = device->has_instances;
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetMaxMigDeviceCount(void*,
                                                       unsigned int* count) {
  *count = 7;
  return kSuccess;
}

// Slot 0 stays empty: instances come and go.
ASPIRED_FAKE_EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(void* gpu,
                                                            unsigned int index,
                                                            void** handle) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  unsigned int slot = 0;
  for (size_t i = 0; i < state.devices.size(); ++i) {
    if (state.devices[i].parent != IndexOf(gpu) || ++slot != index) continue;
    *handle = HandleOf(i);
    return kSuccess;
  }
  return kNotFound;
}

ASPIRED_FAKE_EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(
    void* instance, void** gpu) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  const Device* device = DeviceOf(state, instance);
  if (device == nullptr || device->parent < 0) return kInvalidArgument;
  *gpu = HandleOf(static_cast<size_t>(device->parent));
  return kSuccess;
}
