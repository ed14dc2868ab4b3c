// NvmlLibrary: the part of NVIDIA's management library (libnvidia-ml) that says
// how much memory of a device is taken, and by whom.
//
// Found at run time, never linked. It needs no CUDA context and makes none, and
// it sees every device of the machine, whatever CUDA_VISIBLE_DEVICES hides.
// Its indexes follow the PCI bus and are not CUDA's ordinals: devices are told
// apart by their UUIDs only.
//
// Thread-safety: immutable after Open(); every method from any thread. The
// library serialises itself. A call may wait in the kernel for as long as the
// driver does: for a GPU that has died, for ever.
// Destruction: nvmlShutdown, which the library counts.
// Source: the NVML API reference; declared by hand, see Functions.
#ifndef ASPIRED_CUDA_NVML_LIBRARY_H_
#define ASPIRED_CUDA_NVML_LIBRARY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cuda/cuda_library.h"

namespace aspired {

// nvmlReturn_t, as far as it matters here.
enum class NvmlResult : int {
  kSuccess = 0,
  kInvalidArgument = 2,
  kNotFound = 6,
  kInsufficientSize = 7,
  kDriverNotLoaded = 9,
  kGpuIsLost = 15,
  kResetRequired = 16,
};

// A process that computes on a device. No bytes: NVML does not say how much.
struct NvmlProcess {
  uint32_t pid = 0;
  std::optional<uint64_t> bytes;
};

class NvmlLibrary {
 public:
  // A device or an instance of one. Never null.
  using Handle = struct OpaqueNvmlDevice*;

  struct Gpu {
    Handle handle = nullptr;
    // "GPU-..." or, of an instance, "MIG-...".
    std::string uuid;
    std::string name;
    // In MIG mode CUDA runs on the instances only.
    bool mig_mode = false;
    std::vector<Gpu> instances;
  };

  // Opens `path`, or the usual names when it is empty. Never throws.
  explicit NvmlLibrary(const std::string& path);
  ~NvmlLibrary();

  NvmlLibrary(const NvmlLibrary&) = delete;
  NvmlLibrary& operator=(const NvmlLibrary&) = delete;

  bool is_usable() const { return usable_; }
  // Why not; empty when it is. The methods below REQUIRE that it is.
  const std::string& message() const { return message_; }

  // "550.54.15"; empty when unknown.
  std::string DriverVersion() const;
  // The devices in the order of the PCI bus, those that answer.
  std::vector<Gpu> List() const;
  // Null when there is no such device.
  Handle Find(const std::string& uuid) const;
  bool IsInMigMode(Handle gpu) const;
  // The UUID of the GPU that an instance is part of; empty when unknown.
  std::string ParentUuid(Handle instance) const;

  // Free is what can be allocated: what the driver keeps for itself counts as
  // taken, in every version of the library.
  NvmlResult ReadMemory(Handle device, DeviceMemory* memory) const;
  NvmlResult ReadProcesses(Handle device,
                           std::vector<NvmlProcess>* processes) const;
  std::string NameOf(NvmlResult result) const;

 private:
  struct MemoryV1 {
    uint64_t total;
    uint64_t free;
    uint64_t used;
  };
  static_assert(sizeof(MemoryV1) == 24);

  struct MemoryV2 {
    uint32_t version;
    uint64_t total;
    uint64_t reserved;
    uint64_t free;
    uint64_t used;
  };
  static_assert(sizeof(MemoryV2) == 40);
  static constexpr uint32_t kMemoryV2 = 0x02000028;
  static_assert(kMemoryV2 == (sizeof(MemoryV2) | 2u << 24));

  // Results are nvmlReturn_t. Those below the line may be null.
  struct Functions {
    int (*Init)() = nullptr;
    int (*Shutdown)() = nullptr;
    int (*DeviceGetCount)(unsigned int* count) = nullptr;
    int (*DeviceGetHandleByIndex)(unsigned int index, Handle* out) = nullptr;
    int (*DeviceGetHandleByUuid)(const char* uuid, Handle* out) = nullptr;
    int (*DeviceGetUuid)(Handle, char* uuid, unsigned int size) = nullptr;
    int (*DeviceGetName)(Handle, char* name, unsigned int size) = nullptr;
    int (*DeviceGetMemoryInfo)(Handle, MemoryV1* memory) = nullptr;
    // ---
    int (*DeviceGetMemoryInfoV2)(Handle, MemoryV2* memory) = nullptr;
    int (*SystemGetDriverVersion)(char* text, unsigned int size) = nullptr;
    const char* (*ErrorString)(int result) = nullptr;
    // Any of its versions; what it fills in differs, see ReadProcesses().
    int (*DeviceGetComputeRunningProcesses)(Handle, unsigned int* count,
                                            void* entries) = nullptr;
    int (*DeviceGetMigMode)(Handle, unsigned int* current,
                            unsigned int* pending) = nullptr;
    int (*DeviceGetMaxMigDeviceCount)(Handle, unsigned int* count) = nullptr;
    int (*DeviceGetMigDeviceHandleByIndex)(Handle, unsigned int index,
                                           Handle* out) = nullptr;
    int (*DeviceGetDeviceHandleFromMigDeviceHandle)(Handle instance,
                                                    Handle* out) = nullptr;
  };

  bool Bind(const std::string& path);
  Gpu Describe(Handle device) const;
  std::vector<Gpu> ListInstances(Handle gpu) const;

  Functions nvml_;
  bool usable_ = false;
  std::string message_;
};

}  // namespace aspired

#endif  // ASPIRED_CUDA_NVML_LIBRARY_H_
