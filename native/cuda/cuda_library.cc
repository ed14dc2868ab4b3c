#include "cuda/cuda_library.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cuda/driver_symbols.h"

namespace aspired {
namespace {

// CUresult, as far as it matters here.
constexpr int kSuccess = 0;
constexpr int kStubLibrary = 34;
constexpr int kNoDevice = 100;

constexpr size_t kNameSize = 256;

std::optional<DynamicLibrary> OpenCuda(const std::string& path,
                                       std::string* error) {
#if defined(_WIN32)
  return OpenDriverLibrary(path, {"nvcuda.dll"}, error);
#elif defined(__APPLE__)
  return OpenDriverLibrary(path, {}, error);
#else
  // WSL and NixOS keep the driver where the loader does not look.
  return OpenDriverLibrary(path,
                           {"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1",
                            "/run/opengl-driver/lib/libcuda.so.1"},
                           error);
#endif
}

std::string ToText(const unsigned char (&bytes)[16]) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < std::size(bytes); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." +
         std::to_string(version % 1000 / 10);
}

}  // namespace

CudaLibrary CudaLibrary::Open(const std::string& path) {
  CudaLibrary library;
  if (library.Bind(path)) library.List();
  return library;
}

bool CudaLibrary::Fail(CudaAbsence absence, std::string message) {
  absence_ = absence;
  message_ = std::move(message);
  return false;
}

bool CudaLibrary::Bind(const std::string& path) {
  std::string error;
  const auto library = OpenCuda(path, &error);
  if (!library) {
    return Fail(CudaAbsence::kNoDriver,
                "The NVIDIA driver library was not found: " + error);
  }
  SymbolBinder binder(*library);
  binder.Allow(&cuda_.DriverGetVersion, {"cuDriverGetVersion"});
  if (cuda_.DriverGetVersion != nullptr &&
      cuda_.DriverGetVersion(&version_) == kSuccess && version_ > 0 &&
      version_ < kMinVersion) {
    return Fail(CudaAbsence::kDriverTooOld,
                "The NVIDIA driver supports CUDA " + VersionText(version_) +
                    "; at least " + VersionText(kMinVersion) + " is needed.");
  }
  binder.Require(&cuda_.Init, {"cuInit"});
  binder.Require(&cuda_.DriverGetVersion, {"cuDriverGetVersion"});
  binder.Require(&cuda_.DeviceGetCount, {"cuDeviceGetCount"});
  binder.Require(&cuda_.DeviceGet, {"cuDeviceGet"});
  binder.Require(&cuda_.DeviceGetName, {"cuDeviceGetName"});
  binder.Require(&cuda_.DeviceTotalMem, {"cuDeviceTotalMem_v2"});
  binder.Require(&cuda_.DeviceGetUuid,
                 {"cuDeviceGetUuid_v2", "cuDeviceGetUuid"});
  if (binder.missing() != nullptr) {
    return Fail(CudaAbsence::kMissingSymbol,
                std::string("The NVIDIA driver library has no function ") +
                    binder.missing() + ".");
  }
  binder.Allow(&cuda_.GetErrorName, {"cuGetErrorName"});
  binder.Allow(&cuda_.PrimaryCtxGetState, {"cuDevicePrimaryCtxGetState"});
  binder.Allow(&cuda_.PrimaryCtxRetain, {"cuDevicePrimaryCtxRetain"});
  binder.Allow(&cuda_.PrimaryCtxRelease,
               {"cuDevicePrimaryCtxRelease_v2", "cuDevicePrimaryCtxRelease"});
  binder.Allow(&cuda_.CtxPushCurrent, {"cuCtxPushCurrent_v2"});
  binder.Allow(&cuda_.CtxPopCurrent, {"cuCtxPopCurrent_v2"});
  binder.Allow(&cuda_.MemGetInfo, {"cuMemGetInfo_v2"});
  return true;
}

bool CudaLibrary::List() {
  const int result = cuda_.Init(0);
  if (result == kNoDevice) {
    return Fail(CudaAbsence::kNoDevices, "The NVIDIA driver shows no device.");
  }
  if (result == kStubLibrary) {
    return Fail(CudaAbsence::kNoDriver,
                "The library is the stub of a CUDA toolkit, not a driver.");
  }
  int count = 0;
  if (result != kSuccess) {
    return Fail(CudaAbsence::kInitFailed,
                "cuInit failed with " + NameOf(result) + ".");
  }
  if (const int failed = cuda_.DeviceGetCount(&count); failed != kSuccess) {
    return Fail(CudaAbsence::kInitFailed,
                "cuDeviceGetCount failed with " + NameOf(failed) + ".");
  }
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    Device device;
    Uuid uuid = {};
    char name[kNameSize] = {};
    size_t total = 0;
    int failed = cuda_.DeviceGet(&device.handle, ordinal);
    if (failed == 0) failed = cuda_.DeviceGetUuid(&uuid, device.handle);
    if (failed == 0) failed = cuda_.DeviceTotalMem(&total, device.handle);
    if (failed != kSuccess) {
      devices_.clear();
      return Fail(CudaAbsence::kInitFailed,
                  "CUDA device " + std::to_string(ordinal) +
                      " does not answer: " + NameOf(failed) + ".");
    }
    cuda_.DeviceGetName(name, kNameSize - 1, device.handle);
    device.uuid = ToText(uuid.bytes);
    device.name = name;
    device.total = total;
    devices_.push_back(std::move(device));
  }
  if (devices_.empty()) {
    return Fail(CudaAbsence::kNoDevices, "The NVIDIA driver shows no device.");
  }
  return true;
}

std::string CudaLibrary::NameOf(int result) const {
  const char* name = nullptr;
  std::string text = "code " + std::to_string(result);
  if (cuda_.GetErrorName != nullptr &&
      cuda_.GetErrorName(result, &name) == kSuccess && name != nullptr) {
    text += std::string(" (") + name + ")";
  }
  return text;
}

std::optional<DeviceMemory> CudaLibrary::ReadMemory(int handle) const {
  if (cuda_.PrimaryCtxGetState == nullptr ||
      cuda_.PrimaryCtxRetain == nullptr || cuda_.PrimaryCtxRelease == nullptr ||
      cuda_.CtxPushCurrent == nullptr || cuda_.CtxPopCurrent == nullptr ||
      cuda_.MemGetInfo == nullptr) {
    return std::nullopt;
  }
  unsigned int flags = 0;
  int active = 0;
  if (cuda_.PrimaryCtxGetState(handle, &flags, &active) != kSuccess ||
      active == 0) {
    return std::nullopt;
  }
  // Who resets the primary context just here makes Retain build a new one. It
  // is released again below, and no call of the driver avoids it.
  Context context = nullptr;
  if (cuda_.PrimaryCtxRetain(&context, handle) != kSuccess) return std::nullopt;
  size_t free = 0;
  size_t total = 0;
  bool known = false;
  if (cuda_.CtxPushCurrent(context) == kSuccess) {
    known = cuda_.MemGetInfo(&free, &total) == kSuccess;
    cuda_.CtxPopCurrent(&context);
  }
  cuda_.PrimaryCtxRelease(handle);
  if (!known) return std::nullopt;
  return DeviceMemory{total, free};
}

}  // namespace aspired
