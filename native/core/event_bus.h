// EventBus: typed publish and subscribe.
//
// Publish() calls every subscriber on the publishing thread, in the order they
// subscribed, with no lock held: a subscriber may publish, subscribe and
// unsubscribe. Two threads that publish at the same time call a subscriber at
// the same time; publishers that need one total order bring it themselves (the
// manager publishes through its SerialQueue).
//
// Unsubscribing (the Subscription dies) guarantees: once it returns, no call
// into that subscriber is running on another thread, and none will begin. From
// inside the subscriber itself it returns at once.
//
// Bus and subscriptions may die in either order. Thread-safe.
//
// Source: TensorFlow Serving, util/event_bus.h, whose callbacks run under the
// bus' mutex and deadlock when they re-enter it; these do not.
#ifndef ASPIRED_CORE_EVENT_BUS_H_
#define ASPIRED_CORE_EVENT_BUS_H_

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace aspired {

template <typename E>
class EventBus {
 public:
  using Callback = std::function<void(const E&)>;

  class Subscription;

  EventBus() : list_(std::make_shared<List>()) {}

  [[nodiscard]] std::unique_ptr<Subscription> Subscribe(Callback callback) {
    auto entry = std::make_shared<Entry>(std::move(callback));
    {
      std::lock_guard<std::mutex> lock(list_->mu);
      list_->Copy()->push_back(entry);
    }
    return std::unique_ptr<Subscription>(
        new Subscription(list_, std::move(entry)));
  }

  void Publish(const E& event) const {
    std::shared_ptr<const Entries> entries;
    {
      std::lock_guard<std::mutex> lock(list_->mu);
      entries = list_->entries;
    }
    for (const auto& entry : *entries) entry->Call(event);
  }

 private:
  struct Entry {
    explicit Entry(Callback c) : callback(std::move(c)) {}

    void Call(const E& event) {
      {
        std::lock_guard<std::mutex> lock(mu);
        if (cancelled) return;
        callers.push_back(std::this_thread::get_id());
      }
      callback(event);
      std::lock_guard<std::mutex> lock(mu);
      callers.erase(std::find(callers.begin(), callers.end(),
                              std::this_thread::get_id()));
      idle.notify_all();
    }

    void Cancel() {
      const auto self = std::this_thread::get_id();
      std::unique_lock<std::mutex> lock(mu);
      cancelled = true;
      idle.wait(lock, [&] {
        return std::all_of(callers.begin(), callers.end(),
                           [&](auto id) { return id == self; });
      });
    }

    const Callback callback;
    std::mutex mu;
    std::condition_variable idle;
    // Guarded by mu.
    bool cancelled = false;
    std::vector<std::thread::id> callers;
  };
  using Entries = std::vector<std::shared_ptr<Entry>>;

  struct List {
    // Copy on write: a publisher keeps the list it began with. REQUIRES: mu.
    std::shared_ptr<Entries> Copy() {
      auto copy = std::make_shared<Entries>(*entries);
      entries = copy;
      return copy;
    }
    std::mutex mu;
    std::shared_ptr<const Entries> entries = std::make_shared<Entries>();
  };

  const std::shared_ptr<List> list_;
};

template <typename E>
class EventBus<E>::Subscription {
 public:
  ~Subscription() {
    {
      std::lock_guard<std::mutex> lock(list_->mu);
      auto entries = list_->Copy();
      entries->erase(std::find(entries->begin(), entries->end(), entry_));
    }
    entry_->Cancel();
  }
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

 private:
  friend class EventBus<E>;
  Subscription(std::shared_ptr<List> list, std::shared_ptr<Entry> entry)
      : list_(std::move(list)), entry_(std::move(entry)) {}

  const std::shared_ptr<List> list_;
  const std::shared_ptr<Entry> entry_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_EVENT_BUS_H_
