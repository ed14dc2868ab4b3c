// ManualExecutor: tasks run when, and on the thread that, the test says.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_MANUAL_EXECUTOR_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_MANUAL_EXECUTOR_H_

#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

#include "concurrency/executor.h"

namespace aspired::test {

// Thread-safe. Destruction drops what has not run.
class ManualExecutor final : public Executor {
 public:
  void Schedule(Task task) override {
    std::lock_guard<std::mutex> lock(mu_);
    tasks_.push_back(std::move(task));
  }

  size_t size() const {
    std::lock_guard<std::mutex> lock(mu_);
    return tasks_.size();
  }

  // Runs the oldest task here; false when there is none.
  bool RunOne() {
    Task task;
    {
      std::lock_guard<std::mutex> lock(mu_);
      if (tasks_.empty()) return false;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
    return true;
  }

  // Also what comes meanwhile. Returns how many ran.
  int RunAll() {
    int ran = 0;
    while (RunOne()) ++ran;
    return ran;
  }

 private:
  mutable std::mutex mu_;
  std::deque<Task> tasks_;
};

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_MANUAL_EXECUTOR_H_
