#include "concurrency/work_threads.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace aspired {

WorkThreads::WorkThreads(std::string name, int num_threads,
                         std::function<void()> on_inline_task)
    : name_(std::move(name)),
      on_inline_task_(std::move(on_inline_task)),
      num_threads_(num_threads) {
  assert(num_threads >= 0);
}

void WorkThreads::Schedule(Task task) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (stopped_) return;
    if (num_threads_ > 0) {
      if (pool_ == nullptr) {
        pool_ = std::make_unique<ThreadPool>(name_, num_threads_,
                                             ThreadPriority::kBackground);
      }
      pool_->Schedule(std::move(task));
      return;
    }
    inline_tasks_.push_back(std::move(task));
  }
  if (on_inline_task_) on_inline_task_();
}

void WorkThreads::SetNumThreads(int num_threads) {
  assert(num_threads >= 0);
  std::lock_guard<std::mutex> lock(mu_);
  num_threads_ = num_threads;
  // At 0 the pool keeps one thread for what it still has to do.
  if (pool_ != nullptr) pool_->SetNumThreads(std::max(1, num_threads));
}

int WorkThreads::num_threads() const {
  std::lock_guard<std::mutex> lock(mu_);
  return num_threads_;
}

bool WorkThreads::RunInline(size_t most) {
  bool any = false;
  std::unique_lock<std::mutex> lock(mu_);
  for (; most > 0 && !inline_tasks_.empty(); --most) {
    Task task = std::move(inline_tasks_.front());
    inline_tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    any = true;
    lock.lock();
  }
  return any;
}

ThreadPoolStats WorkThreads::stats() const {
  std::lock_guard<std::mutex> lock(mu_);
  ThreadPoolStats stats = pool_ ? pool_->stats() : ThreadPoolStats();
  stats.num_threads = num_threads_;
  stats.queued += inline_tasks_.size();
  return stats;
}

int WorkThreads::Shutdown(std::optional<Duration> wait) {
  std::unique_ptr<ThreadPool> pool;
  std::deque<Task> dropped;
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    pool = std::move(pool_);
    dropped.swap(inline_tasks_);
  }
  return pool ? pool->Shutdown(wait) : 0;
}

}  // namespace aspired
