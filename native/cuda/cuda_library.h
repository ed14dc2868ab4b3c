// CudaLibrary: the part of the NVIDIA driver library (libcuda) that is needed
// to know which devices this process may use.
//
// The library is found at run time and never linked. Opening it calls cuInit,
// which allocates no device memory and makes no context, but:
//   - it may take seconds where the driver is not kept loaded (persistence);
//   - CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER are read by the first cuInit
//   of
//     the process, whoever calls it, and never again;
//   - it cannot be undone, and a forked child cannot use CUDA afterwards. A
//     spawned one (fork and exec) can.
//
// Thread-safety: immutable after Open(); every method from any thread.
// Source: the driver API reference; declared by hand, see Functions.
#ifndef ASPIRED_CUDA_CUDA_LIBRARY_H_
#define ASPIRED_CUDA_CUDA_LIBRARY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace aspired {

// Why this process has no CUDA device. Normal answers, no errors.
enum class CudaAbsence : uint8_t {
  // It has some.
  kNone,
  // No driver library, or the stub that toolkits ship for linkers.
  kNoDriver,
  // A driver older than CUDA 9.2, which cannot name its devices.
  kDriverTooOld,
  // The library lacks a function it should have; the message names it.
  kMissingSymbol,
  // cuInit failed; the message has its code.
  kInitFailed,
  // The driver works and shows no device: there is none, or
  // CUDA_VISIBLE_DEVICES hides all.
  kNoDevices,
};

// Memory of one device in bytes.
struct DeviceMemory {
  uint64_t total = 0;
  uint64_t free = 0;
};

class CudaLibrary {
 public:
  // The oldest driver that can be used, as cuDriverGetVersion counts.
  static constexpr int kMinVersion = 9020;

  // A device that CUDA shows; its ordinal is its index in devices().
  struct Device {
    int handle = 0;
    // The UUID without "GPU-" or "MIG-": CUDA does not say which.
    std::string uuid;
    std::string name;
    uint64_t total = 0;
  };

  // Opens `path`, or the usual names when it is empty, and lists the devices.
  // Never throws; see absence().
  static CudaLibrary Open(const std::string& path);

  CudaAbsence absence() const { return absence_; }
  // For people; empty when there are devices.
  const std::string& message() const { return message_; }
  // 12020 for CUDA 12.2: the newest that the driver supports. 0 when unknown.
  int version() const { return version_; }
  // In the order of their ordinals, after CUDA_VISIBLE_DEVICES.
  const std::vector<Device>& devices() const { return devices_; }

  // What the driver says of a device's memory, through the primary context of
  // this process. None where no such context is active: one is never made, for
  // that costs device memory.
  std::optional<DeviceMemory> ReadMemory(int handle) const;

 private:
  struct Uuid {
    unsigned char bytes[16];
  };
  static_assert(sizeof(Uuid) == 16);
  using Context = struct OpaqueContext*;

  // Results are CUresult, 0 for success; devices are CUdevice, an int. Those
  // below the line may be null.
  struct Functions {
    int (*Init)(unsigned int flags) = nullptr;
    int (*DriverGetVersion)(int* version) = nullptr;
    int (*DeviceGetCount)(int* count) = nullptr;
    int (*DeviceGet)(int* device, int ordinal) = nullptr;
    int (*DeviceGetName)(char* name, int size, int device) = nullptr;
    int (*DeviceTotalMem)(size_t* bytes, int device) = nullptr;
    // _v2 (CUDA 11.4) names the MIG instance, the first one its GPU.
    int (*DeviceGetUuid)(Uuid* uuid, int device) = nullptr;
    // ---
    int (*GetErrorName)(int result, const char** name) = nullptr;
    int (*PrimaryCtxGetState)(int device, unsigned int* flags,
                              int* active) = nullptr;
    int (*PrimaryCtxRetain)(Context* context, int device) = nullptr;
    int (*PrimaryCtxRelease)(int device) = nullptr;
    int (*CtxPushCurrent)(Context context) = nullptr;
    int (*CtxPopCurrent)(Context* context) = nullptr;
    int (*MemGetInfo)(size_t* free, size_t* total) = nullptr;
  };

  // Both set absence_ and message_ when they fail.
  bool Bind(const std::string& path);
  bool List();
  bool Fail(CudaAbsence absence, std::string message);
  std::string NameOf(int result) const;

  Functions cuda_;
  CudaAbsence absence_ = CudaAbsence::kNone;
  std::string message_;
  int version_ = 0;
  std::vector<Device> devices_;
};

}  // namespace aspired

#endif  // ASPIRED_CUDA_CUDA_LIBRARY_H_
