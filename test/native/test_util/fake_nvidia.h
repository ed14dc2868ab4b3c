// The fake NVIDIA driver of test/native/fake_cuda, as a test uses it.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_NVIDIA_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_NVIDIA_H_

#include <string>

#include "cuda/cuda_devices.h"
#include "host/dynamic_library.h"

namespace aspired {

class FakeNvidia {
 public:
  // "driver", "old" (the functions of 2020 only) or "broken" (one is missing).
  explicit FakeNvidia(const std::string& variant = "driver")
      : folder_(std::string(ASPIRED_FAKE_CUDA_DIR) + "/" + variant),
        library_(folder_ + "/libcuda.so.1", &error_) {}

  CudaOptions options() const {
    return {folder_ + "/libcuda.so.1", folder_ + "/libnvidia-ml.so.1"};
  }
  // For what cannot be found.
  static std::string Missing() {
    return std::string(ASPIRED_FAKE_CUDA_DIR) + "/missing.so";
  }

  // A machine with this driver, before the first cuInit; see fake_driver.h.
  void Show(const std::string& text) const { Configure(text, 1); }
  // The same machine later: CUDA's ordinals stay.
  void Change(const std::string& text) const { Configure(text, 0); }

  int contexts_made() const { return Ask("aspired_fake_contexts_made"); }
  int nvml_users() const { return Ask("aspired_fake_nvml_users"); }
  // Empty when the library could be opened.
  const std::string& error() const { return error_; }

 private:
  void Configure(const std::string& text, int reinitialize) const {
    reinterpret_cast<void (*)(const char*, int)>(
        library_.Symbol("aspired_fake_configure"))(text.c_str(), reinitialize);
  }
  int Ask(const char* symbol) const {
    return reinterpret_cast<int (*)()>(library_.Symbol(symbol))();
  }

  std::string folder_;
  std::string error_;
  DynamicLibrary library_;
};

}  // namespace aspired

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_NVIDIA_H_
