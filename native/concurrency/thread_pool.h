// ThreadPool: named threads that run tasks in the order they came.
//
// Thread-safe. Threads start with the first task that needs them, so a pool
// that is never used costs nothing. The number can be changed at any time:
// more threads start as tasks come, surplus ones end after their present task;
// nobody waits for either, and no task is lost (TensorFlow Serving drains its
// pool under a lock to do the same).
//
// Destruction and shutdown: Shutdown() drops what has not begun and lets what
// runs finish. A thread that is still in a task at the deadline is detached,
// not joined: it owns a share of the pool's state and touches nothing else of
// it, and the code of the addon stays mapped (-z nodelete). The destructor is
// Shutdown() without a deadline, so it joins every thread.
#ifndef ASPIRED_CONCURRENCY_THREAD_POOL_H_
#define ASPIRED_CONCURRENCY_THREAD_POOL_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "concurrency/clock.h"
#include "concurrency/executor.h"
#include "concurrency/thread.h"

namespace aspired {

struct ThreadPoolStats {
  int num_threads = 0;   // as configured
  size_t queued = 0;     // tasks that wait for a thread
  size_t running = 0;    // tasks on a thread
  size_t completed = 0;  // since the start
};

class ThreadPool final : public Executor {
 public:
  // Threads are named "<name>-<n>". REQUIRES: num_threads >= 1.
  ThreadPool(std::string name, int num_threads, ThreadPriority priority);
  ~ThreadPool() override;

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // After Shutdown() the task is dropped.
  void Schedule(Task task) override;

  // REQUIRES: num_threads >= 1.
  void SetNumThreads(int num_threads);

  ThreadPoolStats stats() const;

  // Joins every thread that ends within `wait` (no limit when nullopt), and
  // detaches the others. Returns how many it detached. May be called again. A
  // thread of the pool may call it (the last owner of what it works on may die
  // there): it does not wait for itself, and detaches itself.
  int Shutdown(std::optional<Duration> wait);

 private:
  struct State;
  static void Run(std::shared_ptr<State> state, int index);
  // REQUIRES: state_->mu held.
  void StartThreadsLocked();

  const std::shared_ptr<State> state_;
};

}  // namespace aspired

#endif  // ASPIRED_CONCURRENCY_THREAD_POOL_H_
