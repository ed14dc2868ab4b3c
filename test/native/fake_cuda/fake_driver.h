// A fake NVIDIA driver: libcuda and libnvidia-ml in one shared library, because
// they show the same devices. What they show is a text, one fact per line, from
// aspired_fake_configure() or, until that is called, from the environment
// variable ASPIRED_FAKE_DRIVER (there with ';' for the ends of lines):
//
//   version 12020            what cuDriverGetVersion answers
//   cuinit 999               what cuInit answers
//   nvmlinit 9               what nvmlInit answers
//   reversed                 CUDA counts from the other end of the bus
//   refuse-v2                the kernel knows no nvmlDeviceGetMemoryInfo_v2
//   entry 24                 size of the entries of process lists: 16, 24, 32
//   gpu <uuid> <total> <used>      in the order of the bus; uuid without GPU-
//   mig <uuid> <total> <used>      an instance of the last gpu
//   process <pid> <bytes>          uses the last gpu or mig; bytes may be -1
//   error 15                 what NVML answers when that device is read
//   nvml-unknown             NVML does not know that device
//   context                  this process has a primary context there
//
// cuMemAlloc and contexts take memory on top of <used>. With the environment
// variable ASPIRED_FAKE_SHARED, the path of a file, several processes share it.
#ifndef ASPIRED_TEST_NATIVE_FAKE_CUDA_FAKE_DRIVER_H_
#define ASPIRED_TEST_NATIVE_FAKE_CUDA_FAKE_DRIVER_H_

#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#define ASPIRED_FAKE_EXPORT \
  extern "C" __attribute__((visibility("default"), used))

namespace aspired::fake {

constexpr uint64_t kContextBytes = 256 << 20;

struct Process {
  uint32_t pid = 0;
  uint64_t bytes = 0;
};

// A GPU, or an instance when it has a parent.
struct Device {
  std::string uuid;
  uint64_t total = 0;
  uint64_t used = 0;
  int parent = -1;
  int error = 0;
  bool nvml_unknown = false;
  bool has_instances = false;
  int contexts = 0;
  std::vector<Process> processes;

  std::string NvmlUuid() const { return (parent < 0 ? "GPU-" : "MIG-") + uuid; }
};

// All of it under `mu`.
struct State {
  std::mutex mu;
  int version = 12020;
  int cu_init = 0;
  int nvml_init = 0;
  bool reversed = false;
  bool refuse_v2 = false;
  size_t entry_size = 24;
  std::vector<Device> devices;
  std::vector<int> ordinals;  // after cuInit: index of the device
  bool initialized = false;
  int contexts_made = 0;
  int nvml_users = 0;
};

State& TheState();

// With `mu` held.
uint64_t UsedOf(int device);
std::vector<Process> ProcessesOf(int device);
// Negative: given back.
void AddOwnUse(int device, int64_t bytes);

}  // namespace aspired::fake

#endif  // ASPIRED_TEST_NATIVE_FAKE_CUDA_FAKE_DRIVER_H_
