#include "engine/inference_pool.h"

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace aspired {
namespace {

// Options of a run, so that it can be told to stop. Made once per stay of a
// thread in the queue, and again only after a stop used them up.
class RunOptionsHolder {
 public:
  ~RunOptionsHolder() { Drop(); }

  // Null when the runtime refuses: the run then cannot be stopped midway.
  ort::OrtRunOptions* For(const OrtRuntime& runtime) {
    if (runtime_ == &runtime) return options_;
    Drop();
    runtime_ = &runtime;
    std::string ignored;
    if (runtime.Consume(runtime.api().CreateRunOptions(&options_), &ignored) !=
        0) {
      options_ = nullptr;
    }
    return options_;
  }

  void Drop() {
    if (options_ != nullptr) runtime_->api().ReleaseRunOptions(options_);
    options_ = nullptr;
    runtime_ = nullptr;
  }

 private:
  const OrtRuntime* runtime_ = nullptr;
  ort::OrtRunOptions* options_ = nullptr;
};

Status Cancelled() {
  return Status(ErrorCode::kRunCancelled, "The run was cancelled.");
}

void Finish(const std::shared_ptr<InferenceRun>& run) {
  const std::shared_ptr<RunSink> sink = std::move(run->sink);
  sink->OnDone(run);
}

}  // namespace

InferencePool& InferencePool::Instance() {
  static InferencePool* pool = new InferencePool(
      std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  return *pool;
}

InferencePool::InferencePool(int num_threads)
    : num_threads_(num_threads),
      threads_("aspired-run", num_threads, ThreadPriority::kResponsive) {}

InferencePool::~InferencePool() { threads_.Shutdown(std::nullopt); }

bool InferencePool::ClaimThreadLocked() {
  if (drainers_ >= num_threads_) return false;
  ++drainers_;
  return true;
}

void InferencePool::Wake() {
  threads_.Schedule([this] { Drain(); });
}

void InferencePool::Submit(std::span<const RunPtr> runs) {
  bool wake = false;
  bool refused = false;
  {
    std::lock_guard<std::mutex> lock(mu_);
    refused = shut_down_;
    if (!refused) {
      for (const RunPtr& run : runs) {
        run->state = InferenceRun::State::kQueued;
        queue_.push_back(run);
      }
      wake = !queue_.empty() && ClaimThreadLocked();
    }
  }
  if (wake) Wake();
  if (!refused) return;
  for (const RunPtr& run : runs) {
    run->status = Cancelled();
    Finish(run);
  }
}

void InferencePool::Drain() {
  RunOptionsHolder holder;
  std::unique_lock<std::mutex> lock(mu_);
  while (!queue_.empty() && drainers_ <= num_threads_) {
    RunPtr run = std::move(queue_.front());
    queue_.pop_front();
    run->state = InferenceRun::State::kRunning;
    // Allocates, but calls nothing of ours: the lock may stay.
    run->run_options = holder.For(run->session->runtime());
    running_.push_back(run);
    const bool wake = !queue_.empty() && ClaimThreadLocked();
    lock.unlock();
    if (wake) Wake();
    Execute(run, run->run_options);
    lock.lock();
    std::erase(running_, run);
    run->run_options = nullptr;
    run->state = InferenceRun::State::kIdle;
    if (run->cancelled) holder.Drop();
    if (run->cancelled && !run->status.ok()) run->status = Cancelled();
    ++completed_;
    left_.notify_all();
    lock.unlock();
    Finish(run);
    run = nullptr;
    lock.lock();
  }
  --drainers_;
}

void InferencePool::Execute(const RunPtr& run,
                            const ort::OrtRunOptions* run_options) {
  run->status =
      run->session->Run(run->feeds, run->outputs, run_options, &run->result);
}

void InferencePool::Cancel(const RunPtr& run) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (run->state == InferenceRun::State::kIdle) return;
    run->cancelled = true;
    if (run->state == InferenceRun::State::kRunning) {
      // Only sets a flag, so it may be called under the lock, which keeps the
      // options alive.
      if (run->run_options == nullptr) return;
      const OrtRuntime& runtime = run->session->runtime();
      std::string ignored;
      runtime.Consume(runtime.api().RunOptionsSetTerminate(run->run_options),
                      &ignored);
      return;
    }
    queue_.erase(std::find(queue_.begin(), queue_.end(), run));
    run->state = InferenceRun::State::kIdle;
    left_.notify_all();
  }
  run->status = Cancelled();
  Finish(run);
}

bool InferencePool::WaitFor(const RunPtr& run, TimePoint deadline) {
  std::unique_lock<std::mutex> lock(mu_);
  return left_.wait_until(
      lock, deadline, [&] { return run->state == InferenceRun::State::kIdle; });
}

void InferencePool::SetNumThreads(int num_threads) {
  bool wake = false;
  {
    std::lock_guard<std::mutex> lock(mu_);
    num_threads_ = num_threads;
    wake = !queue_.empty() && ClaimThreadLocked();
  }
  threads_.SetNumThreads(num_threads);
  if (wake) Wake();
}

ThreadPoolStats InferencePool::stats() const {
  std::lock_guard<std::mutex> lock(mu_);
  return {num_threads_, queue_.size(), running_.size(), completed_};
}

bool InferencePool::Shutdown(TimePoint deadline) {
  std::vector<RunPtr> all;
  {
    std::lock_guard<std::mutex> lock(mu_);
    shut_down_ = true;
    all.assign(queue_.begin(), queue_.end());
    all.insert(all.end(), running_.begin(), running_.end());
  }
  for (const RunPtr& run : all) Cancel(run);
  std::unique_lock<std::mutex> lock(mu_);
  return left_.wait_until(lock, deadline, [this] { return running_.empty(); });
}

}  // namespace aspired
