#include "engine/engine_thread.h"

#include "concurrency/thread_pool.h"

namespace aspired {

std::shared_ptr<Executor> EngineThread() {
  static auto* own = new std::shared_ptr<Executor>(std::make_shared<ThreadPool>(
      "aspired-onnx", 1, ThreadPriority::kBackground));
  return *own;
}

}  // namespace aspired
