// The exports of the engine: `exports.onnx`.
#ifndef ASPIRED_BINDING_ONNX_REGISTER_H_
#define ASPIRED_BINDING_ONNX_REGISTER_H_

#include "binding/napi_setup.h"

namespace aspired::binding {

// onnx: {
//   attach(callbacks): an engine with loads and runs of its own, {
//     load(id, request, executor), the end comes as onLoad(id, session,
//     failure) cancelLoad(id), flush(), cancelRun(id), reserve(words),
//     adoptSession(shared), see AdoptOnnxSession()
//   }
//   setNumInferenceThreads(n), inferenceStats(),
//   shutdown(waitMs)             of the process; true when all has ended
// }
// A module that is evaluated twice in one environment (test runners do that)
// attaches twice.
void RegisterOnnx(Napi::Env env, Napi::Object exports);

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_ONNX_REGISTER_H_
