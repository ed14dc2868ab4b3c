#include "binding/manager_wrap.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "binding/attach_tokens.h"
#include "binding/attachment_wrap.h"
#include "binding/convert.h"
#include "binding/executor_external.h"
#include "binding/manager_options.h"

namespace aspired::binding {
namespace {

// The event loop of the manager never blocks for long; an inline load may.
constexpr std::chrono::milliseconds kTerminateWait{200};

// Flags of an aspired version; the numbers are those of lib/native/binding.ts.
constexpr uint32_t kEstimates = 1;
constexpr uint32_t kReplace = 2;
constexpr uint32_t kSameLoader = 4;

std::shared_ptr<ReaderGroup> MakeGroup(const std::shared_ptr<JsLink>& link) {
  auto group = std::make_shared<ReaderGroup>(ReaderGroup::Options{
      std::make_shared<JsReaders>(link),
      // Every loader of a manager that JavaScript made is a JsLoader.
      [](Loader& loader) -> std::pair<uint64_t, std::shared_ptr<void>> {
        const auto& js = static_cast<const JsLoader&>(loader);
        return {js.token(), js.shared()};
      },
      AddCounted});
  link->set_on_unload([weak = std::weak_ptr(group)](uint64_t token) {
    if (const auto shared = weak.lock()) shared->Gone(token);
  });
  return group;
}

}  // namespace

void ManagerWrap::Register(Napi::Env env, Napi::Object exports) {
  using W = ManagerWrap;
  exports.Set(
      "NativeManager",
      DefineClass(
          env, "NativeManager",
          {
              InstanceMethod<&W::SetAspiredVersions>("setAspiredVersions"),
              InstanceMethod<&W::SetIntent>("setIntent"),
              InstanceMethod<&W::GetIntent>("getIntent"),
              InstanceMethod<&W::GetVersionStates>("getVersionStates"),
              InstanceMethod<&W::GetServableNames>("getServableNames"),
              InstanceMethod<&W::GetEventLog>("getEventLog"),
              InstanceMethod<&W::GetPolicySnapshots>("getPolicySnapshots"),
              InstanceMethod<&W::CollectActions>("collectActions"),
              InstanceMethod<&W::PerformActions>("performActions"),
              InstanceMethod<&W::Wait>("wait"),
              InstanceMethod<&W::CancelWait>("cancelWait"),
              InstanceMethod<&W::Close>("close"),
              InstanceMethod<&W::GetStats>("getStats"),
              InstanceMethod<&W::GetNextDue>("getNextDue"),
              InstanceMethod<&W::GetLoadThreads>("getLoadThreads"),
              InstanceMethod<&W::GetUnloadThreads>("getUnloadThreads"),
              InstanceMethod<&W::GetResources>("getResources"),
              InstanceMethod<&W::ExportFootprints>("exportFootprints"),
              InstanceMethod<&W::ImportFootprints>("importFootprints"),
              InstanceMethod<&W::ClearFootprints>("clearFootprints"),
              InstanceMethod<&W::SetLimits>("setLimits"),
              InstanceMethod<&W::FinishBake>("finishBake"),
              InstanceMethod<&W::EstimateDone>("estimateDone"),
              InstanceMethod<&W::LoadDone>("loadDone"),
              InstanceMethod<&W::LoadOver>("loadOver"),
              InstanceMethod<&W::UnloadDone>("unloadDone"),
              InstanceMethod<&W::Drained>("drained"),
              InstanceMethod<&W::SetNumLoadThreads>("setNumLoadThreads"),
              InstanceMethod<&W::SetNumUnloadThreads>("setNumUnloadThreads"),
              InstanceMethod<&W::Subscribe>("subscribe"),
              InstanceMethod<&W::Share>("share"),
              InstanceMethod<&W::GetNumAttached>("getNumAttached"),
              InstanceMethod<&W::GetCounters>("getCounters"),
              InstanceMethod<&W::Step>("step"),
              InstanceMethod<&W::Join>("join"),
              InstanceMethod<&W::Ref>("ref"),
              InstanceMethod<&W::Unref>("unref"),
          }));
}

ManagerWrap::ManagerWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ManagerWrap>(info), env_data_(EnvData::Of(info.Env())) {
  link_ =
      std::make_shared<JsLink>(env_data_.queue(), info[1].As<Napi::Function>());
  group_ = MakeGroup(link_);
  manager_ = AspiredVersionsManager::Create(
      OptionsFromJs(info[0].As<Napi::Object>(), link_, group_));
  const std::weak_ptr weak = manager_;
  group_->set_drained([weak](const ServableId& id, uint64_t epoch) {
    if (const auto manager = weak.lock()) manager->Drained(id, epoch);
  });
  group_->set_catch_up([weak](std::function<void()> late) {
    const auto manager = weak.lock();
    return manager == nullptr || manager->CatchUpReaders(std::move(late));
  });
  teardown_ = env_data_.AddTeardown([this] {
    teardown_.reset();
    Terminate(kTerminateWait);
  });
}

ManagerWrap::~ManagerWrap() {
  Terminate(kTerminateWait);
  if (teardown_) env_data_.RemoveTeardown(*teardown_);
}

void ManagerWrap::Terminate(Duration wait) {
  if (manager_ == nullptr) return;
  events_.reset();
  ShutGroup();
  manager_->Terminate(wait);
  link_->Cut();
  manager_.reset();
}

void ManagerWrap::ShutGroup() {
  if (!attach_token_.empty()) {
    AttachTokens::Instance().Withdraw(attach_token_);
  }
  group_->Shut();
}

// (token): from now on other environments may attach.
void ManagerWrap::Share(const Napi::CallbackInfo& info) {
  attach_token_ = StringFrom(info[0]);
  group_->StartSharing();
  manager_->ShareReaders();
  AttachTokens::Instance().Publish(attach_token_, group_);
}

// (token) -> [[Float64Array, isAttached], ...]: copies
Napi::Value ManagerWrap::GetCounters(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto all =
      group_->CountersOf(static_cast<uint64_t>(VersionFrom(info[0])));
  Napi::Array out = Napi::Array::New(env, all.size());
  for (uint32_t i = 0; i < all.size(); ++i) {
    const auto& [words, is_attached] = all[i];
    auto copy = Napi::Float64Array::New(env, words.size());
    std::copy(words.begin(), words.end(), copy.Data());
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0u, copy);
    pair.Set(1u, is_attached);
    out.Set(i, pair);
  }
  return out;
}

