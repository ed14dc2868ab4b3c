// Translates OnnxSessionOptions into the runtime's own.
#ifndef ASPIRED_ENGINE_SESSION_OPTIONS_H_
#define ASPIRED_ENGINE_SESSION_OPTIONS_H_

#include "core/status.h"
#include "engine/onnx_session.h"
#include "engine/ort_runtime.h"

namespace aspired {

// Owns an OrtSessionOptions. Not thread-safe, but for Cancel(): it may be
// called while a session is made from the options.
class NativeSessionOptions {
 public:
  explicit NativeSessionOptions(const OrtRuntime& runtime)
      : runtime_(runtime) {}
  ~NativeSessionOptions();

  NativeSessionOptions(const NativeSessionOptions&) = delete;
  NativeSessionOptions& operator=(const NativeSessionOptions&) = delete;

  // kInvalidArgument names the option that the runtime refuses.
  Status Apply(const OnnxSessionOptions& options);
  // No effect where the runtime cannot cancel.
  void Cancel();

  const ort::OrtSessionOptions* get() const { return options_; }

 private:
  Status AppendProvider(const ExecutionProvider& provider);
  ort::OrtStatus* AppendCuda(const char* const* keys, const char* const* values,
                             size_t count);

  const OrtRuntime& runtime_;
  ort::OrtSessionOptions* options_ = nullptr;
};

}  // namespace aspired

#endif  // ASPIRED_ENGINE_SESSION_OPTIONS_H_
