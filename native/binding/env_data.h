// EnvData: everything the addon owns in one environment (the main thread, or a
// worker). Made when the addon is loaded there, destroyed by Node when the
// environment ends.
//
// Teardown order, in the environment's cleanup hook, before any reference to
// JavaScript dies:
//   1. every Teardown that registered itself, newest first (a manager cancels
//      its loads and stops its loop; the engine waits for runs that read
//      JavaScript memory);
//   2. the JsQueue closes.
// A Teardown must not wait for JavaScript and must be short.
//
// Thread-safety: JavaScript thread only, but for queue()->Post().
#ifndef ASPIRED_BINDING_ENV_DATA_H_
#define ASPIRED_BINDING_ENV_DATA_H_

#include <functional>
#include <list>
#include <memory>

#include "binding/js_queue.h"
#include "binding/napi_setup.h"

namespace aspired::binding {

class EnvData {
 public:
  using Teardown = std::function<void()>;
  using TeardownToken = std::list<Teardown>::iterator;

  explicit EnvData(Napi::Env env);
  ~EnvData();

  EnvData(const EnvData&) = delete;
  EnvData& operator=(const EnvData&) = delete;

  // REQUIRES: Install() ran in this environment.
  static EnvData& Of(Napi::Env env) { return *env.GetInstanceData<EnvData>(); }
  static EnvData& Install(Napi::Env env);

  const std::shared_ptr<JsQueue>& queue() const { return queue_; }

  TeardownToken AddTeardown(Teardown teardown);
  void RemoveTeardown(TeardownToken token);

 private:
  static void OnCleanup(void* self);
  void TearDown();

  const napi_env env_;
  std::shared_ptr<JsQueue> queue_;
  std::list<Teardown> teardowns_;
  bool torn_down_ = false;
};

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_ENV_DATA_H_
