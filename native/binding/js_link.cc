#include "binding/js_link.h"

#include <utility>

#include "binding/resources_convert.h"

namespace aspired::binding {
namespace {

uint64_t TokenOf(Loader& loader) {
  // Every loader of a manager that JavaScript made is a JsLoader.
  return static_cast<JsLoader&>(loader).token();
}

}  // namespace

JsLink::JsLink(std::shared_ptr<JsQueue> queue, Napi::Function dispatch)
    : queue_(std::move(queue)), dispatch_(Napi::Persistent(dispatch)) {}

void JsLink::Post(Message kind, double a, double b) {
  queue_->Post([self = shared_from_this(), kind, a, b](Napi::Env env) {
    self->Dispatch(env, kind, Napi::Number::New(env, a),
                   Napi::Number::New(env, b));
  });
}

void JsLink::Post(Message kind, double a, MakeValue b) {
  queue_->Post(
      [self = shared_from_this(), kind, a, b = std::move(b)](Napi::Env env) {
        self->Dispatch(env, kind, Napi::Number::New(env, a), b(env));
      });
}

void JsLink::Post(Message kind, MakeValue a) {
  queue_->Post(
      [self = shared_from_this(), kind, a = std::move(a)](Napi::Env env) {
        self->Dispatch(env, kind, a(env), env.Undefined());
      });
}

void JsLink::Post(Message kind, MakeValue a, MakeValue b) {
  queue_->Post([self = shared_from_this(), kind, a = std::move(a),
                b = std::move(b)](Napi::Env env) {
    self->Dispatch(env, kind, a(env), b(env));
  });
}

void JsLink::Dispatch(Napi::Env env, Message kind, const Napi::Value& a,
                      const Napi::Value& b) {
  if (dispatch_.IsEmpty()) return;
  dispatch_.Call({Napi::Number::New(env, static_cast<double>(kind)), a, b});
}

void JsLink::DispatchLoad(Napi::Env env, uint64_t token,
                          const LoadContext& context) {
  bool cancelled = false;
  {
    std::lock_guard<std::mutex> lock(mu_);
    cancelled = cancelled_.contains(token);
  }
  if (cancelled) {
    LoadDone(token, {Status(ErrorCode::kLoadCancelled,
                            "Dropped before its loader was called")});
    return;
  }
  Napi::Value attempt = Napi::Number::New(env, context.attempt);
  if (!context.reserved.empty()) {
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0u, attempt);
    pair.Set(1u, ToJs(env, context.reserved));
    attempt = pair;
  }
  Dispatch(env, Message::kLoad,
           Napi::Number::New(env, static_cast<double>(token)), attempt);
}

void JsLink::EstimateDone(uint64_t token, EstimateOutcome outcome) {
  Loader::EstimateDone done;
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto node = estimates_.extract(token);
    if (node.empty()) return;
    done = std::move(node.mapped());
  }
  done(std::move(outcome));
}

void JsLink::LoadDone(uint64_t token, LoadOutcome outcome,
                      std::shared_ptr<Shareable> shared, uint64_t given_up) {
  outcome.given_up = given_up != 0;
  Loader::LoadDone done;
  {
    std::lock_guard<std::mutex> lock(mu_);
    cancelled_.erase(token);
    auto node = loads_.extract(token);
    if (node.empty()) return;
    done = std::move(node.mapped().done);
    node.mapped().loader->shared_ = std::move(shared);
    if (given_up != 0) given_up_[given_up] = std::move(node.mapped().over);
  }
  done(std::move(outcome));
}

void JsLink::LoadOver(uint64_t given_up) {
  std::function<void()> over;
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto node = given_up_.extract(given_up);
    if (node.empty()) return;
    over = std::move(node.mapped());
  }
  over();
}

void JsLink::UnloadDone(uint64_t token, Status outcome) {
  Loader::UnloadDone done;
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto node = unloads_.extract(token);
    if (node.empty()) return;
    done = std::move(node.mapped());
  }
  done(std::move(outcome));
}

void JsLink::Cut() {
  dispatch_.Reset();
  // A completion owns its loader, which owns this: break the circle.
  std::unordered_map<uint64_t, Loader::EstimateDone> estimates;
  std::unordered_map<uint64_t, OwedLoad> loads;
  std::unordered_map<uint64_t, Loader::UnloadDone> unloads;
  std::lock_guard<std::mutex> lock(mu_);
  estimates.swap(estimates_);
  loads.swap(loads_);
  unloads.swap(unloads_);
  given_up_.clear();
}

void JsLoader::Load(const LoadContext& context, LoadDone done) {
  {
    std::lock_guard<std::mutex> lock(link_->mu_);
    link_->loads_[token_] = {this, std::move(done), context.over};
  }
  link_->queue_->Post(
      [link = link_, token = token_, context = context](Napi::Env env) {
        link->DispatchLoad(env, token, context);
      });
}

void JsLoader::EstimateResources(const ServableId&, EstimateDone done) {
  {
    std::lock_guard<std::mutex> lock(link_->mu_);
    link_->estimates_[token_] = std::move(done);
  }
  link_->Post(Message::kEstimate, static_cast<double>(token_));
}

std::unique_ptr<Loader> JsLoader::Renew() {
  const uint64_t token = link_->NextToken();
  link_->Post(Message::kRenew, static_cast<double>(token),
              static_cast<double>(token_));
  return std::make_unique<JsLoader>(link_, token, estimates_);
}

void JsLoader::CancelLoad() {
  {
    std::lock_guard<std::mutex> lock(link_->mu_);
    if (link_->loads_.contains(token_)) link_->cancelled_.insert(token_);
  }
  link_->Post(Message::kCancel, static_cast<double>(token_));
}

void JsLoader::Unload(UnloadDone done) {
  if (link_->on_unload_) link_->on_unload_(token_);
  {
    std::lock_guard<std::mutex> lock(link_->mu_);
    link_->unloads_[token_] = std::move(done);
  }
  link_->Post(Message::kUnload, static_cast<double>(token_));
}

void JsReaders::Open(const ServableId&, Loader& loader) {
  link_->Post(Message::kOpen, static_cast<double>(TokenOf(loader)));
}

void JsReaders::Close(const ServableId&, Loader& loader, uint64_t epoch) {
  link_->Post(Message::kClose, static_cast<double>(TokenOf(loader)),
              static_cast<double>(epoch));
}

}  // namespace aspired::binding
