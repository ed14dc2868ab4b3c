#include "engine/ort_runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "concurrency/thread.h"
#include "engine/engine_activity.h"
#include "engine/heap.h"

namespace aspired {
namespace {

// From 1.30 on the library sends events about its use to its maker, and leaves
// files in the folder for temporary ones, unless this is set when its first
// environment is made. A value that is there is the user's, and stays. Not
// thread-safe against getenv() of others, which is why it is done once, before
// the library is in the process.
void DisableTelemetry() {
#ifndef _WIN32
  static const int done = setenv("ORT_DISABLE_TELEMETRY", "1", 0);
  (void)done;
#endif
}

constexpr char kInstallHint[] =
    "Install it with: npm install onnxruntime-node --ignore-scripts (its "
    "install script only fetches CUDA files), or give the path of a library "
    "as runtimePath.";

struct Loaded {
  std::mutex mu;
  std::map<std::string, const OrtRuntime*> by_path;  // guarded by mu
};

// Leaked: threads may load while the process exits.
Loaded& AllLoaded() {
  static Loaded* loaded = new Loaded();
  return *loaded;
}

Status Unsupported(const std::string& path, const std::string& why) {
  return Status(ErrorCode::kOnnxRuntimeUnsupported,
                "The library " + path + " cannot be used: " + why +
                    " Needed is ONNX Runtime 1.17 or later; npm install "
                    "onnxruntime-node@latest --ignore-scripts brings one.");
}

}  // namespace

bool ParseOrtVersion(const std::string& text, int* major, int* minor) {
  int end = 0;
  if (std::sscanf(text.c_str(), "%d.%d%n", major, minor, &end) != 2) {
    return false;
  }
  const char next = text[static_cast<size_t>(end)];
  return *major >= 0 && *minor >= 0 &&
         (next == '\0' || next == '.' || next == '-' || next == '+');
}

OrtRuntime::OrtRuntime(const std::string& path, DynamicLibrary library)
    : path_(path), library_(library) {}

Status OrtRuntime::Load(const std::string& path, const OrtRuntime** out) {
  Loaded& loaded = AllLoaded();
  // Held while the library is opened: two first loads of one path must end in
  // one runtime, and nothing of ours is called from inside.
  std::lock_guard<std::mutex> lock(loaded.mu);
  if (auto it = loaded.by_path.find(path); it != loaded.by_path.end()) {
    *out = it->second;
    return Status::Ok();
  }
  FixHeapThresholds();
  const EngineActivity::OpeningScope opening;
  std::unique_ptr<OrtRuntime> runtime;
  Status status;
  // The library starts a thread of its own, which takes over the name of the
  // one that opens it.
  std::thread opener([&] {
    SetCurrentThreadName("onnxruntime");
    status = Open(path, &runtime);
  });
  opener.join();
  if (!status.ok()) return status;
  EngineActivity::ShutdownAtExit();
  *out = loaded.by_path[path] = runtime.release();
  return Status::Ok();
}

Status OrtRuntime::Open(const std::string& path,
                        std::unique_ptr<OrtRuntime>* out) {
  DisableTelemetry();
  std::string error;
  DynamicLibrary library(path, &error);
  if (!library.is_open()) {
    return Status(ErrorCode::kOnnxRuntimeNotFound,
                  "The ONNX Runtime library could not be opened: " + error +
                      ". " + kInstallHint);
  }
  out->reset(new OrtRuntime(path, library));
  return (*out)->Initialize();
}

Status OrtRuntime::Initialize() {
  ort::OrtGetApiBaseFunction get_base = nullptr;
  void* symbol = library_.Symbol("OrtGetApiBase");
  std::memcpy(&get_base, &symbol, sizeof(get_base));
  const ort::OrtApiBase* base = get_base != nullptr ? get_base() : nullptr;
  if (base == nullptr) {
    return Unsupported(path_, "it is no ONNX Runtime (no OrtGetApiBase).");
  }
  const char* version = base->GetVersionString();
  version_ = version != nullptr ? version : "";
  int major = 0;
  int minor = 0;
  if (!ParseOrtVersion(version_, &major, &minor)) {
    return Unsupported(path_, "its version \"" + version_ + "\" is unknown.");
  }
  if (major != 1 || minor < ort::kMinApiVersion) {
    return Unsupported(path_, "it is version " + version_ + ".");
  }
  // The API version is the minor version of the release. Asking for one that a
  // runtime does not have makes it write to stderr, so do not probe.
  const int api_version = std::min(minor, ort::kMaxApiVersion);
  const void* table = base->GetApi(static_cast<uint32_t>(api_version));
  if (table == nullptr || !api_.Fill(table, api_version)) {
    return Unsupported(path_, "version " + version_ + " does not offer API " +
                                  std::to_string(api_version) + ".");
  }
  // The level is the library's own default: the environment may be shared with
  // onnxruntime-node, whose log is not ours to silence.
  ort::OrtStatus* failure =
      api_.CreateEnv(ort::kOrtLogWarning, "aspired", &env_);
  if (failure == nullptr) {
    failure = api_.CreateCpuMemoryInfo(ort::kOrtDeviceAllocator,
                                       ort::kOrtMemTypeDefault, &cpu_memory_);
  }
  if (failure == nullptr) {
    failure = api_.GetAllocatorWithDefaultOptions(&allocator_);
  }
  if (failure == nullptr) return Status::Ok();
  std::string message;
  Consume(failure, &message);
  return Unsupported(path_, message);
}

std::vector<std::string> OrtRuntime::AvailableProviders() const {
  std::vector<std::string> names;
  char** list = nullptr;
  int count = 0;
  std::string ignored;
  if (Consume(api_.GetAvailableProviders(&list, &count), &ignored) != 0) {
    return names;
  }
  names.assign(list, list + count);
  Consume(api_.ReleaseAvailableProviders(list, count), &ignored);
  return names;
}

int OrtRuntime::Consume(ort::OrtStatus* status, std::string* message) const {
  if (status == nullptr) return 0;
  const int code = api_.GetErrorCode(status);
  *message = api_.GetErrorMessage(status);
  api_.ReleaseStatus(status);
  return code != 0 ? code : 1;
}

Status OrtRuntime::ToStatus(ErrorCode code, ort::OrtStatus* status) const {
  if (status == nullptr) return Status::Ok();
  std::string message;
  Consume(status, &message);
  return Status(code, std::move(message));
}

}  // namespace aspired
