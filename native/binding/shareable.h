// Shareable: what a servable gives away so that another thread of the process
// can make its own JavaScript object over the same native thing; as an opaque
// JavaScript value, so that one part of the addon hands it to another through
// TypeScript.
#ifndef ASPIRED_BINDING_SHAREABLE_H_
#define ASPIRED_BINDING_SHAREABLE_H_

#include <memory>

#include "binding/napi_setup.h"

namespace aspired::binding {

// Holds no JavaScript value. May be destroyed on any thread.
class Shareable {
 public:
  virtual ~Shareable() = default;
};

// The value shares the ownership until it is collected.
// REQUIRES: shareable != nullptr.
Napi::Value WrapShareable(Napi::Env env, std::shared_ptr<Shareable> shareable);

// Null when the value did not come from WrapShareable().
std::shared_ptr<Shareable> UnwrapShareable(Napi::Value value);

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_SHAREABLE_H_
