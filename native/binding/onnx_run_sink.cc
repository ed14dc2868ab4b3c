#include "binding/onnx_run_sink.h"

#include <utility>

#include "binding/onnx_env.h"

namespace aspired::binding {

OnnxRunSink::OnnxRunSink(OnnxEnv* env, std::shared_ptr<JsQueue> queue)
    : env_(env), queue_(std::move(queue)) {}

void OnnxRunSink::OnDone(std::shared_ptr<InferenceRun> run) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (!closed_) {
      done_.push_back(std::move(run));
      if (std::exchange(posted_, true)) return;
    }
  }
  if (run != nullptr) {
    run->Reset();
    return;
  }
  queue_->Post([self = shared_from_this()](Napi::Env) { self->Deliver(); });
}

void OnnxRunSink::Deliver() {
  std::vector<std::shared_ptr<InferenceRun>> runs;
  {
    std::lock_guard<std::mutex> lock(mu_);
    posted_ = false;
    runs.swap(done_);
  }
  env_->DeliverRuns(std::move(runs));
}

void OnnxRunSink::Close() {
  std::vector<std::shared_ptr<InferenceRun>> runs;
  {
    std::lock_guard<std::mutex> lock(mu_);
    closed_ = true;
    runs.swap(done_);
  }
  for (const auto& run : runs) run->Reset();
}

}  // namespace aspired::binding
