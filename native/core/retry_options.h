// RetryOptions: when a failed load is tried again.
#ifndef ASPIRED_CORE_RETRY_OPTIONS_H_
#define ASPIRED_CORE_RETRY_OPTIONS_H_

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace aspired {

// An interval that doubles up to a cap, with jitter, so that many hosts that
// failed together do not come back together.
struct Backoff {
  std::chrono::milliseconds initial{60'000};
  std::chrono::milliseconds maximum{8 * 60'000};

  // The pause after the `failures`-th failure in a row (>= 1). `random` is
  // uniform in [0, 1): the result lies between 80 % and 120 % of the step.
  std::chrono::milliseconds After(int failures, double random) const {
    const int doublings = std::min(failures - 1, 30);
    const double step =
        std::min(static_cast<double>(maximum.count()),
                 static_cast<double>(initial.count()) *
                     static_cast<double>(int64_t{1} << doublings));
    return std::chrono::milliseconds(
        static_cast<int64_t>(step * (0.8 + 0.4 * random)));
  }
};

struct RetryOptions {
  // Quick retries of one incarnation: at most 1 + this many attempts.
  int max_num_load_retries = 5;
  Backoff quick;
  // Pause before a new incarnation of a version that used up its retries and
  // is still aspired.
  Backoff slow{std::chrono::milliseconds(8 * 60'000),
               std::chrono::milliseconds(64 * 60'000)};
};

}  // namespace aspired

#endif  // ASPIRED_CORE_RETRY_OPTIONS_H_