// (name, versions, tokens, flags, errors | undefined, intent | undefined) ->
//   transition | status
Napi::Value ManagerWrap::SetAspiredVersions(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto versions = info[1].As<Napi::Array>();
  const auto tokens = info[2].As<Napi::Array>();
  const auto flags = info[3].As<Napi::Array>();
  std::vector<AspiredVersion> list(versions.Length());
  for (uint32_t i = 0; i < list.size(); ++i) {
    const auto token = static_cast<uint64_t>(VersionFrom(tokens[i]));
    list[i].version = VersionFrom(versions[i]);
    const uint32_t flag = flags.Get(i).As<Napi::Number>().Uint32Value();
    list[i].loader =
        std::make_unique<JsLoader>(link_, token, (flag & kEstimates) != 0);
    list[i].replace = (flag & kReplace) != 0;
    list[i].same_loader = (flag & kSameLoader) != 0;
    if (!info[4].IsArray()) continue;
    const Napi::Value message = info[4].As<Napi::Array>().Get(i);
    if (message.IsString()) {
      list[i].error =
          Status(ErrorCode::kSourceError, StringFrom(message), token);
    }
  }
  const double transition = next_transition_++;
  const Status status = manager_->SetAspiredVersions(
      StringFrom(info[0]), std::move(list), IntentFromJs(info[5]),
      [link = link_, transition](const TransitionResult& result) {
        link->Post(Message::kSettled, transition,
                   [result](Napi::Env e) { return ToJs(e, result); });
      });
  return status.ok() ? Napi::Number::New(env, transition) : ToJs(env, status);
}

Napi::Value ManagerWrap::SetIntent(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(),
              manager_->SetIntent(StringFrom(info[0]), IntentFromJs(info[1])));
}

// (name) -> {labels: [[label, version], ...], primary: number | null}
Napi::Value ManagerWrap::GetIntent(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const StreamIntent intent = manager_->GetIntent(StringFrom(info[0]));
  Napi::Array labels = Napi::Array::New(env);
  if (intent.labels) {
    for (const auto& [label, version] : *intent.labels) {
      labels.Set(labels.Length(), ToJs(env, ServableId{label, version}));
    }
  }
  Napi::Object out = Napi::Object::New(env);
  out.Set("labels", labels);
  const auto primary = intent.primary.value_or(std::nullopt);
  out.Set("primary", primary ? Napi::Value(Napi::Number::New(
                                   env, static_cast<double>(*primary)))
                             : env.Null());
  return out;
}

