#include "binding/js_queue.h"

#include <utility>

namespace aspired::binding {

std::shared_ptr<JsQueue> JsQueue::Create(Napi::Env env) {
  std::shared_ptr<JsQueue> queue(new JsQueue());
  napi_value name = Napi::String::New(env, "aspired");
  const std::array callbacks{&JsQueue::OnWake<0>, &JsQueue::OnWake<1>};
  for (size_t i = 0; i < callbacks.size(); ++i) {
    // The context is a raw pointer: the function is released in Close(), which
    // runs before EnvData, the owner of the queue, is destroyed.
    const napi_status status = napi_create_threadsafe_function(
        env, nullptr, nullptr, name, /*max_queue_size=*/0,
        /*initial_thread_count=*/1, nullptr, nullptr, queue.get(), callbacks[i],
        &queue->functions_[i]);
    if (status != napi_ok) {
      throw Napi::Error::New(env, "napi_create_threadsafe_function failed");
    }
    napi_unref_threadsafe_function(env, queue->functions_[i]);
  }
  return queue;
}

JsQueue::~JsQueue() { Close(); }

bool JsQueue::Post(JsTask task) {
  std::lock_guard<std::mutex> lock(mu_);
  if (IsClosedLocked()) return false;
  tasks_.push_back(std::move(task));
  WakeLocked(0);
  return true;
}

void JsQueue::WakeLocked(int function) {
  if (woken_) return;
  woken_ = napi_call_threadsafe_function(functions_[function], nullptr,
                                         napi_tsfn_nonblocking) == napi_ok;
}

template <int kFunction>
void JsQueue::OnWake(napi_env env, napi_value, void* context, void*) {
  // Node calls with a null env when the function is torn down.
  if (env == nullptr) return;
  static_cast<JsQueue*>(context)->Run(Napi::Env(env), 1 - kFunction);
}

void JsQueue::Run(Napi::Env env, std::optional<int> next) {
  // A task may end the environment's interest in us; keep the queue.
  const std::shared_ptr<JsQueue> self = shared_from_this();
  const auto deadline = std::chrono::steady_clock::now() + kBudget;
  std::unique_lock<std::mutex> lock(mu_);
  while (!IsClosedLocked() && !tasks_.empty()) {
    if (next && std::chrono::steady_clock::now() >= deadline) {
      woken_ = false;
      WakeLocked(*next);
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
  woken_ = false;
}

void JsQueue::Ref(Napi::Env env) {
  if (refs_++ > 0) return;
  std::lock_guard<std::mutex> lock(mu_);
  if (!IsClosedLocked()) napi_ref_threadsafe_function(env, functions_[0]);
}

void JsQueue::Unref(Napi::Env env) {
  if (--refs_ > 0) return;
  std::lock_guard<std::mutex> lock(mu_);
  if (!IsClosedLocked()) napi_unref_threadsafe_function(env, functions_[0]);
}

void JsQueue::Close() {
  std::deque<JsTask> dropped;
  std::lock_guard<std::mutex> lock(mu_);
  if (IsClosedLocked()) return;
  dropped.swap(tasks_);
  for (napi_threadsafe_function& function : functions_) {
    if (function != nullptr) {
      napi_release_threadsafe_function(function, napi_tsfn_abort);
    }
    function = nullptr;
  }
}

}  // namespace aspired::binding
