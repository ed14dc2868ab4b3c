// LoadCancellation: tells a load that runs on another thread to stop.
#ifndef ASPIRED_ENGINE_LOAD_CANCELLATION_H_
#define ASPIRED_ENGINE_LOAD_CANCELLATION_H_

#include <functional>
#include <mutex>
#include <utility>

namespace aspired {

// Thread-safe. The loading thread binds what can stop the work it is about to
// begin; Cancel() calls it, at once or as soon as something is bound. A stop
// function is called under the lock that Unbind() takes, so that it never
// outlives what it stops; it must only set a flag.
class LoadCancellation {
 public:
  void Cancel() {
    std::lock_guard<std::mutex> lock(mu_);
    cancelled_ = true;
    if (stop_) stop_();
  }

  bool cancelled() const {
    std::lock_guard<std::mutex> lock(mu_);
    return cancelled_;
  }

  void Bind(std::function<void()> stop) {
    std::lock_guard<std::mutex> lock(mu_);
    stop_ = std::move(stop);
    if (cancelled_) stop_();
  }

  void Unbind() {
    std::lock_guard<std::mutex> lock(mu_);
    stop_ = nullptr;
  }

 private:
  mutable std::mutex mu_;
  bool cancelled_ = false;      // guarded by mu_
  std::function<void()> stop_;  // guarded by mu_
};

}  // namespace aspired

#endif  // ASPIRED_ENGINE_LOAD_CANCELLATION_H_
