// JsQueue: the way from any thread to the JavaScript thread of one environment.
//
// An unref'd thread-safe function per environment carries a wake-up; the
// tasks themselves wait in a queue of ours, in one order. A wake-up runs tasks
// for at most kBudget and then asks for another, so that a storm of messages
// leaves the event loop its turns. It asks through a second function, and that
// one through the first: Node answers a call into a function from its own
// callback up to 1,000 times before the loop goes on, 2 s for us.
//
// Lifetime: owned by EnvData and shared with every thread that posts. Close()
// runs in the environment's cleanup hook (a worker that is terminated, an exit
// that drains); after it Post() drops the task and says so. The mutex makes
// "closed" and the call into the thread-safe function one step, because Node
// aborts when the function is called while its environment goes away.
//
// Keep-alive: the queue itself keeps no process alive. Ref()/Unref() count what
// a user is waiting for (a pending promise); while the count is above zero the
// event loop stays alive. Both are called on the JavaScript thread.
//
// Thread-safety: Post() from any thread; all else on the JavaScript thread.
#ifndef ASPIRED_BINDING_JS_QUEUE_H_
#define ASPIRED_BINDING_JS_QUEUE_H_

#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "binding/napi_setup.h"

namespace aspired::binding {

class JsQueue : public std::enable_shared_from_this<JsQueue> {
 public:
  // Runs on the JavaScript thread inside a handle scope. A JavaScript
  // exception that escapes it becomes an uncaught exception.
  using JsTask = std::function<void(Napi::Env)>;

  static constexpr std::chrono::microseconds kBudget{2000};

  static std::shared_ptr<JsQueue> Create(Napi::Env env);
  ~JsQueue();

  JsQueue(const JsQueue&) = delete;
  JsQueue& operator=(const JsQueue&) = delete;

  // False when the environment is gone; the task is destroyed on the calling
  // thread then, so it must not own JavaScript references.
  bool Post(JsTask task);

  // Runs what waits, now, without a budget: for who turns the crank by hand.
  void Drain(Napi::Env env) { Run(env, std::nullopt); }

  void Ref(Napi::Env env);
  void Unref(Napi::Env env);

  // Drops what waits and accepts nothing more.
  void Close();

 private:
  JsQueue() = default;
  template <int kFunction>
  static void OnWake(napi_env env, napi_value, void* context, void* data);
  // `next`: the function that wakes us when the budget is used up; nullopt: run
  // everything.
  void Run(Napi::Env env, std::optional<int> next);
  // REQUIRES: mu_ held.
  void WakeLocked(int function);
  bool IsClosedLocked() const { return functions_[0] == nullptr; }

  std::mutex mu_;
  // Guarded by mu_.
  std::deque<JsTask> tasks_;
  // Null once closed. The first carries Ref().
  std::array<napi_threadsafe_function, 2> functions_{};
  // Run() was asked for, or is under way: nobody needs to ask for it.
  bool woken_ = false;
  // JavaScript thread only.
  int refs_ = 0;
};

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_JS_QUEUE_H_
