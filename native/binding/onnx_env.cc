#include "binding/onnx_env.h"

#include <chrono>
#include <utility>

#include "binding/onnx_run_sink.h"
#include "binding/onnx_session_wrap.h"
#include "binding/onnx_tensor.h"
#include "engine/engine_activity.h"
#include "engine/inference_pool.h"

namespace aspired::binding {
namespace {

// For runs that read JavaScript memory when their environment ends. They were
// told to stop, so this is the time of one operator; there is no safe way to
// go on before, and a deadline only turns a hang into a crash one can see.
constexpr std::chrono::seconds kTeardownWait{30};
constexpr std::chrono::seconds kOpeningWait{2};

}  // namespace

OnnxEnv::OnnxEnv(Napi::Env env, Napi::Object callbacks)
    : env_(env),
      queue_(EnvData::Of(env).queue()),
      on_runs_(Napi::Persistent(callbacks.Get("onRuns").As<Napi::Function>())),
      on_load_(Napi::Persistent(callbacks.Get("onLoad").As<Napi::Function>())),
      on_unload_(
          Napi::Persistent(callbacks.Get("onUnload").As<Napi::Function>())),
      exchange_(env, callbacks.Get("adopt").As<Napi::Function>()),
      sink_(std::make_shared<OnnxRunSink>(this, queue_)) {}

OnnxEnv::~OnnxEnv() = default;

const std::shared_ptr<InferenceRun>& OnnxEnv::RunFor(uint32_t id) {
  if (id >= slots_.size()) slots_.resize(id + 1);
  Slot& slot = slots_[id];
  if (slot.run == nullptr) {
    slot.run = std::make_shared<InferenceRun>();
    slot.run->id = id;
  }
  return slot.run;
}

void OnnxEnv::Submit(const std::shared_ptr<InferenceRun>& run) {
  run->sink = sink_;
  slots_[run->id].on = true;
  pending_.push_back(run);
  BeginWork();
}

void OnnxEnv::Flush() {
  if (pending_.empty()) return;
  InferencePool::Instance().Submit(pending_);
  pending_.clear();
}

void OnnxEnv::CancelRun(uint32_t id) {
  if (id >= slots_.size() || !slots_[id].on) return;
  Flush();
  InferencePool::Instance().Cancel(slots_[id].run);
}

bool OnnxEnv::WriteRun(const InferenceRun& run, Napi::Array* array) {
  if (run.status.ok()) {
    const double head = run.id;
    return exchange_.words_written() + 1 + OnnxExchange::WordsOf(run.result) <=
               exchange_.num_words() &&
           exchange_.WriteWords(&head, 1) &&
           exchange_.WriteResult(env_, run.result, array);
  }
  if (array->IsEmpty()) *array = Napi::Array::New(env_);
  const double words[] = {static_cast<double>(run.id), -1,
                          static_cast<double>(array->Length())};
  if (!exchange_.WriteWords(words, 3)) return false;
  array->Set(array->Length(), MakeFailure(env_, run.status));
  return true;
}

void OnnxEnv::CallOnRuns(double count, Napi::Array* array) {
  exchange_.SetWord(0, count);
  on_runs_.Call({array->IsEmpty() ? env_.Undefined() : Napi::Value(*array)});
}

void OnnxEnv::DeliverRuns(std::vector<std::shared_ptr<InferenceRun>> runs) {
  const double no_count = 0;
  size_t next = 0;
  while (next < runs.size()) {
    Napi::HandleScope scope(env_);
    Napi::Array array;
    size_t count = 0;
    exchange_.BeginWrite();
    exchange_.WriteWords(&no_count, 1);
    while (next < runs.size() && WriteRun(*runs[next], &array)) {
      // Before the callback: it may submit a run with the same id.
      slots_[runs[next]->id].on = false;
      runs[next]->Reset();
      ++next;
      ++count;
    }
    if (count > 0) {
      CallOnRuns(static_cast<double>(count), &array);
    } else {
      exchange_.Reserve(env_, 2 + OnnxExchange::WordsOf(runs[next]->result));
    }
  }
  EndWork(runs.size());
}

void OnnxEnv::Load(uint32_t id, LoadRequest request, uint32_t max_queue,
                   std::shared_ptr<Executor> executor) {
  auto cancellation = std::make_shared<LoadCancellation>();
  loads_[id] = cancellation;
  BeginWork();
  LoadModel(std::move(request), std::move(cancellation), std::move(executor),
            [this, id, max_queue, queue = queue_](ModelLoadOutcome outcome) {
              // `this` is used by the queue only, which it outlives.
              auto shared =
                  std::make_shared<ModelLoadOutcome>(std::move(outcome));
              queue->Post([this, id, max_queue, shared](Napi::Env) {
                OnLoaded(id, max_queue, *shared);
              });
            });
}

void OnnxEnv::CancelLoad(uint32_t id) {
  if (auto it = loads_.find(id); it != loads_.end()) it->second->Cancel();
}

void OnnxEnv::OnLoaded(uint32_t id, uint32_t max_queue,
                       const ModelLoadOutcome& outcome) {
  loads_.erase(id);
  const Napi::Value number = Napi::Number::New(env_, id);
  EndWork();
  if (outcome.status.ok()) {
    on_load_.Call(
        {number, MakeOnnxSession(env_, this, outcome.session, max_queue)});
    return;
  }
  const Napi::Value failure = MakeFailure(env_, outcome.status);
  if (!outcome.warmup.ok()) {
    failure.As<Napi::Object>().Set("cause", MakeFailure(env_, outcome.warmup));
  }
  on_load_.Call({number, env_.Undefined(), failure});
}

void OnnxEnv::Unload(uint32_t id, std::shared_ptr<OnnxSession> session,
                     std::shared_ptr<Executor> executor) {
  BeginWork();
  UnloadModel(std::move(session), std::move(executor),
              [this, id, queue = queue_] {
                queue->Post([this, id](Napi::Env) {
                  EndWork();
                  on_unload_.Call({Napi::Number::New(env_, id)});
                });
              });
}

void OnnxEnv::BeginWork() {
  if (work_++ == 0) queue_->Ref(env_);
}

void OnnxEnv::EndWork(size_t count) {
  work_ -= count;
  if (work_ == 0) queue_->Unref(env_);
}

void OnnxEnv::TearDown() {
  for (const auto& [id, load] : loads_) load->Cancel();
  EngineActivity::Instance().WaitForOpening(kOpeningWait);
  sink_->Close();
  for (const auto& run : pending_) run->Reset();
  pending_.clear();
  InferencePool& pool = InferencePool::Instance();
  const TimePoint deadline = SystemClock().Now() + kTeardownWait;
  for (const Slot& slot : slots_) {
    if (slot.on) pool.Cancel(slot.run);
  }
  for (const Slot& slot : slots_) {
    // What belongs to the pool may only be asked of the pool.
    if (slot.on) pool.WaitFor(slot.run, deadline);
  }
  // This object may live on in functions that are collected later, when
  // references can no longer be given back.
  on_runs_.Reset();
  on_load_.Reset();
  on_unload_.Reset();
  exchange_.Release();
}

}  // namespace aspired::binding
