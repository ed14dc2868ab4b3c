// OrtRuntime: one opened ONNX Runtime library.
//
// Load() opens a library, checks its version, takes its function table and
// makes its one OrtEnv. A runtime lives as long as the process (it is leaked
// on purpose: sessions, tensors and threads that use it have no common end),
// and there is one per path. Several may be loaded side by side, and one may be
// the very library that onnxruntime-node uses in this process: then they share
// the OrtEnv, which the library counts.
//
// Thread-safe. Immutable once loaded.
#ifndef ASPIRED_ENGINE_ORT_RUNTIME_H_
#define ASPIRED_ENGINE_ORT_RUNTIME_H_

#include <memory>
#include <string>
#include <vector>

#include "core/status.h"
#include "engine/ort_api.h"
#include "host/dynamic_library.h"

namespace aspired {

class OrtRuntime {
 public:
  // Blocks while the library is read from disk (tens of milliseconds the first
  // time). Fails with kOnnxRuntimeNotFound when it cannot be opened, and with
  // kOnnxRuntimeUnsupported when it is no ONNX Runtime 1.17 or later. A failure
  // is not remembered.
  static Status Load(const std::string& path, const OrtRuntime** out);

  OrtRuntime(const OrtRuntime&) = delete;
  OrtRuntime& operator=(const OrtRuntime&) = delete;

  const ort::OrtApi& api() const { return api_; }
  // "1.30.0".
  const std::string& version() const { return version_; }
  const std::string& path() const { return path_; }
  const ort::OrtEnv* env() const { return env_; }
  const ort::OrtMemoryInfo* cpu_memory() const { return cpu_memory_; }
  ort::OrtAllocator* allocator() const { return allocator_; }
  // A load can be told to stop from another thread.
  bool can_cancel_loads() const {
    return api_.SessionOptionsSetLoadCancellationFlag != nullptr;
  }

  // The providers this library was built with, by the runtime's names.
  std::vector<std::string> AvailableProviders() const;

  // Releases `status` and turns it into one of ours. OK for null.
  Status ToStatus(ErrorCode code, ort::OrtStatus* status) const;
  // Releases `status`; its code and message.
  int Consume(ort::OrtStatus* status, std::string* message) const;

 private:
  OrtRuntime(const std::string& path, DynamicLibrary library);
  static Status Open(const std::string& path, std::unique_ptr<OrtRuntime>* out);
  Status Initialize();

  const std::string path_;
  const DynamicLibrary library_;
  std::string version_;
  ort::OrtApi api_;
  ort::OrtEnv* env_ = nullptr;
  ort::OrtMemoryInfo* cpu_memory_ = nullptr;
  ort::OrtAllocator* allocator_ = nullptr;
};

// The numbers of "1.30.0"; false when the text is no such thing.
bool ParseOrtVersion(const std::string& text, int* major, int* minor);

}  // namespace aspired

#endif  // ASPIRED_ENGINE_ORT_RUNTIME_H_
