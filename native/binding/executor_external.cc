#include "binding/executor_external.h"

#include <utility>

namespace aspired::binding {
namespace {

// Tells our externals from those of others.
constexpr napi_type_tag kExecutorTag = {0x6f1d2c9a41be4e07, 0xa8c3572f90d6e1b4};

using Holder = std::shared_ptr<Executor>;

}  // namespace

Napi::Value WrapExecutor(Napi::Env env, std::shared_ptr<Executor> executor) {
  auto external = Napi::External<Holder>::New(
      env, new Holder(std::move(executor)),
      [](Napi::BasicEnv, Holder* holder) { delete holder; });
  external.TypeTag(&kExecutorTag);
  return external;
}

std::shared_ptr<Executor> UnwrapExecutor(Napi::Value value) {
  if (!value.IsExternal()) return nullptr;
  const auto external = value.As<Napi::External<Holder>>();
  if (!external.CheckTypeTag(&kExecutorTag)) return nullptr;
  return *external.Data();
}

}  // namespace aspired::binding
