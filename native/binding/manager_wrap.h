// NativeManager: the JavaScript class over AspiredVersionsManager. Its methods
// are described where they are used, in lib/native/binding.ts.
//
// Lifetime: the wrapper terminates its manager in the environment's teardown,
// and when it is collected; an orderly end is close().
//
// JavaScript thread only.
#ifndef ASPIRED_BINDING_MANAGER_WRAP_H_
#define ASPIRED_BINDING_MANAGER_WRAP_H_

#include <memory>
#include <optional>
#include <string>

#include "binding/env_data.h"
#include "binding/js_link.h"
#include "binding/napi_setup.h"
#include "core/aspired_versions_manager.h"
#include "core/reader_group.h"

namespace aspired::binding {

class ManagerWrap final : public Napi::ObjectWrap<ManagerWrap> {
 public:
  static void Register(Napi::Env env, Napi::Object exports);

  // (options, dispatch)
  explicit ManagerWrap(const Napi::CallbackInfo& info);
  ~ManagerWrap() override;

 private:
  Napi::Value SetAspiredVersions(const Napi::CallbackInfo& info);
  Napi::Value SetIntent(const Napi::CallbackInfo& info);
  Napi::Value GetIntent(const Napi::CallbackInfo& info);
  Napi::Value GetVersionStates(const Napi::CallbackInfo& info);
  Napi::Value GetServableNames(const Napi::CallbackInfo& info);
  Napi::Value GetEventLog(const Napi::CallbackInfo& info);
  Napi::Value GetPolicySnapshots(const Napi::CallbackInfo& info);
  Napi::Value CollectActions(const Napi::CallbackInfo& info);
  Napi::Value PerformActions(const Napi::CallbackInfo& info);
  Napi::Value Wait(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value GetStats(const Napi::CallbackInfo& info);
  Napi::Value GetNextDue(const Napi::CallbackInfo& info);
  Napi::Value GetLoadThreads(const Napi::CallbackInfo& info);
  Napi::Value GetUnloadThreads(const Napi::CallbackInfo& info);
  Napi::Value GetResources(const Napi::CallbackInfo& info);
  Napi::Value ExportFootprints(const Napi::CallbackInfo& info);
  Napi::Value FinishBake(const Napi::CallbackInfo& info);
  void ImportFootprints(const Napi::CallbackInfo& info);
  void ClearFootprints(const Napi::CallbackInfo& info);
  void SetLimits(const Napi::CallbackInfo& info);
  void EstimateDone(const Napi::CallbackInfo& info);
  void CancelWait(const Napi::CallbackInfo& info);
  void LoadDone(const Napi::CallbackInfo& info);
  void LoadOver(const Napi::CallbackInfo& info);
  void UnloadDone(const Napi::CallbackInfo& info);
  void Drained(const Napi::CallbackInfo& info);
  void SetNumLoadThreads(const Napi::CallbackInfo& info);
  void SetNumUnloadThreads(const Napi::CallbackInfo& info);
  void Subscribe(const Napi::CallbackInfo& info);
  void Share(const Napi::CallbackInfo& info);
  Napi::Value GetNumAttached(const Napi::CallbackInfo& info);
  Napi::Value GetCounters(const Napi::CallbackInfo& info);
  void Step(const Napi::CallbackInfo& info);
  void Join(const Napi::CallbackInfo& info);
  void Ref(const Napi::CallbackInfo& info);
  void Unref(const Napi::CallbackInfo& info);

  void Terminate(Duration wait);
  // Nobody attaches any more, and who is attached knows.
  void ShutGroup();

  EnvData& env_data_;
  std::shared_ptr<JsLink> link_;
  // The registry of this environment and of those that attached.
  std::shared_ptr<ReaderGroup> group_;
  std::string attach_token_;  // empty: never shared
  std::shared_ptr<AspiredVersionsManager> manager_;
  // In the order of destruction: no event is posted to a manager that is gone.
  std::unique_ptr<ServableEventBus::Subscription> events_;
  std::optional<EnvData::TeardownToken> teardown_;
  double next_transition_ = 1;
};

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_MANAGER_WRAP_H_
