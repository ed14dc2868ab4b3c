// SerialQueue: runs effects one after another, in the order they were pushed,
// with no lock held.
//
// The problem it solves: a state change under a mutex has effects outside it
// (an event, a message to a reader, a call into a loader). Called under the
// mutex they can deadlock; called after it, two threads can deliver theirs in
// the wrong order (TensorFlow Serving publishes Available after End that way).
// So: push while the mutex that orders the changes is held, Drain() after it
// was released.
//
//   {
//     std::lock_guard lock(mu_);
//     state_ = kReady;
//     effects_.Push([this] { bus_->Publish(...); });
//   }
//   effects_.Drain();
//
// One thread drains at a time. A thread that finds another one draining
// returns at once: the other runs its effects too. An effect may push and
// drain; what it pushed runs after it. So when Drain() returns, the caller's
// effects have run or are about to be run by another thread.
//
// Thread-safe. Effects must not throw. Effects should be short: they hold up
// those of others. Destruction drops what has not run.
#ifndef ASPIRED_CONCURRENCY_SERIAL_QUEUE_H_
#define ASPIRED_CONCURRENCY_SERIAL_QUEUE_H_

#include <deque>
#include <functional>
#include <mutex>
#include <utility>

namespace aspired {

class SerialQueue {
 public:
  using Effect = std::function<void()>;

  void Push(Effect effect) {
    std::lock_guard<std::mutex> lock(mu_);
    effects_.push_back(std::move(effect));
  }

  void Drain() {
    std::unique_lock<std::mutex> lock(mu_);
    if (draining_) return;
    draining_ = true;
    while (!effects_.empty()) {
      Effect effect = std::move(effects_.front());
      effects_.pop_front();
      lock.unlock();
      effect();
      effect = nullptr;  // what it captured dies unlocked
      lock.lock();
    }
    draining_ = false;
  }

 private:
  std::mutex mu_;
  bool draining_ = false;       // guarded by mu_
  std::deque<Effect> effects_;  // guarded by mu_
};

}  // namespace aspired

#endif  // ASPIRED_CONCURRENCY_SERIAL_QUEUE_H_
