// FakeClock: time stands still until a test moves it.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_CLOCK_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_CLOCK_H_

#include <chrono>
#include <mutex>

#include "concurrency/clock.h"

namespace aspired::test {

// Thread-safe. The wall clock moves with the monotonic one.
class FakeClock final : public Clock {
 public:
  TimePoint Now() const override {
    std::lock_guard<std::mutex> lock(mu_);
    return now_;
  }
  double WallMillis() const override {
    std::lock_guard<std::mutex> lock(mu_);
    using FloatMillis = std::chrono::duration<double, std::milli>;
    return FloatMillis(now_.time_since_epoch()).count();
  }

  void Advance(Duration by) {
    std::lock_guard<std::mutex> lock(mu_);
    now_ += by;
  }
  // Not backwards.
  void Set(TimePoint to) {
    std::lock_guard<std::mutex> lock(mu_);
    if (to > now_) now_ = to;
  }

 private:
  mutable std::mutex mu_;
  TimePoint now_{std::chrono::hours(1000)};
};

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_CLOCK_H_
