// Waiting in tests: for a fact, with a deadline, never by sleeping.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_DEADLINE_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_DEADLINE_H_

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

namespace aspired::test {

// Long: a sanitized build on a busy machine is slow. Only a failing test waits
// for it.
inline constexpr std::chrono::seconds kDeadline{30};

// Something that happens once.
class Notification {
 public:
  void Notify() {
    std::lock_guard<std::mutex> lock(mu_);
    notified_ = true;
    changed_.notify_all();
  }
  bool HasBeenNotified() const {
    std::lock_guard<std::mutex> lock(mu_);
    return notified_;
  }
  // False when it has not happened within the deadline.
  bool Wait(std::chrono::milliseconds deadline = kDeadline) const {
    std::unique_lock<std::mutex> lock(mu_);
    return changed_.wait_for(lock, deadline, [this] { return notified_; });
  }

 private:
  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  bool notified_ = false;
};

// A value that is set once by another thread.
template <typename T>
class Promised {
 public:
  void Set(T value) {
    std::lock_guard<std::mutex> lock(mu_);
    ++times_set_;
    if (!value_) value_ = std::move(value);
    changed_.notify_all();
  }
  bool Wait() const {
    std::unique_lock<std::mutex> lock(mu_);
    return changed_.wait_for(lock, kDeadline,
                             [this] { return value_.has_value(); });
  }
  // Empty when it did not come within the deadline.
  std::optional<T> Get() const {
    Wait();
    return Peek();
  }
  std::optional<T> Peek() const {
    std::lock_guard<std::mutex> lock(mu_);
    return value_;
  }
  int times_set() const {
    std::lock_guard<std::mutex> lock(mu_);
    return times_set_;
  }

 private:
  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  std::optional<T> value_;
  int times_set_ = 0;
};

// Lets `parties` threads go on when all of them have come.
class Barrier {
 public:
  explicit Barrier(int parties) : missing_(parties) {}
  bool Wait() {
    std::unique_lock<std::mutex> lock(mu_);
    if (--missing_ == 0) all_here_.notify_all();
    return all_here_.wait_for(lock, kDeadline,
                              [this] { return missing_ <= 0; });
  }

 private:
  std::mutex mu_;
  std::condition_variable all_here_;
  int missing_;
};

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_DEADLINE_H_
