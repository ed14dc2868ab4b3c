// NativeAttachment: the JavaScript class through which one more thread reads
// what a manager of another one opens. Its methods are described where they are
// used, in lib/native/binding.ts.
//
// Lifetime: detaches by detach(), in the environment's teardown, and when it is
// collected; whichever comes first.
//
// JavaScript thread only.
#ifndef ASPIRED_BINDING_ATTACHMENT_WRAP_H_
#define ASPIRED_BINDING_ATTACHMENT_WRAP_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "binding/env_data.h"
#include "binding/napi_setup.h"
#include "core/reader_group.h"

namespace aspired::binding {

// Adds what one attachment counted of a version to what others did. What the
// numbers are is said in lib/manager/metrics.ts.
void AddCounted(std::vector<double>* sum, const std::vector<double>& words);

class AttachmentWrap final : public Napi::ObjectWrap<AttachmentWrap> {
 public:
  static void Register(Napi::Env env, Napi::Object exports);

  // (token, dispatch)
  explicit AttachmentWrap(const Napi::CallbackInfo& info);
  ~AttachmentWrap() override;

 private:
  class Member;

  Napi::Value Attach(const Napi::CallbackInfo& info);
  void CountIn(const Napi::CallbackInfo& info);
  void StopCounting(const Napi::CallbackInfo& info);
  void Drained(const Napi::CallbackInfo& info);
  void Detach(const Napi::CallbackInfo& info);

  void DetachNow();

  EnvData& env_data_;
  std::shared_ptr<ReaderGroup> group_;  // null: never attached, or detached
  std::shared_ptr<Member> member_;
  uint64_t number_ = 0;
  // Memory that the group reads, by key of the version.
  std::map<uint64_t, Napi::ObjectReference> counters_;
  std::optional<EnvData::TeardownToken> teardown_;
};

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_ATTACHMENT_WRAP_H_
