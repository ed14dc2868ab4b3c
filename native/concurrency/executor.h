// Executor: where a piece of blocking work runs.
#ifndef ASPIRED_CONCURRENCY_EXECUTOR_H_
#define ASPIRED_CONCURRENCY_EXECUTOR_H_

#include <functional>

namespace aspired {

using Task = std::function<void()>;

// Thread-safe. A scheduled task runs exactly once, or is dropped (destroyed
// without running) when the executor shuts down first; an implementation says
// which. Tasks must not throw.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void Schedule(Task task) = 0;
};

}  // namespace aspired

#endif  // ASPIRED_CONCURRENCY_EXECUTOR_H_
