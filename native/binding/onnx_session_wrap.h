// A loaded model as JavaScript sees it: an object of functions.
//
// The functions carry the session as their own data, so a call needs no unwrap
// and cannot be made on a wrong object. The model lives until unload(), or, if
// that never comes, until the functions are collected.
#ifndef ASPIRED_BINDING_ONNX_SESSION_WRAP_H_
#define ASPIRED_BINDING_ONNX_SESSION_WRAP_H_

#include <cstdint>
#include <memory>

#include "binding/napi_setup.h"
#include "binding/onnx_env.h"
#include "engine/onnx_session.h"

namespace aspired::binding {

// {
//   inputs, outputs,           see MakeValueInfos()
//   runSync(...args),          undefined, an array, or a failure; see the
//                              exchange for what goes in and comes out
//   submit(id, ...args),       undefined or a failure
//   checkNames(names),         undefined or a failure
//   unknownOutput(name),       a failure
//   unload(id, executor),      the end comes as onUnload(id)
//   share(path)                a shareable value, see AdoptOnnxSession()
// }
Napi::Object MakeOnnxSession(Napi::Env env, OnnxEnv* onnx,
                             std::shared_ptr<OnnxSession> session,
                             uint32_t max_queue);

// The same over a session that another environment loaded, with `path` beside
// the functions; undefined for a value that share() did not make. The bound of
// runs that wait or are on is one for all environments.
Napi::Value AdoptOnnxSession(Napi::Env env, OnnxEnv* onnx, Napi::Value shared);

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_ONNX_SESSION_WRAP_H_
