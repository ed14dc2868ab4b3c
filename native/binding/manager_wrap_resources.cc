// Memory, bakes and attached threads of NativeManager.
#include <optional>
#include <string>
#include <utility>

#include "binding/convert.h"
#include "binding/manager_wrap.h"
#include "binding/resources_convert.h"
#include "core/reader_group.h"

namespace aspired::binding {

Napi::Value ManagerWrap::GetResources(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), manager_->basic().GetResources());
}

Napi::Value ManagerWrap::ExportFootprints(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), manager_->basic().ExportFootprints());
}

void ManagerWrap::ImportFootprints(const Napi::CallbackInfo& info) {
  manager_->basic().ImportFootprints(FootprintsFromJs(info[0]));
}

// (name | undefined)
void ManagerWrap::ClearFootprints(const Napi::CallbackInfo& info) {
  std::optional<std::string> name;
  if (!info[0].IsUndefined()) name = StringFrom(info[0]);
  manager_->basic().ClearFootprints(name);
  manager_->basic().Flush();
}

Napi::Value ManagerWrap::GetNumAttached(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           static_cast<double>(group_->num_members()));
}

// (bytes[]), by device
void ManagerWrap::SetLimits(const Napi::CallbackInfo& info) {
  const auto array = info[0].As<Napi::Array>();
  std::vector<uint64_t> limits(array.Length());
  for (uint32_t i = 0; i < limits.size(); ++i) {
    limits[i] = BytesFrom(array.Get(i));
  }
  manager_->SetLimits(limits);
}

// (name, version, incarnation, code | undefined, message, cause) -> status
Napi::Value ManagerWrap::FinishBake(const Napi::CallbackInfo& info) {
  const Status status = manager_->FinishBake(
      {StringFrom(info[0]), VersionFrom(info[1])},
      static_cast<uint64_t>(VersionFrom(info[2])), StatusFromJs(info, 3));
  return ToJs(info.Env(), status);
}

// (token, estimate | undefined, code | undefined, message, cause, retriable)
void ManagerWrap::EstimateDone(const Napi::CallbackInfo& info) {
  EstimateOutcome outcome;
  outcome.status = StatusFromJs(info, 2);
  outcome.retriable = info[5].As<Napi::Boolean>();
  if (outcome.status.ok()) outcome.estimate = AllocationFromJs(info[1]);
  link_->EstimateDone(static_cast<uint64_t>(VersionFrom(info[0])),
                      std::move(outcome));
}

// (givenUp)
void ManagerWrap::LoadOver(const Napi::CallbackInfo& info) {
  link_->LoadOver(static_cast<uint64_t>(VersionFrom(info[0])));
}

}  // namespace aspired::binding
