// InferencePool: the threads that run models, one queue for the process.
//
// Threads are our own ("aspired-run-0", ...) at normal priority, start with the
// first run that needs them, and are shared by all models and all environments
// of the process. They are never joined: the pool lives as long as the process
// and a thread that waits touches nothing but the pool.
//
// Waking: a submitted run wakes at most one thread, and a thread that leaves
// work behind wakes the next. So the event loop pays for one wake-up per batch,
// and runs that are shorter than a wake-up stay on one thread.
//
// Thread-safe. Sinks are called with no lock held.
#ifndef ASPIRED_ENGINE_INFERENCE_POOL_H_
#define ASPIRED_ENGINE_INFERENCE_POOL_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "concurrency/clock.h"
#include "concurrency/thread_pool.h"
#include "engine/inference_run.h"

namespace aspired {

class InferencePool {
 public:
  // The one of this process; never destroyed. As many threads as cores.
  static InferencePool& Instance();

  // REQUIRES: num_threads >= 1.
  explicit InferencePool(int num_threads);
  // Waits for the runs that are on. Only a pool of a test is destroyed.
  ~InferencePool();

  InferencePool(const InferencePool&) = delete;
  InferencePool& operator=(const InferencePool&) = delete;

  // Takes the runs over; each comes back through its sink, also after
  // Shutdown(), with kRunCancelled then.
  // REQUIRES: each run's session is acquired.
  void Submit(std::span<const std::shared_ptr<InferenceRun>> runs);

  // A run that waits comes back at once (on this thread), one that is on stops
  // at its next operator; both with kRunCancelled. Nothing for any other.
  void Cancel(const std::shared_ptr<InferenceRun>& run);

  // Waits until `run` has left the pool's hands. False at the deadline.
  bool WaitFor(const std::shared_ptr<InferenceRun>& run, TimePoint deadline);

  // REQUIRES: num_threads >= 1.
  void SetNumThreads(int num_threads);
  ThreadPoolStats stats() const;

  // Cancels everything, now and later. True when no run is on any more.
  bool Shutdown(TimePoint deadline);

 private:
  using RunPtr = std::shared_ptr<InferenceRun>;

  // What a thread does until the queue is empty.
  void Drain();
  void Execute(const RunPtr& run, const ort::OrtRunOptions* run_options);
  // REQUIRES: mu_ held. True when a thread should be woken.
  bool ClaimThreadLocked();
  void Wake();

  mutable std::mutex mu_;
  std::condition_variable left_;  // a run left the pool's hands
  // Guarded by mu_.
  std::deque<RunPtr> queue_;
  std::vector<RunPtr> running_;  // at most one per thread
  int num_threads_;
  int drainers_ = 0;  // threads in, or on their way to, Drain()
  bool shut_down_ = false;
  size_t completed_ = 0;

  ThreadPool threads_;  // last: its threads use all of the above
};

}  // namespace aspired

#endif  // ASPIRED_ENGINE_INFERENCE_POOL_H_
