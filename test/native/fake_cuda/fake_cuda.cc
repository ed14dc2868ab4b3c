// The libcuda half of the fake driver. Built with ASPIRED_FAKE_OLD it has the
// functions of CUDA 9.2 only, with ASPIRED_FAKE_BROKEN it lacks one.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>

#include "native/fake_cuda/fake_driver.h"

namespace {

using aspired::fake::Device;
using aspired::fake::State;
using aspired::fake::TheState;

constexpr int kSuccess = 0;
constexpr int kInvalidValue = 1;
constexpr int kOutOfMemory = 2;
constexpr int kNotInitialized = 3;
constexpr int kNoDevice = 100;
constexpr int kInvalidDevice = 101;
constexpr int kInvalidContext = 201;

thread_local int current_device = -1;

struct Block {
  int device;
  int64_t bytes;
};
std::map<uint64_t, Block>& Blocks() {
  static auto* const blocks = new std::map<uint64_t, Block>;
  return *blocks;
}

// CUDA's devices before the variable: a GPU in MIG mode is its first instance.
std::vector<int> AllDevices(const State& state) {
  std::vector<int> all;
  for (size_t i = 0; i < state.devices.size(); ++i) {
    if (state.devices[i].parent >= 0) continue;
    all.push_back(static_cast<int>(state.devices[i].has_instances ? i + 1 : i));
  }
  if (state.reversed) std::reverse(all.begin(), all.end());
  return all;
}

// Enough of CUDA_VISIBLE_DEVICES for the tests: indexes and whole UUIDs.
std::vector<int> VisibleDevices(const State& state) {
  const std::vector<int> all = AllDevices(state);
  const char* value = std::getenv("CUDA_VISIBLE_DEVICES");
  if (value == nullptr) return all;
  std::vector<int> visible;
  std::istringstream items(value);
  for (std::string item; std::getline(items, item, ',');) {
    const size_t before = visible.size();
    for (size_t i = 0; i < state.devices.size(); ++i) {
      if (state.devices[i].NvmlUuid() == item) {
        visible.push_back(static_cast<int>(i));
      }
    }
    if (visible.size() > before) continue;
    const auto index = static_cast<size_t>(std::atoi(item.c_str()));
    if (index >= all.size()) break;
    visible.push_back(all[index]);
  }
  return visible;
}

bool IsDevice(const State& state, int device) {
  return device >= 0 && static_cast<size_t>(device) < state.devices.size();
}

Device& At(State& state, int device) {
  return state.devices[static_cast<size_t>(device)];
}

int CopyUuid(const std::string& text, unsigned char* bytes) {
  std::string digits = text;
  digits.erase(std::remove(digits.begin(), digits.end(), '-'), digits.end());
  for (size_t i = 0; i < 16; ++i) {
    bytes[i] = static_cast<unsigned char>(
        std::stoi(digits.substr(2 * i, 2), nullptr, 16));
  }
  return kSuccess;
}

}  // namespace

ASPIRED_FAKE_EXPORT int cuInit(unsigned int) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (state.cu_init != kSuccess) return state.cu_init;
  if (!state.initialized) {
    state.ordinals = VisibleDevices(state);
    state.initialized = true;
  }
  return state.ordinals.empty() ? kNoDevice : kSuccess;
}

ASPIRED_FAKE_EXPORT int cuDriverGetVersion(int* version) {
  *version = TheState().version;
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuGetErrorName(int result, const char** name) {
  if (result != 999) return kInvalidValue;
  *name = "CUDA_ERROR_UNKNOWN";
  return kSuccess;
}

#ifndef ASPIRED_FAKE_BROKEN
ASPIRED_FAKE_EXPORT int cuDeviceGetCount(int* count) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (!state.initialized) return kNotInitialized;
  *count = static_cast<int>(state.ordinals.size());
  return kSuccess;
}
#endif

