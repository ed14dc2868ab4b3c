// Tensors between JavaScript and the engine, apart from the exchange.
#ifndef ASPIRED_BINDING_ONNX_TENSOR_H_
#define ASPIRED_BINDING_ONNX_TENSOR_H_

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "binding/napi_setup.h"
#include "core/status.h"
#include "engine/model_loader.h"
#include "engine/value_info.h"

namespace aspired::binding {

// Memory of a typed array or DataView, as it is now. kInvalidInput for any
// other value.
Status ReadTypedArray(napi_env env, napi_value value, const void** data,
                      size_t* byte_length);

// kInvalidInput unless the value is an array of strings.
Status ReadStrings(napi_env env, napi_value value,
                   std::vector<std::string>* out);

// Feeds given as { names, types, dims, data }, four arrays of one length; the
// data is copied. REQUIRES: TypeScript made it.
Status ReadOwnedFeeds(Napi::Object feeds, OwnedFeeds* out);

Napi::Value MakeStrings(Napi::Env env, std::span<const std::string> strings);
Napi::Value MakeArrayBuffer(Napi::Env env, const void* data,
                            size_t byte_length);

// [{ name, isTensor, type, dims }]; a free size is its symbol, or -1.
Napi::Array MakeValueInfos(Napi::Env env, std::span<const ValueInfo> infos);

// { code, message }: an error on its way to TypeScript, which makes the
// AspiredError. Never thrown from here, so that its stack is the caller's.
Napi::Value MakeFailure(Napi::Env env, const Status& status);

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_ONNX_TENSOR_H_
