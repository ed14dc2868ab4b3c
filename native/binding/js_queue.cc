#include "binding/js_queue.h"

#include <utility>

namespace aspired::binding {

std::shared_ptr<JsQueue> JsQueue::Create(Napi::Env env) {
  std::shared_ptr<JsQueue> queue(new JsQueue());
  napi_value name = Napi::String::New(env, "aspired");
  napi_threadsafe_function function = nullptr;
  // The context is a raw pointer: the function is released in Close(), which
  // runs before EnvData, the owner of the queue, is destroyed.
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, name, /*max_queue_size=*/0,
      /*initial_thread_count=*/1, nullptr, nullptr, queue.get(),
      &JsQueue::OnWake, &function);
  if (status != napi_ok) {
    throw Napi::Error::New(env, "napi_create_threadsafe_function failed");
  }
  napi_unref_threadsafe_function(env, function);
  queue->function_ = function;
  return queue;
}

JsQueue::~JsQueue() { Close(); }

bool JsQueue::Post(JsTask task) {
  std::lock_guard<std::mutex> lock(mu_);
  if (function_ == nullptr) return false;
  tasks_.push_back(std::move(task));
  WakeLocked();
  return true;
}

void JsQueue::WakeLocked() {
  if (woken_) return;
  woken_ = napi_call_threadsafe_function(function_, nullptr,
                                         napi_tsfn_nonblocking) == napi_ok;
}

void JsQueue::OnWake(napi_env env, napi_value, void* context, void*) {
  // Node calls with a null env when the function is torn down.
  if (env == nullptr) return;
  static_cast<JsQueue*>(context)->Run(Napi::Env(env), true);
}

void JsQueue::Run(Napi::Env env, bool within_budget) {
  // A task may end the environment's interest in us; keep the queue.
  const std::shared_ptr<JsQueue> self = shared_from_this();
  const auto deadline = std::chrono::steady_clock::now() + kBudget;
  std::unique_lock<std::mutex> lock(mu_);
  woken_ = false;
  while (function_ != nullptr && !tasks_.empty()) {
    if (within_budget && std::chrono::steady_clock::now() >= deadline) {
      WakeLocked();
      return;
    }
    JsTask task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    {
      Napi::HandleScope scope(env);
      try {
        task(env);
      } catch (const Napi::Error& error) {
        // Our handlers catch what user code throws; this is a bug of ours or a
        // terminating worker. The first must be seen, the second is ignored.
        napi_fatal_exception(env, error.Value());
      }
      task = nullptr;
    }
    lock.lock();
  }
}

void JsQueue::Ref(Napi::Env env) {
  if (refs_++ > 0) return;
  std::lock_guard<std::mutex> lock(mu_);
  if (function_ != nullptr) napi_ref_threadsafe_function(env, function_);
}

void JsQueue::Unref(Napi::Env env) {
  if (--refs_ > 0) return;
  std::lock_guard<std::mutex> lock(mu_);
  if (function_ != nullptr) napi_unref_threadsafe_function(env, function_);
}

void JsQueue::Close() {
  std::deque<JsTask> dropped;
  std::lock_guard<std::mutex> lock(mu_);
  if (function_ == nullptr) return;
  dropped.swap(tasks_);
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
  function_ = nullptr;
}

}  // namespace aspired::binding
