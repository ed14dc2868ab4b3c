// Clock: the only place that asks what time it is, so that tests can say.
#ifndef ASPIRED_CONCURRENCY_CLOCK_H_
#define ASPIRED_CONCURRENCY_CLOCK_H_

#include <chrono>
#include <cstdint>

namespace aspired {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic; for intervals and deadlines.
  virtual TimePoint Now() const = 0;
  // Milliseconds since the Unix epoch; for what people read.
  virtual double WallMillis() const = 0;
};

class SystemClock final : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
  double WallMillis() const override {
    using FloatMillis = std::chrono::duration<double, std::milli>;
    return FloatMillis(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace aspired

#endif  // ASPIRED_CONCURRENCY_CLOCK_H_
