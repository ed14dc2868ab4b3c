// Values of the core to and from JavaScript. No decisions.
//
// JavaScript thread only.
#ifndef ASPIRED_BINDING_CONVERT_H_
#define ASPIRED_BINDING_CONVERT_H_

#include <string>
#include <vector>

#include "binding/napi_setup.h"
#include "core/aspired_versions_manager.h"
#include "core/servable_state.h"
#include "core/status.h"

namespace aspired::binding {

// {code, message, cause} or undefined when OK.
Napi::Value ToJs(Napi::Env env, const Status& status);
// [version, managerState, status, incarnation, at, name]
Napi::Value ToJs(Napi::Env env, const ServableState& state);
// [name, superseded, [[version, managerState, status], ...]]
Napi::Value ToJs(Napi::Env env, const TransitionResult& result);
// [version, state, aspired, status, attempts, incarnation, retryInMs, degraded,
//  standby, baking, bad, waiting]
Napi::Value ToJs(Napi::Env env, const ServableVersionState& state);
// ["load" | "unload", name, version]
Napi::Value ToJs(Napi::Env env, const ServableAction& action);
// [name, version]
Napi::Value ToJs(Napi::Env env, const ServableId& id);

template <typename T>
Napi::Array ToJsArray(Napi::Env env, const std::vector<T>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); ++i) {
    array.Set(i, ToJs(env, values[i]));
  }
  return array;
}

// From (code, message, cause) as the three arguments at `first`; OK when the
// code is undefined. An unknown code becomes ERR_INTERNAL.
Status StatusFromJs(const Napi::CallbackInfo& info, size_t first);
OnInsufficientMemory OnInsufficientFromJs(const Napi::Value& frees_own);
// From [versions, milliseconds].
StandbyOptions StandbyFromJs(const Napi::Value& pair);
// From {policy, labels: [[label, version], ...], primary, priority, freesOwn,
// standby, bake}; see lib/native.
StreamIntent IntentFromJs(const Napi::Value& value);
std::vector<ServableAction> ActionsFromJs(const Napi::Array& array);

inline std::string StringFrom(const Napi::Value& value) {
  return value.As<Napi::String>().Utf8Value();
}
inline int64_t VersionFrom(const Napi::Value& value) {
  return value.As<Napi::Number>().Int64Value();
}

// The built-in policies, by the number that lib/native gives them; null for
// "decided in JavaScript".
const AspiredVersionPolicy* PolicyFromJs(const Napi::Value& value);

// Adds harnessStates, managerStates (names by number), and
// getNextAction(policy, versions, states, aspired).
void RegisterPolicies(Napi::Env env, Napi::Object exports);

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_CONVERT_H_
