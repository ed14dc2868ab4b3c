#include "binding/convert.h"

#include <chrono>
#include <utility>

#include "policy/availability_preserving_policy.h"
#include "policy/resource_preserving_policy.h"

namespace aspired::binding {
namespace {

Napi::Value Number(Napi::Env env, double value) {
  return Napi::Number::New(env, value);
}
Napi::Value Text(Napi::Env env, std::string_view text) {
  return Napi::String::New(env, text.data(), text.size());
}
Napi::Value State(Napi::Env env, ManagerState state) {
  return Number(env, static_cast<double>(state));
}

template <size_t N>
Napi::Array Tuple(Napi::Env env, const Napi::Value (&values)[N]) {
  Napi::Array array = Napi::Array::New(env, N);
  for (uint32_t i = 0; i < N; ++i) array.Set(i, values[i]);
  return array;
}

// getNextAction(policy, versions, states, aspired) ->
//   ["load" | "unload", index] | undefined
Napi::Value GetNextAction(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const AspiredVersionPolicy* policy = PolicyFromJs(info[0]);
  const auto versions = info[1].As<Napi::Array>();
  const auto states = info[2].As<Napi::Array>();
  const auto aspired = info[3].As<Napi::Array>();
  std::vector<AspiredServableStateSnapshot> snapshots(versions.Length());
  for (uint32_t i = 0; i < snapshots.size(); ++i) {
    snapshots[i].version = VersionFrom(versions[i]);
    snapshots[i].state = static_cast<HarnessState>(
        states.Get(i).As<Napi::Number>().Uint32Value());
    snapshots[i].is_aspired = aspired.Get(i).As<Napi::Boolean>();
  }
  const auto action = policy->GetNextAction(snapshots);
  if (!action) return env.Undefined();
  const bool load = action->kind == PolicyAction::Kind::kLoad;
  return Tuple(env, {Text(env, load ? "load" : "unload"),
                     Number(env, static_cast<double>(action->version))});
}

}  // namespace

Napi::Value ToJs(Napi::Env env, const Status& status) {
  if (status.ok()) return env.Undefined();
  Napi::Object object = Napi::Object::New(env);
  object.Set("code", Text(env, ErrorCodeName(status.code())));
  object.Set("message", Text(env, status.message()));
  object.Set("cause", Number(env, static_cast<double>(status.cause())));
  return object;
}

Napi::Value ToJs(Napi::Env env, const ServableState& s) {
  return Tuple(env, {Number(env, static_cast<double>(s.id.version)),
                     State(env, s.manager_state), ToJs(env, s.health),
                     Number(env, static_cast<double>(s.incarnation)),
                     Number(env, s.at), Text(env, s.id.name)});
}

Napi::Value ToJs(Napi::Env env, const TransitionResult& result) {
  Napi::Array versions = Napi::Array::New(env, result.versions.size());
  for (uint32_t i = 0; i < result.versions.size(); ++i) {
    const auto& v = result.versions[i];
    versions.Set(i,
                 Tuple(env, {Number(env, static_cast<double>(v.version)),
                             State(env, v.manager_state), ToJs(env, v.error)}));
  }
  return Tuple(env, {Text(env, result.name),
                     Napi::Boolean::New(env, result.superseded), versions});
}

Napi::Value ToJs(Napi::Env env, const ServableVersionState& s) {
  const Napi::Value retry =
      s.retry_in_ms ? Number(env, *s.retry_in_ms) : env.Undefined();
  return Tuple(
      env,
      {Number(env, static_cast<double>(s.version)),
       Number(env, static_cast<double>(s.state)),
       Napi::Boolean::New(env, s.aspired), ToJs(env, s.error),
       Number(env, s.attempts), Number(env, static_cast<double>(s.incarnation)),
       retry, Napi::Boolean::New(env, s.degraded),
       Napi::Boolean::New(env, s.standby), Napi::Boolean::New(env, s.baking),
       Napi::Boolean::New(env, s.bad),
       s.waiting.empty() ? env.Undefined() : Text(env, s.waiting)});
}

Napi::Value ToJs(Napi::Env env, const ServableAction& action) {
  const bool load = action.kind == PolicyAction::Kind::kLoad;
  return Tuple(env,
               {Text(env, load ? "load" : "unload"), Text(env, action.id.name),
                Number(env, static_cast<double>(action.id.version))});
}

Napi::Value ToJs(Napi::Env env, const ServableId& id) {
  return Tuple(
      env, {Text(env, id.name), Number(env, static_cast<double>(id.version))});
}

Status StatusFromJs(const Napi::CallbackInfo& info, size_t first) {
  if (!info[first].IsString()) return Status::Ok();
  const ErrorCode code = ErrorCodeFromName(StringFrom(info[first]));
  const double cause = info[first + 2].As<Napi::Number>().DoubleValue();
  return Status(code == ErrorCode::kNone ? ErrorCode::kInternal : code,
                StringFrom(info[first + 1]), static_cast<uint64_t>(cause));
}

OnInsufficientMemory OnInsufficientFromJs(const Napi::Value& frees_own) {
  return frees_own.As<Napi::Boolean>()
             ? OnInsufficientMemory::kResourcePreserving
             : OnInsufficientMemory::kWait;
}

StandbyOptions StandbyFromJs(const Napi::Value& pair) {
  const auto array = pair.As<Napi::Array>();
  return {array.Get(0u).As<Napi::Number>().Int32Value(),
          std::chrono::milliseconds(VersionFrom(array.Get(1u)))};
}

StreamIntent IntentFromJs(const Napi::Value& value) {
  StreamIntent intent;
  if (!value.IsObject()) return intent;
  const auto object = value.As<Napi::Object>();
  const Napi::Value policy = object.Get("policy");
  if (policy.IsNumber()) intent.policy = PolicyFromJs(policy);
  const Napi::Value labels = object.Get("labels");
  if (labels.IsArray()) {
    const auto array = labels.As<Napi::Array>();
    intent.labels.emplace();
    for (uint32_t i = 0; i < array.Length(); ++i) {
      const auto pair = array.Get(i).As<Napi::Array>();
      intent.labels->emplace(StringFrom(pair.Get(0u)),
                             VersionFrom(pair.Get(1u)));
    }
  }
  const Napi::Value primary = object.Get("primary");
  if (primary.IsNumber()) intent.primary.emplace(VersionFrom(primary));
  if (primary.IsNull()) intent.primary.emplace(std::nullopt);
  const Napi::Value priority = object.Get("priority");
  if (priority.IsNumber()) {
    intent.priority = priority.As<Napi::Number>().Int32Value();
  }
  const Napi::Value frees = object.Get("freesOwn");
  if (frees.IsBoolean()) {
    intent.on_insufficient_memory = OnInsufficientFromJs(frees);
  }
  const Napi::Value standby = object.Get("standby");
  if (standby.IsArray()) intent.standby = StandbyFromJs(standby);
  const Napi::Value bake = object.Get("bake");
  if (bake.IsBoolean()) intent.bake = bake.As<Napi::Boolean>();
  return intent;
}

std::vector<ServableAction> ActionsFromJs(const Napi::Array& array) {
  std::vector<ServableAction> actions;
  actions.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const auto tuple = array.Get(i).As<Napi::Array>();
    const bool load = StringFrom(tuple.Get(0u)) == "load";
    actions.push_back(
        {load ? PolicyAction::Kind::kLoad : PolicyAction::Kind::kUnload,
         {StringFrom(tuple.Get(1u)), VersionFrom(tuple.Get(2u))}});
  }
  return actions;
}

