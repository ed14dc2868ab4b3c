#include "engine/session_threads.h"

#include <future>
#include <thread>

#include "concurrency/thread.h"
#include "concurrency/thread_pool.h"

namespace aspired {
namespace {

// Leaked, as every thread of the engine. It takes its priority from the thread
// that schedules its first task.
ThreadPool& Starter() {
  static auto* starter =
      new ThreadPool("aspired-start", 1, ThreadPriority::kNormal);
  return *starter;
}

// The runtime waits for its thread to exist, and joins it when the session is
// released.
void* ASPIRED_ORT_CALL StartThread(void*, ort::OrtThreadWorker worker,
                                   void* parameter) {
  std::promise<std::thread*> started;
  Starter().Schedule([&] {
    started.set_value(new std::thread([worker, parameter] {
      SetCurrentThreadName("aspired-intra");
      worker(parameter);
    }));
  });
  return started.get_future().get();
}

void ASPIRED_ORT_CALL JoinThread(const void* handle) {
  auto* thread = static_cast<std::thread*>(const_cast<void*>(handle));
  thread->join();
  delete thread;
}

}  // namespace

void PrepareSessionThreads() {
  Starter().Schedule([] {});
}

ort::OrtStatus* UseSessionThreads(const OrtRuntime& runtime,
                                  ort::OrtSessionOptions* options) {
  const ort::OrtApi& api = runtime.api();
  ort::OrtStatus* failure =
      api.SessionOptionsSetCustomCreateThreadFn(options, &StartThread);
  if (failure != nullptr) return failure;
  return api.SessionOptionsSetCustomJoinThreadFn(options, &JoinThread);
}

}  // namespace aspired
