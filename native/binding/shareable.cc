#include "binding/shareable.h"

#include <utility>

namespace aspired::binding {
namespace {

// Tells our externals from those of others.
constexpr napi_type_tag kShareableTag = {0x1b7e93d5c04f4a26,
                                         0x93d84e6b21f7a05c};

using Holder = std::shared_ptr<Shareable>;

}  // namespace

Napi::Value WrapShareable(Napi::Env env, std::shared_ptr<Shareable> shareable) {
  auto external = Napi::External<Holder>::New(
      env, new Holder(std::move(shareable)),
      [](Napi::BasicEnv, Holder* holder) { delete holder; });
  external.TypeTag(&kShareableTag);
  return external;
}

std::shared_ptr<Shareable> UnwrapShareable(Napi::Value value) {
  if (!value.IsExternal()) return nullptr;
  const auto external = value.As<Napi::External<Holder>>();
  if (!external.CheckTypeTag(&kShareableTag)) return nullptr;
  return *external.Data();
}

}  // namespace aspired::binding
