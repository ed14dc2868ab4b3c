// A native executor as an opaque JavaScript value, so that one part of the
// addon can hand its threads to another through TypeScript: a manager puts its
// load threads into the context of Loader.load(), and the engine takes them.
#ifndef ASPIRED_BINDING_EXECUTOR_EXTERNAL_H_
#define ASPIRED_BINDING_EXECUTOR_EXTERNAL_H_

#include <memory>

#include "binding/napi_setup.h"
#include "concurrency/executor.h"

namespace aspired::binding {

// The value shares the ownership of the executor until it is collected.
// REQUIRES: executor != nullptr.
Napi::Value WrapExecutor(Napi::Env env, std::shared_ptr<Executor> executor);

// Null when the value did not come from WrapExecutor().
std::shared_ptr<Executor> UnwrapExecutor(Napi::Value value);

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_EXECUTOR_EXTERNAL_H_
