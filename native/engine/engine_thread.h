// The engine's own background thread.
#ifndef ASPIRED_ENGINE_ENGINE_THREAD_H_
#define ASPIRED_ENGINE_ENGINE_THREAD_H_

#include <memory>

#include "concurrency/executor.h"

namespace aspired {

// One thread ("aspired-onnx-0", below normal priority) for loads that nobody
// gave a thread to, and for models that were dropped without an unload. Never
// ends: it may be in a load when the process exits. Thread-safe.
std::shared_ptr<Executor> EngineThread();

}  // namespace aspired

#endif  // ASPIRED_ENGINE_ENGINE_THREAD_H_
