#include "binding/env_data.h"

#include <utility>

namespace aspired::binding {

EnvData::EnvData(Napi::Env env) : env_(env), queue_(JsQueue::Create(env)) {
  napi_add_env_cleanup_hook(env, &EnvData::OnCleanup, this);
}

EnvData::~EnvData() {
  // Instance data dies after the cleanup hooks ran; a failed module
  // initialisation comes here without them.
  if (!torn_down_) {
    napi_remove_env_cleanup_hook(env_, &EnvData::OnCleanup, this);
    TearDown();
  }
}

EnvData& EnvData::Install(Napi::Env env) {
  EnvData* data = new EnvData(env);
  env.SetInstanceData(data);
  return *data;
}

EnvData::TeardownToken EnvData::AddTeardown(Teardown teardown) {
  teardowns_.push_front(std::move(teardown));
  return teardowns_.begin();
}

void EnvData::RemoveTeardown(TeardownToken token) {
  // After the teardown the list is empty and the token no longer valid.
  if (!torn_down_) teardowns_.erase(token);
}

void EnvData::OnCleanup(void* self) { static_cast<EnvData*>(self)->TearDown(); }

void EnvData::TearDown() {
  torn_down_ = true;
  std::list<Teardown> teardowns = std::move(teardowns_);
  teardowns_.clear();
  for (Teardown& teardown : teardowns) teardown();
  queue_->Close();
}

}  // namespace aspired::binding
