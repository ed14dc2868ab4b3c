#include "cuda/nvml_library.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "cuda/driver_symbols.h"

namespace aspired {
namespace {

constexpr int kOk = static_cast<int>(NvmlResult::kSuccess);
constexpr unsigned int kTextSize = 128;
constexpr unsigned int kFirstCapacity = 64;
constexpr int kMaxAttempts = 8;
// "Not available": Windows' display driver, or no permission.
constexpr uint64_t kUnknownBytes = ~uint64_t{0};

std::optional<DynamicLibrary> OpenNvml(const std::string& path,
                                       std::string* error) {
#if defined(_WIN32)
  return OpenDriverLibrary(
      path,
      {"nvml.dll", "C:\\Program Files\\NVIDIA Corporation\\NVSMI\\nvml.dll"},
      error);
#elif defined(__APPLE__)
  return OpenDriverLibrary(path, {}, error);
#else
  return OpenDriverLibrary(
      path,
      {"libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1",
       "/run/opengl-driver/lib/libnvidia-ml.so.1"},
      error);
#endif
}

// How large the entries of a process list are. The number in the function's
// name does not tell: 16 bytes {pid, bytes} before 450, 24 with the ids of the
// instance after; and drivers 535.43 to 535.86 wrote 32 from the function that
// is documented to write 24. So the list is put into memory filled with kBlank,
// with room for the largest, and what was written tells.
constexpr size_t kEntrySizes[] = {32, 24, 16};
constexpr size_t kMaxEntrySize = kEntrySizes[0];
constexpr size_t kBytesOffset = 8;
constexpr unsigned char kBlank = 0xA5;

size_t EntrySize(const std::vector<unsigned char>& list, size_t count) {
  for (size_t i = 0; i + 1 < std::size(kEntrySizes); ++i) {
    const auto begin = list.begin() + count * kEntrySizes[i + 1];
    const auto end = list.begin() + count * kEntrySizes[i];
    if (std::any_of(begin, end, [](unsigned char c) { return c != kBlank; })) {
      return kEntrySizes[i];
    }
  }
  return kEntrySizes[std::size(kEntrySizes) - 1];
}

std::vector<NvmlProcess> ParseList(const std::vector<unsigned char>& list,
                                   size_t count) {
  std::vector<NvmlProcess> processes(count);
  const size_t entry_size = EntrySize(list, count);
  for (size_t i = 0; i < count; ++i) {
    const unsigned char* entry = list.data() + i * entry_size;
    uint64_t bytes = 0;
    std::memcpy(&processes[i].pid, entry, sizeof(processes[i].pid));
    std::memcpy(&bytes, entry + kBytesOffset, sizeof(bytes));
    if (bytes != kUnknownBytes) processes[i].bytes = bytes;
  }
  return processes;
}

}  // namespace

NvmlLibrary::NvmlLibrary(const std::string& path) {
  if (!Bind(path)) return;
  const int result = nvml_.Init();
  if (result == kOk) {
    usable_ = true;
  } else {
    message_ =
        "nvmlInit failed with " + NameOf(static_cast<NvmlResult>(result)) + ".";
  }
}

NvmlLibrary::~NvmlLibrary() {
  if (usable_) nvml_.Shutdown();
}

bool NvmlLibrary::Bind(const std::string& path) {
  std::string error;
  const auto library = OpenNvml(path, &error);
  if (!library) {
    message_ = "NVIDIA's management library was not found: " + error;
    return false;
  }
  SymbolBinder binder(*library);
  binder.Require(&nvml_.Init, {"nvmlInit_v2"});
  binder.Require(&nvml_.Shutdown, {"nvmlShutdown"});
  binder.Require(&nvml_.DeviceGetCount, {"nvmlDeviceGetCount_v2"});
  binder.Require(&nvml_.DeviceGetHandleByIndex,
                 {"nvmlDeviceGetHandleByIndex_v2"});
  binder.Require(&nvml_.DeviceGetHandleByUuid, {"nvmlDeviceGetHandleByUUID"});
  binder.Require(&nvml_.DeviceGetUuid, {"nvmlDeviceGetUUID"});
  binder.Require(&nvml_.DeviceGetName, {"nvmlDeviceGetName"});
  binder.Require(&nvml_.DeviceGetMemoryInfo, {"nvmlDeviceGetMemoryInfo"});
  if (binder.missing() != nullptr) {
    message_ = std::string(
                   "NVIDIA's management library (libnvidia-ml) has no "
                   "function ") +
               binder.missing() + ".";
    return false;
  }
  binder.Allow(&nvml_.DeviceGetMemoryInfoV2, {"nvmlDeviceGetMemoryInfo_v2"});
  binder.Allow(&nvml_.SystemGetDriverVersion, {"nvmlSystemGetDriverVersion"});
  binder.Allow(&nvml_.ErrorString, {"nvmlErrorString"});
  binder.Allow(&nvml_.DeviceGetComputeRunningProcesses,
               {"nvmlDeviceGetComputeRunningProcesses_v3",
                "nvmlDeviceGetComputeRunningProcesses_v2",
                "nvmlDeviceGetComputeRunningProcesses"});
  binder.Allow(&nvml_.DeviceGetMigMode, {"nvmlDeviceGetMigMode"});
  binder.Allow(&nvml_.DeviceGetMaxMigDeviceCount,
               {"nvmlDeviceGetMaxMigDeviceCount"});
  binder.Allow(&nvml_.DeviceGetMigDeviceHandleByIndex,
               {"nvmlDeviceGetMigDeviceHandleByIndex"});
  binder.Allow(&nvml_.DeviceGetDeviceHandleFromMigDeviceHandle,
               {"nvmlDeviceGetDeviceHandleFromMigDeviceHandle"});
  return true;
}

std::string NvmlLibrary::DriverVersion() const {
  char text[kTextSize] = {};
  if (nvml_.SystemGetDriverVersion == nullptr ||
      nvml_.SystemGetDriverVersion(text, kTextSize - 1) != kOk) {
    return "";
  }
  return text;
}

NvmlLibrary::Gpu NvmlLibrary::Describe(Handle device) const {
  Gpu gpu;
  gpu.handle = device;
  char text[kTextSize] = {};
  if (nvml_.DeviceGetUuid(device, text, kTextSize - 1) == kOk) gpu.uuid = text;
  std::memset(text, 0, sizeof(text));
  if (nvml_.DeviceGetName(device, text, kTextSize - 1) == kOk) gpu.name = text;
  return gpu;
}

std::vector<NvmlLibrary::Gpu> NvmlLibrary::List() const {
  std::vector<Gpu> gpus;
  unsigned int count = 0;
  if (nvml_.DeviceGetCount(&count) != kOk) return gpus;
  for (unsigned int i = 0; i < count; ++i) {
    Handle handle = nullptr;
    if (nvml_.DeviceGetHandleByIndex(i, &handle) != kOk) continue;
    Gpu gpu = Describe(handle);
    if (gpu.uuid.empty()) continue;
    gpu.mig_mode = IsInMigMode(handle);
    if (gpu.mig_mode) gpu.instances = ListInstances(handle);
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

std::vector<NvmlLibrary::Gpu> NvmlLibrary::ListInstances(Handle gpu) const {
  std::vector<Gpu> instances;
  unsigned int slots = 0;
  if (nvml_.DeviceGetMaxMigDeviceCount == nullptr ||
      nvml_.DeviceGetMigDeviceHandleByIndex == nullptr ||
      nvml_.DeviceGetMaxMigDeviceCount(gpu, &slots) != kOk) {
    return instances;
  }
  for (unsigned int i = 0; i < slots; ++i) {
    Handle handle = nullptr;  // slots may be empty
    if (nvml_.DeviceGetMigDeviceHandleByIndex(gpu, i, &handle) != kOk) continue;
    Gpu instance = Describe(handle);
    if (!instance.uuid.empty()) instances.push_back(std::move(instance));
  }
  return instances;
}

NvmlLibrary::Handle NvmlLibrary::Find(const std::string& uuid) const {
  Handle handle = nullptr;
  const int result = nvml_.DeviceGetHandleByUuid(uuid.c_str(), &handle);
  return result == kOk ? handle : nullptr;
}

bool NvmlLibrary::IsInMigMode(Handle gpu) const {
  unsigned int current = 0;
  unsigned int pending = 0;
  return nvml_.DeviceGetMigMode != nullptr &&
         nvml_.DeviceGetMigMode(gpu, &current, &pending) == kOk && current != 0;
}

std::string NvmlLibrary::ParentUuid(Handle instance) const {
  Handle parent = nullptr;
  if (nvml_.DeviceGetDeviceHandleFromMigDeviceHandle == nullptr ||
      nvml_.DeviceGetDeviceHandleFromMigDeviceHandle(instance, &parent) !=
          kOk) {
    return "";
  }
  return Describe(parent).uuid;
}

NvmlResult NvmlLibrary::ReadMemory(Handle device, DeviceMemory* memory) const {
  if (nvml_.DeviceGetMemoryInfoV2 != nullptr) {
    MemoryV2 info = {};
    info.version = kMemoryV2;
    if (nvml_.DeviceGetMemoryInfoV2(device, &info) == kOk) {
      *memory = {info.total, info.free};
      return NvmlResult::kSuccess;
    }
    // A kernel module older than the library refuses the new form only; the old
    // one says what else it may be.
  }
  MemoryV1 info = {};
  const int result = nvml_.DeviceGetMemoryInfo(device, &info);
  if (result == kOk) *memory = {info.total, info.free};
  return static_cast<NvmlResult>(result);
}

NvmlResult NvmlLibrary::ReadProcesses(
    Handle device, std::vector<NvmlProcess>* processes) const {
  processes->clear();
  if (nvml_.DeviceGetComputeRunningProcesses == nullptr) {
    return NvmlResult::kNotFound;
  }
  unsigned int capacity = kFirstCapacity;
  auto result = NvmlResult::kInsufficientSize;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    std::vector<unsigned char> list(capacity * kMaxEntrySize, kBlank);
    unsigned int count = capacity;
    result = static_cast<NvmlResult>(
        nvml_.DeviceGetComputeRunningProcesses(device, &count, list.data()));
    if (result == NvmlResult::kSuccess) {
      *processes = ParseList(list, std::min(count, capacity));
      return result;
    }
    if (result != NvmlResult::kInsufficientSize) return result;
    // More may start until the next attempt.
    capacity = std::max(count, capacity) + capacity;
  }
  return result;
}

std::string NvmlLibrary::NameOf(NvmlResult result) const {
  std::string text = "code " + std::to_string(static_cast<int>(result));
  if (nvml_.ErrorString != nullptr) {
    const char* name = nvml_.ErrorString(static_cast<int>(result));
    if (name != nullptr) text += std::string(" (") + name + ")";
  }
  return text;
}

}  // namespace aspired