Napi::Value ManagerWrap::GetVersionStates(const Napi::CallbackInfo& info) {
  return ToJsArray(info.Env(), manager_->GetVersionStates(StringFrom(info[0])));
}

Napi::Value ManagerWrap::GetServableNames(const Napi::CallbackInfo& info) {
  const auto names = manager_->GetServableNames();
  Napi::Array array = Napi::Array::New(info.Env(), names.size());
  for (uint32_t i = 0; i < names.size(); ++i) array.Set(i, names[i]);
  return array;
}

Napi::Value ManagerWrap::GetEventLog(const Napi::CallbackInfo& info) {
  return ToJsArray(info.Env(), manager_->monitor().GetBoundedLog());
}

// (name) -> [[version, state, aspired], ...]
Napi::Value ManagerWrap::GetPolicySnapshots(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto snapshots = manager_->GetPolicySnapshots(StringFrom(info[0]));
  Napi::Array array = Napi::Array::New(env, snapshots.size());
  for (uint32_t i = 0; i < snapshots.size(); ++i) {
    const auto& s = snapshots[i];
    Napi::Array row = Napi::Array::New(env, 3);
    row.Set(0u, static_cast<double>(s.version));
    row.Set(1u, static_cast<double>(s.state));
    row.Set(2u, s.is_aspired);
    array.Set(i, row);
  }
  return array;
}

Napi::Value ManagerWrap::CollectActions(const Napi::CallbackInfo& info) {
  return ToJsArray(info.Env(), manager_->CollectActions(StringFrom(info[0])));
}

Napi::Value ManagerWrap::PerformActions(const Napi::CallbackInfo& info) {
  return ToJsArray(info.Env(), manager_->PerformActions(
                                   ActionsFromJs(info[0].As<Napi::Array>())));
}

// ([[name, version | undefined], ...], goal) -> wait
Napi::Value ManagerWrap::Wait(const Napi::CallbackInfo& info) {
  const auto array = info[0].As<Napi::Array>();
  std::vector<ServableStateMonitor::Request> requests(array.Length());
  for (uint32_t i = 0; i < requests.size(); ++i) {
    const auto pair = array.Get(i).As<Napi::Array>();
    requests[i].name = StringFrom(pair.Get(0u));
    const Napi::Value version = pair.Get(1u);
    if (version.IsNumber()) requests[i].version = VersionFrom(version);
  }
  const auto goal =
      static_cast<ManagerState>(info[1].As<Napi::Number>().Uint32Value());
  const double wait = info[2].As<Napi::Number>().DoubleValue();
  const auto id = manager_->monitor().NotifyWhenServablesReachState(
      std::move(requests), goal,
      [link = link_, wait](ServableStateMonitor::WaitOutcome outcome,
                           std::vector<ServableState> states) {
        link->Post(Message::kWaitDone, wait,
                   [outcome, states = std::move(states)](Napi::Env env) {
                     Napi::Array pair = Napi::Array::New(env, 2);
                     pair.Set(0u, static_cast<double>(outcome));
                     pair.Set(1u, ToJsArray(env, states));
                     return Napi::Value(pair);
                   });
      });
  return Napi::Number::New(info.Env(), static_cast<double>(id));
}

void ManagerWrap::CancelWait(const Napi::CallbackInfo& info) {
  if (manager_ == nullptr) return;
  manager_->monitor().CancelWait(static_cast<uint64_t>(VersionFrom(info[0])));
}

// (drainTimeoutMs) -> status
Napi::Value ManagerWrap::Close(const Napi::CallbackInfo& info) {
  const std::chrono::milliseconds timeout(VersionFrom(info[0]));
  ShutGroup();
  const Status status = manager_->Close(
      timeout, [link = link_](std::vector<ServableId> abandoned) {
        link->Post(Message::kClosed,
                   [abandoned = std::move(abandoned)](Napi::Env env) {
                     return Napi::Value(ToJsArray(env, abandoned));
                   });
      });
  return ToJs(info.Env(), status);
}

