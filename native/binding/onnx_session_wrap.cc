#include "binding/onnx_session_wrap.h"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "binding/executor_external.h"
#include "binding/onnx_tensor.h"
#include "binding/shareable.h"

namespace aspired::binding {
namespace {

// What the functions of one session share.
struct SessionData {
  OnnxEnv* env;
  std::shared_ptr<OnnxSession> session;
  uint32_t max_queue;
};

// What another environment needs to make the same.
struct SharedSession final : Shareable {
  SharedSession(std::shared_ptr<OnnxSession> s, uint32_t max, std::string p)
      : session(std::move(s)), max_queue(max), path(std::move(p)) {}
  const std::shared_ptr<OnnxSession> session;
  const uint32_t max_queue;
  const std::string path;
};

using Holder = std::shared_ptr<SessionData>;
using Body = napi_value (*)(napi_env, SessionData&, const napi_value* args,
                            size_t num_args);

constexpr size_t kMaxArgs = 64;

// Node-API functions by hand: a wrapper class doubles the cost of a call.
template <Body body>
napi_value Call(napi_env env, napi_callback_info info) {
  napi_value args[kMaxArgs];
  size_t num_args = std::size(args);
  void* data = nullptr;
  napi_get_cb_info(env, info, &num_args, args, nullptr, &data);
  try {
    return body(env, **static_cast<Holder*>(data), args,
                num_args < kMaxArgs ? num_args : kMaxArgs);
  } catch (const Napi::Error& error) {
    error.ThrowAsJavaScriptException();
    return nullptr;
  }
}

Status Unacquired(OnnxSession::Acquired acquired, uint32_t max_queue) {
  if (acquired == OnnxSession::Acquired::kClosed) {
    return Status(ErrorCode::kServableUnloaded,
                  "The model was unloaded; it cannot run any more.");
  }
  return Status(ErrorCode::kOverloaded,
                "The model has " + std::to_string(max_queue) +
                    " runs waiting or on, which is its option maxQueue.");
}

// undefined | array of large data | failure
napi_value RunSync(napi_env env, SessionData& data, const napi_value* args,
                   size_t num_args) {
  OnnxSession& session = *data.session;
  const auto acquired = session.TryAcquire(~0u >> 1);
  if (acquired != OnnxSession::Acquired::kYes) {
    return MakeFailure(env, Unacquired(acquired, data.max_queue));
  }
  InferenceRun& run = data.env->sync_run();
  run.session = data.session;
  OnnxExchange& exchange = data.env->exchange();
  Status status = exchange.ReadRun(env, session, args, num_args,
                                   OnnxExchange::Copy::kNone, &run);
  if (status.ok()) {
    status = session.Run(run.feeds, run.outputs, nullptr, &run.result);
  }
  Napi::Array array;
  if (status.ok()) {
    exchange.BeginWrite();
    if (!exchange.WriteResult(env, run.result, &array)) {
      exchange.Reserve(env, OnnxExchange::WordsOf(run.result));
      exchange.WriteResult(env, run.result, &array);
    }
  }
  run.Reset();
  if (!status.ok()) return MakeFailure(env, status);
  return array.IsEmpty() ? nullptr : static_cast<napi_value>(array);
}

// undefined | failure
napi_value Submit(napi_env env, SessionData& data, const napi_value* args,
                  size_t num_args) {
  uint32_t id = 0;
  if (num_args < 1 || napi_get_value_uint32(env, args[0], &id) != napi_ok ||
      data.env->IsOn(id)) {
    return MakeFailure(env, Status(ErrorCode::kInternal, "A bad run id."));
  }
  const auto acquired = data.session->TryAcquire(data.max_queue);
  if (acquired != OnnxSession::Acquired::kYes) {
    return MakeFailure(env, Unacquired(acquired, data.max_queue));
  }
  const std::shared_ptr<InferenceRun>& run = data.env->RunFor(id);
  run->session = data.session;
  const Status status =
      data.env->exchange().ReadRun(env, *data.session, args + 1, num_args - 1,
                                   OnnxExchange::Copy::kAll, run.get());
  if (!status.ok()) {
    run->Reset();
    return MakeFailure(env, status);
  }
  data.env->Submit(run);
  return nullptr;
}

napi_value CheckNames(napi_env env, SessionData& data, const napi_value* args,
                      size_t num_args) {
  std::vector<std::string> names;
  Status status;
  if (num_args > 0) status = ReadStrings(env, args[0], &names);
  if (status.ok()) status = CheckFeedNames(data.session->inputs(), names);
  if (status.ok()) return nullptr;
  return MakeFailure(env, status);
}

napi_value UnknownName(napi_env env, SessionData& data, const napi_value* args,
                       size_t num_args) {
  const std::string name =
      num_args > 0 ? Napi::Value(env, args[0]).ToString().Utf8Value() : "";
  return MakeFailure(env, UnknownOutput(data.session->outputs(), name));
}

napi_value Unload(napi_env env, SessionData& data, const napi_value* args,
                  size_t num_args) {
  uint32_t id = 0;
  if (num_args > 0) napi_get_value_uint32(env, args[0], &id);
  data.env->Unload(
      id, data.session,
      num_args > 1 ? UnwrapExecutor(Napi::Value(env, args[1])) : nullptr);
  return nullptr;
}

napi_value Share(napi_env env, SessionData& data, const napi_value* args,
                 size_t num_args) {
  std::string path =
      num_args > 0 ? Napi::Value(env, args[0]).ToString().Utf8Value() : "";
  return WrapShareable(env, std::make_shared<SharedSession>(
                                data.session, data.max_queue, std::move(path)));
}

template <Body body>
void AddFunction(Napi::Object object, const char* name, const Holder& holder) {
  const napi_env env = object.Env();
  auto* data = new Holder(holder);
  napi_value function = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, &Call<body>, data,
                           &function) != napi_ok) {
    delete data;
    throw Napi::Error::New(env, "napi_create_function failed");
  }
  napi_add_finalizer(
      env, function, data,
      [](node_api_basic_env, void* held, void*) {
        delete static_cast<Holder*>(held);
      },
      nullptr, nullptr);
  object.Set(name, Napi::Value(env, function));
}

}  // namespace

Napi::Object MakeOnnxSession(Napi::Env env, OnnxEnv* onnx,
                             std::shared_ptr<OnnxSession> session,
                             uint32_t max_queue) {
  auto object = Napi::Object::New(env);
  object.Set("inputs", MakeValueInfos(env, session->inputs()));
  object.Set("outputs", MakeValueInfos(env, session->outputs()));
  const Holder holder = std::make_shared<SessionData>(
      SessionData{onnx, std::move(session), max_queue});
  AddFunction<&RunSync>(object, "runSync", holder);
  AddFunction<&Submit>(object, "submit", holder);
  AddFunction<&CheckNames>(object, "checkNames", holder);
  AddFunction<&UnknownName>(object, "unknownOutput", holder);
  AddFunction<&Unload>(object, "unload", holder);
  AddFunction<&Share>(object, "share", holder);
  return object;
}

Napi::Value AdoptOnnxSession(Napi::Env env, OnnxEnv* onnx, Napi::Value shared) {
  const auto given =
      std::dynamic_pointer_cast<SharedSession>(UnwrapShareable(shared));
  if (given == nullptr) return env.Undefined();
  Napi::Object object =
      MakeOnnxSession(env, onnx, given->session, given->max_queue);
  object.Set("path", given->path);
  return object;
}

}  // namespace aspired::binding
