#include "binding/attachment_wrap.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "binding/attach_tokens.h"
#include "binding/convert.h"
#include "binding/js_queue.h"
#include "binding/shareable.h"

namespace aspired::binding {
namespace {

// The numbers are those of lib/native/binding.ts.
enum class AttachMessage : uint32_t {
  kOpen = 0,    // [key, name, version, shared]
  kClose = 1,   // key, epoch
  kGone = 2,    // key
  kIntent = 3,  // [name, aspired, labels, primary]
  kShut = 4,
  kCaughtUp = 5,
};

// MAX_MS of lib/manager/metrics.ts: the largest of something, where all other
// numbers add up.
constexpr size_t kMaxMs = 4;

Napi::Value Number(Napi::Env env, double value) {
  return Napi::Number::New(env, value);
}

// [key, name, version, shared | undefined]
Napi::Value ToJs(Napi::Env env, const OpenServable& servable) {
  Napi::Array tuple = Napi::Array::New(env, 4);
  tuple.Set(0u, static_cast<double>(servable.key));
  tuple.Set(1u, servable.id.name);
  tuple.Set(2u, static_cast<double>(servable.id.version));
  if (servable.shared != nullptr) {
    tuple.Set(3u, WrapShareable(env, std::static_pointer_cast<Shareable>(
                                         servable.shared)));
  }
  return tuple;
}

// [name, aspired, [[label, version], ...], primary | null]
Napi::Value ToJs(Napi::Env env, const std::string& name,
                 const ReaderIntent& intent) {
  Napi::Array aspired = Napi::Array::New(env, intent.aspired.size());
  for (uint32_t i = 0; i < intent.aspired.size(); ++i) {
    aspired.Set(i, static_cast<double>(intent.aspired[i]));
  }
  Napi::Array labels = Napi::Array::New(env);
  for (const auto& [label, version] : intent.labels) {
    labels.Set(labels.Length(), binding::ToJs(env, ServableId{label, version}));
  }
  Napi::Array tuple = Napi::Array::New(env, 4);
  tuple.Set(0u, name);
  tuple.Set(1u, aspired);
  tuple.Set(2u, labels);
  tuple.Set(3u, intent.primary
                    ? Number(env, static_cast<double>(*intent.primary))
                    : env.Null());
  return tuple;
}

}  // namespace

void AddCounted(std::vector<double>* sum, const std::vector<double>& words) {
  if (sum->size() < words.size()) sum->resize(words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    double& number = (*sum)[i];
    number = i == kMaxMs ? std::max(number, words[i]) : number + words[i];
  }
}

// What the group sees of this environment. Messages are posted, so they are
// handled after what attach() answered.
class AttachmentWrap::Member final
    : public ReaderMember,
      public std::enable_shared_from_this<AttachmentWrap::Member> {
 public:
  Member(std::shared_ptr<JsQueue> queue, Napi::Function dispatch)
      : queue_(std::move(queue)), dispatch_(Napi::Persistent(dispatch)) {}

  void Open(const OpenServable& servable) override {
    Post(AttachMessage::kOpen,
         [servable](Napi::Env env) { return ToJs(env, servable); });
  }
  void Close(uint64_t key, uint64_t epoch) override {
    Post(AttachMessage::kClose, KeyOf(key), static_cast<double>(epoch));
  }
  void Gone(uint64_t key) override { Post(AttachMessage::kGone, KeyOf(key)); }
  void SetIntent(const std::string& name, const ReaderIntent& intent) override {
    Post(AttachMessage::kIntent,
         [name, intent](Napi::Env env) { return ToJs(env, name, intent); });
  }
  void CaughtUp() override { Post(AttachMessage::kCaughtUp, Nothing); }
  void Shut() override { Post(AttachMessage::kShut, Nothing); }

  // JavaScript thread only: what comes later is dropped.
  void Cut() { dispatch_.Reset(); }

 private:
  using MakeValue = std::function<Napi::Value(Napi::Env)>;

  static Napi::Value Nothing(Napi::Env env) { return env.Undefined(); }
  static MakeValue KeyOf(uint64_t key) {
    return
        [key](Napi::Env env) { return Number(env, static_cast<double>(key)); };
  }

  void Post(AttachMessage kind, MakeValue a, double b = 0) {
    queue_->Post(
        [self = shared_from_this(), kind, a = std::move(a), b](Napi::Env env) {
          if (self->dispatch_.IsEmpty()) return;
          self->dispatch_.Call(
              {Number(env, static_cast<double>(kind)), a(env), Number(env, b)});
        });
  }

  const std::shared_ptr<JsQueue> queue_;
  Napi::FunctionReference dispatch_;  // empty once cut
};

void AttachmentWrap::Register(Napi::Env env, Napi::Object exports) {
  using W = AttachmentWrap;
  exports.Set("NativeAttachment",
              DefineClass(env, "NativeAttachment",
                          {
                              InstanceMethod<&W::Attach>("attach"),
                              InstanceMethod<&W::CountIn>("countIn"),
                              InstanceMethod<&W::StopCounting>("stopCounting"),
                              InstanceMethod<&W::Drained>("drained"),
                              InstanceMethod<&W::Detach>("detach"),
                          }));
}

AttachmentWrap::AttachmentWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<AttachmentWrap>(info),
      env_data_(EnvData::Of(info.Env())) {}

AttachmentWrap::~AttachmentWrap() { DetachNow(); }

// (token, dispatch) -> [intents, open, is complete] | undefined
Napi::Value AttachmentWrap::Attach(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto group = AttachTokens::Instance().Find(StringFrom(info[0]));
  if (group == nullptr || group_ != nullptr) return env.Undefined();
  member_ =
      std::make_shared<Member>(env_data_.queue(), info[1].As<Napi::Function>());
  ReaderGroup::Snapshot snapshot;
  number_ = group->Attach(member_, &snapshot);
  if (number_ == 0) {
    member_->Cut();
    member_ = nullptr;
    return env.Undefined();
  }
  group_ = std::move(group);
  teardown_ = env_data_.AddTeardown([this] {
    teardown_.reset();
    DetachNow();
  });
  Napi::Array intents = Napi::Array::New(env, snapshot.intents.size());
  for (uint32_t i = 0; i < snapshot.intents.size(); ++i) {
    const auto& [name, intent] = snapshot.intents[i];
    intents.Set(i, ToJs(env, name, intent));
  }
  Napi::Array open = Napi::Array::New(env, snapshot.open.size());
  for (uint32_t i = 0; i < snapshot.open.size(); ++i) {
    open.Set(i, ToJs(env, snapshot.open[i]));
  }
  Napi::Array out = Napi::Array::New(env, 3);
  out.Set(0u, intents);
  out.Set(1u, open);
  out.Set(2u, snapshot.is_complete);
  return out;
}

// (key, Float64Array)
void AttachmentWrap::CountIn(const Napi::CallbackInfo& info) {
  const auto key = static_cast<uint64_t>(VersionFrom(info[0]));
  const auto words = info[1].As<Napi::Float64Array>();
  if (group_ == nullptr || counters_.contains(key)) return;
  // Its memory does not move, and stays while there is a reference.
  if (group_->AddCounters(number_, key, words.Data(), words.ElementLength())) {
    counters_[key] = Napi::Persistent(words.As<Napi::Object>());
  }
}

// (key)
void AttachmentWrap::StopCounting(const Napi::CallbackInfo& info) {
  const auto key = static_cast<uint64_t>(VersionFrom(info[0]));
  if (group_ == nullptr || !counters_.contains(key)) return;
  group_->FreezeCounters(number_, key);
  counters_.erase(key);
}

// (epoch)
void AttachmentWrap::Drained(const Napi::CallbackInfo& info) {
  if (group_ == nullptr) return;
  group_->MemberDrained(number_, static_cast<uint64_t>(VersionFrom(info[0])));
}

void AttachmentWrap::Detach(const Napi::CallbackInfo&) { DetachNow(); }

void AttachmentWrap::DetachNow() {
  if (group_ == nullptr) return;
  if (teardown_) env_data_.RemoveTeardown(*teardown_);
  teardown_.reset();
  // Cut first: nothing that the drains lead to comes back here.
  std::exchange(member_, nullptr)->Cut();
  std::exchange(group_, nullptr)->Detach(number_);
  counters_.clear();
}

}  // namespace aspired::binding
