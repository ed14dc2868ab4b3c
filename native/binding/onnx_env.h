// OnnxEnv: what the engine's binding owns in one environment: the exchange, the
// runs and loads that are on, and the way their ends come back.
//
// Runs: TypeScript numbers them (an id is used again when its run is over),
// submits them one by one and flushes once per turn; ends come back in batches,
// many per wake-up and per call.
//
// Teardown (the environment ends while things are on): loads are cancelled and
// left to their threads, which own all they touch. Runs are cancelled; those
// that read JavaScript memory are waited for, because that memory goes next.
//
// Lifetime: owned by its Teardown in EnvData, so that it outlives the JsQueue,
// whose tasks use it. Functions made for JavaScript point to it.
//
// Thread-safety: JavaScript thread only.
#ifndef ASPIRED_BINDING_ONNX_ENV_H_
#define ASPIRED_BINDING_ONNX_ENV_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "binding/env_data.h"
#include "binding/onnx_exchange.h"
#include "engine/model_loader.h"

namespace aspired::binding {

class OnnxRunSink;

class OnnxEnv {
 public:
  // `callbacks`: adopt(buffer, numWords), onRuns(array),
  // onLoad(id, session, failure), onUnload(id).
  OnnxEnv(Napi::Env env, Napi::Object callbacks);
  ~OnnxEnv();

  OnnxEnv(const OnnxEnv&) = delete;
  OnnxEnv& operator=(const OnnxEnv&) = delete;

  OnnxExchange& exchange() { return exchange_; }
  // For runs that end before the call does.
  InferenceRun& sync_run() { return sync_run_; }

  bool IsOn(uint32_t id) const { return id < slots_.size() && slots_[id].on; }
  // The run object for this id. REQUIRES: !IsOn(id).
  const std::shared_ptr<InferenceRun>& RunFor(uint32_t id);
  // Takes a run that is ready; it starts with the next Flush().
  void Submit(const std::shared_ptr<InferenceRun>& run);
  void Flush();
  void CancelRun(uint32_t id);

  // The end comes as onLoad(id, ...).
  void Load(uint32_t id, LoadRequest request, uint32_t max_queue,
            std::shared_ptr<Executor> executor);
  void CancelLoad(uint32_t id);
  // The end comes as onUnload(id).
  void Unload(uint32_t id, std::shared_ptr<OnnxSession> session,
              std::shared_ptr<Executor> executor);

  // Delivers the runs that are over.
  void DeliverRuns(std::vector<std::shared_ptr<InferenceRun>> runs);

  void TearDown();

 private:
  void OnLoaded(uint32_t id, uint32_t max_queue,
                const ModelLoadOutcome& outcome);
  // Writes one run's end; false when the exchange is full.
  bool WriteRun(const InferenceRun& run, Napi::Array* array);
  void CallOnRuns(double count, Napi::Array* array);
  // Counts what a user waits for; while there is any, the process stays alive.
  void BeginWork();
  void EndWork(size_t count = 1);

  const Napi::Env env_;
  const std::shared_ptr<JsQueue> queue_;
  Napi::FunctionReference on_runs_;
  Napi::FunctionReference on_load_;
  Napi::FunctionReference on_unload_;
  OnnxExchange exchange_;
  InferenceRun sync_run_;
  std::shared_ptr<OnnxRunSink> sink_;
  struct Slot {
    std::shared_ptr<InferenceRun> run;
    bool on = false;
  };
  std::vector<Slot> slots_;  // by run id
  std::vector<std::shared_ptr<InferenceRun>> pending_;
  std::map<uint32_t, std::shared_ptr<LoadCancellation>> loads_;  // by load id
  size_t work_ = 0;
};

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_ONNX_ENV_H_