ASPIRED_FAKE_EXPORT int cuDeviceGet(int* device, int ordinal) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (static_cast<size_t>(ordinal) >= state.ordinals.size()) {
    return kInvalidDevice;
  }
  *device = state.ordinals[static_cast<size_t>(ordinal)];
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuDeviceGetName(char* name, int size, int device) {
  const std::string text = "Fake GPU " + std::to_string(device);
  std::strncpy(name, text.c_str(), static_cast<size_t>(size));
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuDeviceTotalMem_v2(size_t* bytes, int device) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (!IsDevice(state, device)) return kInvalidDevice;
  *bytes = At(state, device).total;
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuDeviceGetUuid(unsigned char* uuid, int device) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (!IsDevice(state, device)) return kInvalidDevice;
  const int parent = At(state, device).parent;
  return CopyUuid(At(state, parent < 0 ? device : parent).uuid, uuid);
}

#ifndef ASPIRED_FAKE_OLD
ASPIRED_FAKE_EXPORT int cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (!IsDevice(state, device)) return kInvalidDevice;
  return CopyUuid(At(state, device).uuid, uuid);
}
#endif

ASPIRED_FAKE_EXPORT int cuDevicePrimaryCtxGetState(int device,
                                                   unsigned int* flags,
                                                   int* active) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (!IsDevice(state, device)) return kInvalidDevice;
  *flags = 0;
  *active = At(state, device).contexts > 0;
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuDevicePrimaryCtxRetain(void** context, int device) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (!IsDevice(state, device)) return kInvalidDevice;
  if (At(state, device).contexts++ == 0) {
    ++state.contexts_made;
    aspired::fake::AddOwnUse(device, aspired::fake::kContextBytes);
  }
  *context = reinterpret_cast<void*>(static_cast<uintptr_t>(device) + 1);
  return kSuccess;
}

#ifdef ASPIRED_FAKE_OLD
ASPIRED_FAKE_EXPORT int cuDevicePrimaryCtxRelease(int device) {
#else
ASPIRED_FAKE_EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
#endif
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (!IsDevice(state, device)) return kInvalidDevice;
  if (At(state, device).contexts == 0) return kInvalidContext;
  if (--At(state, device).contexts == 0) {
    const auto bytes = static_cast<int64_t>(aspired::fake::kContextBytes);
    aspired::fake::AddOwnUse(device, -bytes);
  }
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuCtxPushCurrent_v2(void* context) {
  if (context == nullptr || current_device >= 0) return kInvalidContext;
  current_device = static_cast<int>(reinterpret_cast<uintptr_t>(context)) - 1;
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuCtxPopCurrent_v2(void** context) {
  if (current_device < 0) return kInvalidContext;
  *context =
      reinterpret_cast<void*>(static_cast<uintptr_t>(current_device) + 1);
  current_device = -1;
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuMemGetInfo_v2(size_t* free, size_t* total) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (current_device < 0) return kInvalidContext;
  *total = At(state, current_device).total;
  *free = *total - aspired::fake::UsedOf(current_device);
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuMemAlloc_v2(uint64_t* pointer, size_t bytes) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  if (current_device < 0) return kInvalidContext;
  const uint64_t used = aspired::fake::UsedOf(current_device);
  if (used + bytes > At(state, current_device).total) return kOutOfMemory;
  aspired::fake::AddOwnUse(current_device, static_cast<int64_t>(bytes));
  static uint64_t next = 0;
  *pointer = ++next;
  Blocks()[*pointer] = {current_device, static_cast<int64_t>(bytes)};
  return kSuccess;
}

ASPIRED_FAKE_EXPORT int cuMemFree_v2(uint64_t pointer) {
  State& state = TheState();
  const std::lock_guard lock(state.mu);
  const auto block = Blocks().find(pointer);
  if (block == Blocks().end()) return kInvalidValue;
  aspired::fake::AddOwnUse(block->second.device, -block->second.bytes);
  Blocks().erase(block);
  return kSuccess;
}
