// JsLink: the connection of one manager to the JavaScript object that
// dispatches its messages; and what the core sees of JavaScript through it.
//
// A message is one call of dispatch(kind, a, b). All messages of a manager go
// through one queue, in the order of the state changes they tell of.
//
// Lifetime: shared by the manager's wrapper and by everything in the core that
// posts. Cut() ends it (the manager closed, or its environment is going away):
// what is posted later is dropped.
//
// Thread-safety: Post() from any thread; the rest on the JavaScript thread.
#ifndef ASPIRED_BINDING_JS_LINK_H_
#define ASPIRED_BINDING_JS_LINK_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "binding/js_queue.h"
#include "binding/napi_setup.h"
#include "binding/shareable.h"
#include "core/loader.h"
#include "core/readers.h"

namespace aspired::binding {

// The numbers are those of lib/native/binding.ts.
enum class Message : uint32_t {
  kLoad = 0,       // token, attempt or [attempt, reserved]
  kCancel = 1,     // token
  kUnload = 2,     // token
  kRelease = 3,    // token: the loader is needed no more
  kOpen = 4,       // token
  kClose = 5,      // token, epoch
  kDecide = 6,     // names
  kSettled = 7,    // transition, result
  kEvent = 8,      // state
  kWaitDone = 9,   // wait, [outcome, states]
  kClosed = 10,    // abandoned ids
  kEstimate = 11,  // token
  kRenew = 12,     // token, the token of the loader that it stands in for
  kBake = 13,      // name, [version, incarnation, previous]
};

class JsLoader;

class JsLink : public std::enable_shared_from_this<JsLink> {
 public:
  using MakeValue = std::function<Napi::Value(Napi::Env)>;

  JsLink(std::shared_ptr<JsQueue> queue, Napi::Function dispatch);

  // Either value may be made on the JavaScript thread just before the call.
  void Post(Message kind, double a, double b = 0);
  void Post(Message kind, double a, MakeValue b);
  void Post(Message kind, MakeValue a);
  void Post(Message kind, MakeValue a, MakeValue b);

  // A token for a loader that the core makes; JavaScript counts its own up from
  // 1.
  uint64_t NextToken() { return next_token_++; }

  // The completions that a loader owes; ignored when nothing is owed. `shared`
  // is what the loader carries from then on; null: nothing. `given_up` names a
  // load that still runs, for LoadOver(), and not twice: the loader may be gone
  // by then, or load again.
  void EstimateDone(uint64_t token, EstimateOutcome outcome);
  void LoadDone(uint64_t token, LoadOutcome outcome,
                std::shared_ptr<Shareable> shared = nullptr,
                uint64_t given_up = 0);
  // A load that was given up is over.
  void LoadOver(uint64_t given_up);
  void UnloadDone(uint64_t token, Status outcome);

  // Told of every loader that is being unloaded, in the order of the state
  // changes; set before the link is used.
  void set_on_unload(std::function<void(uint64_t token)> on_unload) {
    on_unload_ = std::move(on_unload);
  }

  void Cut();

 private:
  friend class JsLoader;
  struct OwedLoad {
    JsLoader* loader = nullptr;
    Loader::LoadDone done;
    std::function<void()> over;
  };
  void Dispatch(Napi::Env env, Message kind, const Napi::Value& a,
                const Napi::Value& b);
  void DispatchLoad(Napi::Env env, uint64_t token, const LoadContext& context);

  const std::shared_ptr<JsQueue> queue_;
  Napi::FunctionReference dispatch_;  // empty once cut
  std::function<void(uint64_t token)> on_unload_;

  std::atomic<uint64_t> next_token_{uint64_t{1} << 52};
  std::mutex mu_;
  // Guarded by mu_. A loader that owes a completion is alive.
  std::unordered_map<uint64_t, Loader::EstimateDone> estimates_;
  std::unordered_map<uint64_t, OwedLoad> loads_;
  std::unordered_map<uint64_t, std::function<void()>> given_up_;
  // Those of loads_ that were cancelled: a message that has not been dispatched
  // by then calls nobody.
  std::unordered_set<uint64_t> cancelled_;
  std::unordered_map<uint64_t, Loader::UnloadDone> unloads_;
};

// A loader that runs in JavaScript. `token` names it there.
class JsLoader final : public Loader {
 public:
  JsLoader(std::shared_ptr<JsLink> link, uint64_t token, bool estimates)
      : link_(std::move(link)), token_(token), estimates_(estimates) {}
  ~JsLoader() override {
    link_->Post(Message::kRelease, static_cast<double>(token_));
  }

  uint64_t token() const { return token_; }
  // Of a servable that was loaded and can be shared between threads. Set before
  // the load is done, so that whoever hears of that may read it.
  const std::shared_ptr<Shareable>& shared() const { return shared_; }

  bool Blocks() const override { return false; }
  bool Estimates() const override { return estimates_; }
  void EstimateResources(const ServableId& id, EstimateDone done) override;
  void Load(const LoadContext& context, LoadDone done) override;
  void CancelLoad() override;
  void Unload(UnloadDone done) override;
  std::unique_ptr<Loader> Renew() override;

 private:
  friend class JsLink;
  const std::shared_ptr<JsLink> link_;
  const uint64_t token_;
  const bool estimates_;
  std::shared_ptr<Shareable> shared_;
};

// The reader registry of the environment.
class JsReaders final : public Readers {
 public:
  explicit JsReaders(std::shared_ptr<JsLink> link) : link_(std::move(link)) {}
  void Open(const ServableId& id, Loader& loader) override;
  void Close(const ServableId& id, Loader& loader, uint64_t epoch) override;

 private:
  const std::shared_ptr<JsLink> link_;
};

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_JS_LINK_H_
