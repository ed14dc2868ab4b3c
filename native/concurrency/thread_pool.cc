#include "concurrency/thread_pool.h"

#include <cassert>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace aspired {

struct ThreadPool::State {
  State(std::string n, int count, ThreadPriority p)
      : name(std::move(n)), priority(p), num_threads(count) {}

  const std::string name;
  const ThreadPriority priority;

  std::mutex mu;
  std::condition_variable work;   // a task came, or the size or stop changed
  std::condition_variable ended;  // a thread left Run()
  // All below guarded by mu.
  int num_threads;
  bool stopping = false;
  int next_index = 0;
  size_t idle = 0;
  size_t running = 0;
  size_t completed = 0;
  std::deque<Task> queue;
  std::map<int, std::thread> threads;  // by index; until joined or detached
  std::vector<int> finished;           // indexes of threads to be joined
  int live = 0;  // threads inside Run(), but for detached ones
};

ThreadPool::ThreadPool(std::string name, int num_threads,
                       ThreadPriority priority)
    : state_(std::make_shared<State>(std::move(name), num_threads, priority)) {
  assert(num_threads >= 1);
}

ThreadPool::~ThreadPool() { Shutdown(std::nullopt); }

void ThreadPool::Schedule(Task task) {
  std::vector<std::thread> joinable;
  {
    std::lock_guard<std::mutex> lock(state_->mu);
    if (state_->stopping) return;
    state_->queue.push_back(std::move(task));
    StartThreadsLocked();
    for (int index : state_->finished) {
      joinable.push_back(std::move(state_->threads[index]));
      state_->threads.erase(index);
    }
    state_->finished.clear();
  }
  state_->work.notify_one();
  for (std::thread& thread : joinable) thread.join();
}

void ThreadPool::StartThreadsLocked() {
  State& s = *state_;
  while (s.live < s.num_threads && s.idle < s.queue.size()) {
    const int index = s.next_index++;
    ++s.live;
    ++s.idle;  // it will look at the queue first
    s.threads.emplace(index, std::thread(&ThreadPool::Run, state_, index));
  }
}

void ThreadPool::Run(std::shared_ptr<State> state, int index) {
  State& s = *state;
  SetCurrentThreadName(s.name + "-" + std::to_string(index));
  SetCurrentThreadPriority(s.priority);
  std::unique_lock<std::mutex> lock(s.mu);
  while (true) {
    s.work.wait(lock, [&s] {
      return s.stopping || s.live > s.num_threads || !s.queue.empty();
    });
    if (s.stopping || s.live > s.num_threads) break;
    Task task = std::move(s.queue.front());
    s.queue.pop_front();
    --s.idle;
    ++s.running;
    lock.unlock();
    task();
    task = nullptr;  // what it captured dies before it counts as completed
    lock.lock();
    --s.running;
    ++s.idle;
    ++s.completed;
  }
  --s.idle;
  if (!s.threads.contains(index)) return;  // detached by Shutdown()
  --s.live;
  // The wake-up that this thread took may have been meant for a task.
  if (!s.queue.empty()) s.work.notify_one();
  s.finished.push_back(index);
  s.ended.notify_all();
}

void ThreadPool::SetNumThreads(int num_threads) {
  assert(num_threads >= 1);
  {
    std::lock_guard<std::mutex> lock(state_->mu);
    state_->num_threads = num_threads;
    if (!state_->stopping) StartThreadsLocked();
  }
  state_->work.notify_all();
}

ThreadPoolStats ThreadPool::stats() const {
  std::lock_guard<std::mutex> lock(state_->mu);
  return {state_->num_threads, state_->queue.size(), state_->running,
          state_->completed};
}

int ThreadPool::Shutdown(std::optional<Duration> wait) {
  std::deque<Task> dropped;  // destroyed with no lock held
  std::map<int, std::thread> threads;
  std::vector<int> finished;
  {
    std::unique_lock<std::mutex> lock(state_->mu);
    state_->stopping = true;
    dropped.swap(state_->queue);
    state_->work.notify_all();
    int self = 0;
    for (const auto& [index, thread] : state_->threads) {
      if (thread.get_id() == std::this_thread::get_id()) self = 1;
    }
    const auto all_ended = [this, self] { return state_->live <= self; };
    if (wait.has_value()) {
      state_->ended.wait_for(lock, *wait, all_ended);
    } else {
      state_->ended.wait(lock, all_ended);
    }
    threads.swap(state_->threads);
    finished.swap(state_->finished);
    // Those that have not ended are on their own now: nobody waits for them.
    state_->live = 0;
    state_->ended.notify_all();
  }
  int detached = 0;
  for (int index : finished) {
    auto it = threads.find(index);
    if (it == threads.end()) continue;
    it->second.join();
    threads.erase(it);
  }
  for (auto& [index, thread] : threads) {
    thread.detach();
    ++detached;
  }
  return detached;
}

}  // namespace aspired