// -> [managed, [threads, queued, running, completed], [the same of unloads]]
Napi::Value ManagerWrap::GetStats(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto threads = [env](const WorkThreads& work) {
    const ThreadPoolStats stats = work.stats();
    Napi::Array row = Napi::Array::New(env, 4);
    row.Set(0u, static_cast<double>(stats.num_threads));
    row.Set(1u, static_cast<double>(stats.queued));
    row.Set(2u, static_cast<double>(stats.running));
    row.Set(3u, static_cast<double>(stats.completed));
    return row;
  };
  Napi::Array out = Napi::Array::New(env, 3);
  out.Set(0u, static_cast<double>(manager_->basic().num_managed()));
  out.Set(1u, threads(*manager_->basic().load_threads()));
  out.Set(2u, threads(*manager_->basic().unload_threads()));
  return out;
}

// -> milliseconds from now, or undefined
Napi::Value ManagerWrap::GetNextDue(const Napi::CallbackInfo& info) {
  const auto due = manager_->NextDue();
  if (!due) return info.Env().Undefined();
  return Napi::Number::New(info.Env(),
                           std::chrono::duration<double, std::milli>(
                               *due - std::chrono::steady_clock::now())
                               .count());
}

Napi::Value ManagerWrap::GetLoadThreads(const Napi::CallbackInfo& info) {
  return WrapExecutor(info.Env(), manager_->basic().load_threads());
}

Napi::Value ManagerWrap::GetUnloadThreads(const Napi::CallbackInfo& info) {
  return WrapExecutor(info.Env(), manager_->basic().unload_threads());
}

// (token, code | undefined, message, cause, retriable, shared | undefined,
//  givenUp | undefined)
void ManagerWrap::LoadDone(const Napi::CallbackInfo& info) {
  link_->LoadDone(
      static_cast<uint64_t>(VersionFrom(info[0])),
      {StatusFromJs(info, 1), info[4].ToBoolean()}, UnwrapShareable(info[5]),
      info[6].IsNumber() ? static_cast<uint64_t>(VersionFrom(info[6])) : 0);
}

// (token, code | undefined, message, cause)
void ManagerWrap::UnloadDone(const Napi::CallbackInfo& info) {
  link_->UnloadDone(static_cast<uint64_t>(VersionFrom(info[0])),
                    StatusFromJs(info, 1));
}

// (name, version, epoch)
void ManagerWrap::Drained(const Napi::CallbackInfo& info) {
  if (manager_ == nullptr) return;
  group_->OwnerDrained({StringFrom(info[0]), VersionFrom(info[1])},
                       static_cast<uint64_t>(VersionFrom(info[2])));
}

void ManagerWrap::SetNumLoadThreads(const Napi::CallbackInfo& info) {
  manager_->SetNumLoadThreads(info[0].As<Napi::Number>().Int32Value());
}

void ManagerWrap::SetNumUnloadThreads(const Napi::CallbackInfo& info) {
  manager_->SetNumUnloadThreads(info[0].As<Napi::Number>().Int32Value());
}

// (on): events cross into JavaScript only while somebody listens.
void ManagerWrap::Subscribe(const Napi::CallbackInfo& info) {
  if (manager_ == nullptr) return;
  if (!info[0].ToBoolean()) {
    events_.reset();
  } else if (events_ == nullptr) {
    events_ =
        manager_->bus()->Subscribe([link = link_](const ServableState& state) {
          link->Post(Message::kEvent,
                     [state](Napi::Env env) { return ToJs(env, state); });
        });
  }
}

// One round, and what it has to tell, before it returns.
void ManagerWrap::Step(const Napi::CallbackInfo& info) {
  if (manager_ == nullptr) return;
  manager_->Step();
  env_data_.queue()->Drain(info.Env());
}

// After kClosed: joins the loop and lets go of everything.
void ManagerWrap::Join(const Napi::CallbackInfo&) {
  if (manager_ == nullptr) return;
  events_.reset();
  manager_->Join();
  link_->Cut();
  manager_.reset();
}

void ManagerWrap::Ref(const Napi::CallbackInfo& info) {
  env_data_.queue()->Ref(info.Env());
}

void ManagerWrap::Unref(const Napi::CallbackInfo& info) {
  env_data_.queue()->Unref(info.Env());
}

}  // namespace aspired::binding
