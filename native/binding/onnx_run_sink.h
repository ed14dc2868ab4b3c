// OnnxRunSink: brings finished runs from the threads of the pool to the
// JavaScript thread, many per wake-up.
#ifndef ASPIRED_BINDING_ONNX_RUN_SINK_H_
#define ASPIRED_BINDING_ONNX_RUN_SINK_H_

#include <memory>
#include <mutex>
#include <vector>

#include "binding/js_queue.h"
#include "engine/inference_run.h"

namespace aspired::binding {

class OnnxEnv;

// Thread-safe. Shared by the environment and its runs; after Close() a run that
// ends is forgotten on the thread where it ended.
class OnnxRunSink final : public RunSink,
                          public std::enable_shared_from_this<OnnxRunSink> {
 public:
  // `env` is only used in tasks of `queue`, which it outlives.
  OnnxRunSink(OnnxEnv* env, std::shared_ptr<JsQueue> queue);

  void OnDone(std::shared_ptr<InferenceRun> run) override;
  void Close();

 private:
  void Deliver();

  OnnxEnv* const env_;
  const std::shared_ptr<JsQueue> queue_;
  std::mutex mu_;
  // Guarded by mu_.
  std::vector<std::shared_ptr<InferenceRun>> done_;
  bool posted_ = false;
  bool closed_ = false;
};

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_ONNX_RUN_SINK_H_