const AspiredVersionPolicy* PolicyFromJs(const Napi::Value& value) {
  // Policies have no state and a trivial destructor's worth of it, so one of
  // each serves every environment and is never destroyed.
  static const auto* const availability = new AvailabilityPreservingPolicy();
  static const auto* const resource = new ResourcePreservingPolicy();
  switch (value.As<Napi::Number>().Uint32Value()) {
    case 0:
      return availability;
    case 1:
      return resource;
    default:
      return nullptr;
  }
}

void RegisterPolicies(Napi::Env env, Napi::Object exports) {
  Napi::Array harness_states = Napi::Array::New(env, kNumHarnessStates);
  Napi::Array manager_state_of = Napi::Array::New(env, kNumHarnessStates);
  for (uint32_t i = 0; i < kNumHarnessStates; ++i) {
    const HarnessStateRow& row = RowOf(static_cast<HarnessState>(i));
    harness_states.Set(i, Text(env, row.name));
    manager_state_of.Set(i, Text(env, Name(row.manager_state)));
  }
  Napi::Array manager_states = Napi::Array::New(env, 5);
  for (uint32_t i = 0; i < 5; ++i) {
    manager_states.Set(i, Text(env, Name(static_cast<ManagerState>(i))));
  }
  exports.Set("harnessStates", harness_states);
  exports.Set("managerStateOf", manager_state_of);
  exports.Set("managerStates", manager_states);
  exports.Set("getNextAction",
              Napi::Function::New(env, GetNextAction, "getNextAction"));
}

}  // namespace aspired::binding
