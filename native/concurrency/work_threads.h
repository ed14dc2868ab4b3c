// WorkThreads: the threads that loads, or unloads, run on; their number can be
// changed at any time, also to and from 0.
//
// With 1 or more threads it is a ThreadPool. With 0 it is a queue that whoever
// owns the WorkThreads empties with RunInline() on a thread of its choice, one
// task at a time (TensorFlow Serving's inline executor, but never under a
// lock). `on_inline_task` is told, on the scheduling thread, that there is
// something to run.
//
// Thread-safe. Destruction as ThreadPool: Shutdown() first where a task may
// hang.
#ifndef ASPIRED_CONCURRENCY_WORK_THREADS_H_
#define ASPIRED_CONCURRENCY_WORK_THREADS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "concurrency/executor.h"
#include "concurrency/thread_pool.h"

namespace aspired {

class WorkThreads final : public Executor {
 public:
  // REQUIRES: num_threads >= 0.
  WorkThreads(std::string name, int num_threads,
              std::function<void()> on_inline_task);

  void Schedule(Task task) override;

  // Tasks that were scheduled before keep their place: on a thread that runs
  // until its task ends, or in the inline queue.
  void SetNumThreads(int num_threads);
  int num_threads() const;

  // How many may run at once: the threads, or 1 when inline.
  int concurrency() const { return std::max(1, num_threads()); }

  // Runs what waits in the inline queue, on the calling thread, at most `most`
  // tasks. Tasks that are scheduled meanwhile run too. Returns whether there
  // was any.
  bool RunInline(size_t most = SIZE_MAX);

  ThreadPoolStats stats() const;

  // See ThreadPool::Shutdown(). The inline queue is dropped.
  int Shutdown(std::optional<Duration> wait);

 private:
  const std::string name_;
  const std::function<void()> on_inline_task_;
  mutable std::mutex mu_;
  // Guarded by mu_.
  int num_threads_;
  bool stopped_ = false;
  std::unique_ptr<ThreadPool> pool_;  // made when first needed, then kept
  std::deque<Task> inline_tasks_;
};

}  // namespace aspired

#endif  // ASPIRED_CONCURRENCY_WORK_THREADS_H_
