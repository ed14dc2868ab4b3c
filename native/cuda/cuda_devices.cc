#include "cuda/cuda_devices.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "cuda/visible_devices.h"

namespace aspired {
namespace {

bool IsLoss(NvmlResult result) {
  switch (result) {
    case NvmlResult::kGpuIsLost:
    case NvmlResult::kResetRequired:
    case NvmlResult::kDriverNotLoaded:
    // The handle was good when it was found, so the device behind it is gone.
    case NvmlResult::kNotFound:
    case NvmlResult::kInvalidArgument:
      return true;
    default:
      return false;
  }
}

std::string Describe(const CudaDevice& device) {
  std::string text = device.uuid;
  if (device.ordinal) text += " (" + std::to_string(*device.ordinal) + ")";
  return text;
}

DeviceReading Failed(ErrorCode code, const CudaDevice& device,
                     const std::string& why) {
  DeviceReading reading;
  reading.status =
      Status(code, "The memory of CUDA device " + Describe(device) + ' ' + why);
  return reading;
}

DeviceReading ToReading(const DeviceMemory& memory) {
  DeviceReading reading;
  reading.total = memory.total;
  reading.used = memory.total - std::min(memory.total, memory.free);
  return reading;
}

}  // namespace

std::string_view Name(CudaAbsence absence) {
  switch (absence) {
    case CudaAbsence::kNone:
      return "";
    case CudaAbsence::kNoDriver:
      return "no-driver";
    case CudaAbsence::kDriverTooOld:
      return "driver-too-old";
    case CudaAbsence::kMissingSymbol:
      return "missing-symbol";
    case CudaAbsence::kInitFailed:
      return "init-failed";
    case CudaAbsence::kNoDevices:
      return "no-devices";
  }
  return "";
}

std::unique_ptr<const CudaDevices> CudaDevices::Open(const CudaOptions& options,
                                                     OwnProcess self) {
  return std::unique_ptr<const CudaDevices>(
      new CudaDevices(options, std::move(self)));
}

CudaDevices::CudaDevices(const CudaOptions& options, OwnProcess self)
    : self_(std::move(self)),
      cuda_(CudaLibrary::Open(options.cuda_path)),
      nvml_(options.nvml_path) {
  for (uint32_t i = 0; i < cuda_.devices().size(); ++i) AddCudaDevice(i);
  if (!nvml_.is_usable()) return;
  const std::vector<NvmlLibrary::Gpu> gpus = nvml_.List();
  AddOthers(gpus);
  // "No devices" is the driver's own word on the variable.
  if (absence() != CudaAbsence::kNone && absence() != CudaAbsence::kNoDevices) {
    NumberByEnvironment(gpus);
  }
}

void CudaDevices::AddCudaDevice(uint32_t ordinal) {
  const CudaLibrary::Device& found = cuda_.devices()[ordinal];
  CudaDevice device;
  Source source;
  device.ordinal = ordinal;
  device.uuid = "GPU-" + found.uuid;
  device.name = found.name;
  device.total = found.total;
  source.cuda = found.handle;
  if (nvml_.is_usable()) {
    source.nvml = nvml_.Find(device.uuid);
    if (source.nvml != nullptr && nvml_.IsInMigMode(source.nvml)) {
      // A driver before CUDA 11.4 names the GPU of the instance that it means:
      // the memory of the whole would be wrong.
      device.is_mig = true;
      device.parent_uuid = device.uuid;
      source.nvml = nullptr;
    } else if (source.nvml == nullptr) {
      const std::string instance = "MIG-" + found.uuid;
      source.nvml = nvml_.Find(instance);
      if (source.nvml != nullptr) {
        device.uuid = instance;
        device.is_mig = true;
        device.parent_uuid = nvml_.ParentUuid(source.nvml);
      }
    }
    DeviceMemory memory;
    if (source.nvml != nullptr &&
        nvml_.ReadMemory(source.nvml, &memory) == NvmlResult::kSuccess) {
      device.total = memory.total;
    }
  }
  devices_.push_back(std::move(device));
  sources_.push_back(source);
}

void CudaDevices::AddOthers(const std::vector<NvmlLibrary::Gpu>& gpus) {
  for (const NvmlLibrary::Gpu& gpu : gpus) {
    if (!gpu.mig_mode) AddNvmlDevice(gpu, "");
    for (const auto& instance : gpu.instances) {
      AddNvmlDevice(instance, gpu.uuid);
    }
  }
}

void CudaDevices::AddNvmlDevice(const NvmlLibrary::Gpu& gpu,
                                const std::string& parent) {
  const bool known =
      std::any_of(devices_.begin(), devices_.end(),
                  [&](const CudaDevice& d) { return d.uuid == gpu.uuid; });
  if (known) return;
  CudaDevice device;
  device.uuid = gpu.uuid;
  device.name = gpu.name;
  device.is_mig = !parent.empty();
  device.parent_uuid = parent;
  DeviceMemory memory;
  if (nvml_.ReadMemory(gpu.handle, &memory) == NvmlResult::kSuccess) {
    device.total = memory.total;
  }
  devices_.push_back(std::move(device));
  sources_.push_back({gpu.handle, std::nullopt});
}

void CudaDevices::NumberByEnvironment(
    const std::vector<NvmlLibrary::Gpu>& gpus) {
  std::vector<VisibleGpu> visible_gpus;
  for (const NvmlLibrary::Gpu& gpu : gpus) {
    visible_gpus.push_back({gpu.uuid, {}});
    for (const auto& instance : gpu.instances) {
      visible_gpus.back().instances.push_back(instance.uuid);
    }
  }
  const std::vector<std::string> visible =
      ResolveVisibleDevices(std::getenv("CUDA_VISIBLE_DEVICES"), visible_gpus);
  // Devices and sources are of one order: move them together.
  std::vector<CudaDevice> devices;
  std::vector<Source> sources;
  const auto move = [&](size_t i, std::optional<uint32_t> ordinal) {
    devices.push_back(devices_[i]);
    devices.back().ordinal = ordinal;
    sources.push_back(sources_[i]);
  };
  for (const std::string& uuid : visible) {
    for (size_t i = 0; i < devices_.size(); ++i) {
      if (devices_[i].uuid != uuid) continue;
      move(i, static_cast<uint32_t>(devices.size()));
    }
  }
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (std::find(visible.begin(), visible.end(), devices_[i].uuid) ==
        visible.end()) {
      move(i, std::nullopt);
    }
  }
  devices_ = std::move(devices);
  sources_ = std::move(sources);
}

