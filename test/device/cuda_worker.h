// Takes real device memory through the driver library, as a model would.
#ifndef ASPIRED_TEST_DEVICE_CUDA_WORKER_H_
#define ASPIRED_TEST_DEVICE_CUDA_WORKER_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cuda/cuda_library.h"
#include "host/dynamic_library.h"

namespace aspired {

// The primary context of one device, in this process, on this thread. What goes
// wrong is thrown as a std::runtime_error.
class CudaWorker {
 public:
  // `path` may be empty: the usual name.
  CudaWorker(const std::string& path, int ordinal);
  // Frees all and gives the context back.
  ~CudaWorker();

  CudaWorker(const CudaWorker&) = delete;
  CudaWorker& operator=(const CudaWorker&) = delete;

  // Whether the primary context of a device is active in this process.
  static bool HasContext(const std::string& path, int ordinal);

  void Allocate(uint64_t bytes);
  void FreeAll();
  // cuMemGetInfo.
  DeviceMemory Memory();

 private:
  DynamicLibrary library_;
  int device_ = 0;
  std::vector<uint64_t> blocks_;
};

// Another process that holds memory of a device: this program again, with
// kHoldFlag. It is ended by the destructor, if not before.
class HoldingProcess {
 public:
  static constexpr char kHoldFlag[] = "--hold";

  // Returns once the memory is taken; throws when it cannot be.
  HoldingProcess(const std::string& path, int ordinal, uint64_t bytes);
  ~HoldingProcess() { End(); }

  HoldingProcess(const HoldingProcess&) = delete;
  HoldingProcess& operator=(const HoldingProcess&) = delete;

  // Waits until it has ended. Whether it ended well.
  bool End();

  // What main() of the other process does: --hold <path> <ordinal> <bytes>.
  static int Main(char** argv);

 private:
  pid_t pid_ = -1;
  int input_ = -1;
};

}  // namespace aspired

#endif  // ASPIRED_TEST_DEVICE_CUDA_WORKER_H_
