#include "binding/onnx_register.h"

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "binding/executor_external.h"
#include "binding/onnx_env.h"
#include "binding/onnx_session_wrap.h"
#include "binding/onnx_tensor.h"
#include "engine/engine_activity.h"
#include "engine/inference_pool.h"

namespace aspired::binding {
namespace {

using Holder = std::shared_ptr<OnnxEnv>;

uint32_t ToUint32(const Napi::Value& value) {
  return value.ToNumber().Uint32Value();
}

std::vector<NameAndValue> ReadEntries(Napi::Value value) {
  std::vector<NameAndValue> entries;
  const auto array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const auto pair = array.Get(i).As<Napi::Array>();
    entries.emplace_back(pair.Get(0u).ToString().Utf8Value(),
                         pair.Get(1u).ToString().Utf8Value());
  }
  return entries;
}

Status ReadLoadRequest(Napi::Object object, LoadRequest* request) {
  request->runtime_path = object.Get("runtimePath").ToString().Utf8Value();
  request->model_path = object.Get("modelPath").ToString().Utf8Value();
  OnnxSessionOptions& options = request->options;
  const auto number = [&](const char* name) {
    return object.Get(name).ToNumber().Int32Value();
  };
  options.intra_op_threads = number("intraOpNumThreads");
  options.inter_op_threads = number("interOpNumThreads");
  options.graph_optimization_level = number("graphOptimizationLevel");
  options.cpu_mem_arena = object.Get("enableCpuMemArena").ToBoolean();
  options.config = ReadEntries(object.Get("sessionConfig"));
  const auto providers = object.Get("executionProviders").As<Napi::Array>();
  for (uint32_t i = 0; i < providers.Length(); ++i) {
    const auto provider = providers.Get(i).As<Napi::Object>();
    options.providers.push_back({provider.Get("name").ToString().Utf8Value(),
                                 ReadEntries(provider.Get("options"))});
  }
  const auto warmups = object.Get("warmups").As<Napi::Array>();
  for (uint32_t i = 0; i < warmups.Length(); ++i) {
    request->warmups.emplace_back();
    if (Status status = ReadOwnedFeeds(warmups.Get(i).As<Napi::Object>(),
                                       &request->warmups.back());
        !status.ok()) {
      return status;
    }
  }
  return Status::Ok();
}

Napi::Value Load(const Napi::CallbackInfo& info, const Holder& holder) {
  LoadRequest request;
  const auto object = info[1].As<Napi::Object>();
  if (Status status = ReadLoadRequest(object, &request); !status.ok()) {
    return MakeFailure(info.Env(), status);
  }
  holder->Load(ToUint32(info[0]), std::move(request),
               ToUint32(object.Get("maxQueue")), UnwrapExecutor(info[2]));
  return info.Env().Undefined();
}

Napi::Value InferenceStats(const Napi::CallbackInfo& info) {
  const ThreadPoolStats stats = InferencePool::Instance().stats();
  auto object = Napi::Object::New(info.Env());
  object.Set("numThreads", stats.num_threads);
  object.Set("queued", static_cast<double>(stats.queued));
  object.Set("running", static_cast<double>(stats.running));
  object.Set("completed", static_cast<double>(stats.completed));
  return object;
}

Napi::Value Shutdown(const Napi::CallbackInfo& info) {
  const std::chrono::milliseconds wait(ToUint32(info[0]));
  return Napi::Boolean::New(info.Env(),
                            EngineActivity::Instance().Shutdown(wait));
}

template <typename Body>
void Export(Napi::Object object, const char* name, Body body) {
  object.Set(name, Napi::Function::New(object.Env(), std::move(body), name));
}

Napi::Value Attach(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Holder holder =
      std::make_shared<OnnxEnv>(env, info[0].As<Napi::Object>());
  EnvData::Of(env).AddTeardown([holder] { holder->TearDown(); });
  auto engine = Napi::Object::New(env);
  using Info = Napi::CallbackInfo;
  Export(engine, "load", [=](const Info& in) { return Load(in, holder); });
  Export(engine, "cancelLoad",
         [=](const Info& in) { holder->CancelLoad(ToUint32(in[0])); });
  Export(engine, "flush", [=](const Info&) { holder->Flush(); });
  Export(engine, "cancelRun",
         [=](const Info& in) { holder->CancelRun(ToUint32(in[0])); });
  Export(engine, "adoptSession", [=](const Info& in) {
    return AdoptOnnxSession(in.Env(), holder.get(), in[0]);
  });
  Export(engine, "reserve", [=](const Info& in) {
    holder->exchange().Reserve(in.Env(), ToUint32(in[0]));
  });
  return engine;
}

}  // namespace

void RegisterOnnx(Napi::Env env, Napi::Object exports) {
  auto onnx = Napi::Object::New(env);
  Export(onnx, "attach", &Attach);
  Export(onnx, "setNumInferenceThreads", [](const Napi::CallbackInfo& info) {
    InferencePool::Instance().SetNumThreads(
        static_cast<int>(ToUint32(info[0])));
  });
  Export(onnx, "inferenceStats", &InferenceStats);
  Export(onnx, "shutdown", &Shutdown);
  exports.Set("onnx", onnx);
}

}  // namespace aspired::binding