std::string CudaDevices::CudaVersion() const {
  const int version = cuda_.version();
  if (version == 0) return "";
  return std::to_string(version / 1000) + "." +
         std::to_string(version % 1000 / 10);
}

std::string CudaDevices::DriverVersion() const {
  return nvml_.is_usable() ? nvml_.DriverVersion() : "";
}

Status CudaDevices::Find(std::string_view wanted, size_t* index) const {
  std::vector<std::string> uuids;
  std::string list;
  for (const CudaDevice& device : devices_) {
    uuids.push_back(device.uuid);
    list += (list.empty() ? "" : ", ") + Describe(device);
  }
  const std::string there =
      list.empty() ? "there is none" : "there are " + list;
  const std::string name(wanted);
  uint32_t ordinal = 0;
  const char* const end = wanted.data() + wanted.size();
  const auto [stop, error] = std::from_chars(wanted.data(), end, ordinal);
  if (error == std::errc() && stop == end) {
    for (size_t i = 0; i < devices_.size(); ++i) {
      if (devices_[i].ordinal != ordinal) continue;
      *index = i;
      return Status::Ok();
    }
  } else if (!wanted.empty()) {
    const UuidMatch match = MatchUuid(wanted, uuids);
    if (match.kind == UuidMatch::Kind::kAmbiguous) {
      return Status(
          ErrorCode::kInvalidArgument,
          "Several CUDA devices begin with \"" + name + "\"; " + there + '.');
    }
    if (match.kind == UuidMatch::Kind::kOne) {
      *index = match.index;
      return Status::Ok();
    }
  }
  return Status(ErrorCode::kDeviceNotFound,
                "No CUDA device \"" + name + "\"; " + there + '.');
}

NvmlLibrary::Handle CudaDevices::HandleOf(size_t index) const {
  // The handle of an instance that was destroyed may come to mean another one.
  return devices_[index].is_mig && sources_[index].nvml != nullptr
             ? nvml_.Find(devices_[index].uuid)
             : sources_[index].nvml;
}

DeviceReading CudaDevices::Read(size_t index) const {
  const CudaDevice& device = devices_[index];
  const Source& source = sources_[index];
  std::string why =
      nvml_.is_usable() ? "NVML does not know the device." : nvml_.message();
  if (source.nvml != nullptr) {
    const NvmlLibrary::Handle handle = HandleOf(index);
    DeviceMemory memory;
    const NvmlResult result = handle == nullptr
                                  ? NvmlResult::kNotFound
                                  : nvml_.ReadMemory(handle, &memory);
    if (result == NvmlResult::kSuccess) {
      DeviceReading reading = ToReading(memory);
      reading.self = ReadSelf(handle);
      return reading;
    }
    why = "NVML answers " + nvml_.NameOf(result) + '.';
    if (IsLoss(result)) {
      return Failed(ErrorCode::kDeviceLost, device,
                    "cannot be read, the device is lost: " + why);
    }
  }
  if (source.cuda) {
    if (const auto memory = cuda_.ReadMemory(*source.cuda)) {
      return ToReading(*memory);
    }
  }
  return Failed(
      ErrorCode::kDeviceUnreadable, device,
      "cannot be read, and this process has no active context on it: " + why);
}

std::optional<uint64_t> CudaDevices::ReadSelf(
    NvmlLibrary::Handle handle) const {
  std::vector<NvmlProcess> processes;
  if (nvml_.ReadProcesses(handle, &processes) != NvmlResult::kSuccess) {
    return std::nullopt;
  }
  return SelfUsage(processes, self_);
}

std::optional<uint64_t> SelfUsage(const std::vector<NvmlProcess>& processes,
                                  const OwnProcess& self) {
  std::optional<uint64_t> used;
  for (const NvmlProcess& process : processes) {
    const bool ours = std::find(self.pids.begin(), self.pids.end(),
                                process.pid) != self.pids.end();
    if (ours) {
      if (!process.bytes) return std::nullopt;
      used = used.value_or(0) + *process.bytes;
    } else if (!self.in_initial_namespace && process.pid != 0 &&
               !ProcessExists(process.pid)) {
      return std::nullopt;
    }
  }
  return used;
}

}  // namespace aspired
