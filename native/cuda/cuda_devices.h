// CudaDevices: the NVIDIA devices of this machine, and their memory.
//
// Asks two libraries that are found at run time: the driver (which devices this
// process may use, under which ordinals) and NVML (how much is taken). They
// number devices differently, so each ordinal is carried over by its UUID. No
// CUDA context is made.
//
// That there is no driver, an old one, or no device is a normal answer:
// absence(). Nothing here throws.
//
// Memory is NVML's where it knows the device. The driver is asked only where
// NVML cannot answer and this process has an active primary context there.
//
// Thread-safety: immutable after Open() and without a lock of its own; every
// method from any thread. Open() and Read() wait for the driver: milliseconds
// as a rule, seconds for the first Open() where the driver is not kept loaded,
// for ever where a GPU hangs in the kernel. So Read() belongs on a thread that
// samples, whose last answers the others use, and never under a lock that
// others want.
#ifndef ASPIRED_CUDA_CUDA_DEVICES_H_
#define ASPIRED_CUDA_CUDA_DEVICES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "cuda/cuda_library.h"
#include "cuda/nvml_library.h"
#include "host/own_process.h"
#include "resources/memory_meter.h"

namespace aspired {

// Paths of the two libraries. An empty one means the usual names; one that is
// given is the only one tried.
struct CudaOptions {
  std::string cuda_path;
  std::string nvml_path;
};

struct CudaDevice {
  // CUDA's number for it in this process; none when CUDA_VISIBLE_DEVICES hides
  // it. With cuInit failing it is the number that the variable gives it in the
  // order of the PCI bus, and cannot be used for anything.
  std::optional<uint32_t> ordinal;
  // "GPU-..." or "MIG-...": the name that does not change.
  std::string uuid;
  std::string name;
  // Bytes, as NVML counts them (what the driver keeps included), else as CUDA
  // does.
  uint64_t total = 0;
  // An instance of a GPU in MIG mode. The GPU itself is not listed then.
  bool is_mig = false;
  // Of an instance: its GPU; empty when unknown.
  std::string parent_uuid;
};

class CudaDevices {
 public:
  // Never null. `self` tells which processes in NVML's lists are this one.
  static std::unique_ptr<const CudaDevices> Open(
      const CudaOptions& options, OwnProcess self = ReadOwnProcess());

  CudaDevices(const CudaDevices&) = delete;
  CudaDevices& operator=(const CudaDevices&) = delete;

  // kNone when CUDA shows this process at least one device.
  CudaAbsence absence() const { return cuda_.absence(); }
  // Why there is none; empty when there is one.
  const std::string& message() const { return cuda_.message(); }
  // "12.2", the newest CUDA that the driver supports; empty when unknown.
  std::string CudaVersion() const;
  // "550.54.15"; empty without NVML.
  std::string DriverVersion() const;

  // Those with an ordinal by their ordinals, then the others in the order of
  // the PCI bus. When CUDA is absent: what NVML knows of, if anything.
  const std::vector<CudaDevice>& devices() const { return devices_; }

  // Finds a device by its ordinal ("0"), its UUID, or the beginning of a UUID
  // that no other device shares ("GPU-8932"). By its UUID a hidden device is
  // found too: look at its ordinal. ERR_DEVICE_NOT_FOUND, or
  // ERR_INVALID_ARGUMENT when several begin so; both list what there is.
  Status Find(std::string_view device, size_t* index) const;

  // Reads a device now. REQUIRES: index < devices().size().
  //   used   what cannot be allocated, whoever took it: total minus free
  //   self   none unless NVML lists this process and says how much: there is no
  //          entry before the first context, and in a container the numbers of
  //          processes may be those of the host
  //   status ERR_DEVICE_LOST: the GPU fell off the bus, needs a reset, or the
  //          instance was destroyed. ERR_DEVICE_UNREADABLE: neither library
  //          can tell now. The numbers are 0 then.
  // A device that comes back under its UUID is read again.
  DeviceReading Read(size_t index) const;

 private:
  struct Source {
    NvmlLibrary::Handle nvml = nullptr;
    // CUdevice.
    std::optional<int> cuda;
  };

  CudaDevices(const CudaOptions& options, OwnProcess self);
  void AddCudaDevice(uint32_t ordinal);
  void AddOthers(const std::vector<NvmlLibrary::Gpu>& gpus);
  void AddNvmlDevice(const NvmlLibrary::Gpu& gpu, const std::string& parent);
  void NumberByEnvironment(const std::vector<NvmlLibrary::Gpu>& gpus);
  NvmlLibrary::Handle HandleOf(size_t index) const;
  std::optional<uint64_t> ReadSelf(NvmlLibrary::Handle handle) const;

  const OwnProcess self_;
  const CudaLibrary cuda_;
  const NvmlLibrary nvml_;
  std::vector<CudaDevice> devices_;
  std::vector<Source> sources_;  // of the same index
};

// What `self` uses according to one list of NVML. None when it is not in the
// list, NVML does not know how much, or the numbers seem to be those of another
// process namespace, where one that looks like ours may be somebody else.
std::optional<uint64_t> SelfUsage(const std::vector<NvmlProcess>& processes,
                                  const OwnProcess& self);

// "no-driver", "driver-too-old", "missing-symbol", "init-failed", "no-devices";
// "" for kNone.
std::string_view Name(CudaAbsence absence);

}  // namespace aspired

#endif  // ASPIRED_CUDA_CUDA_DEVICES_H_
