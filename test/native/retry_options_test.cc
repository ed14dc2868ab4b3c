#include "core/retry_options.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>

namespace aspired {
namespace {

using std::chrono::milliseconds;

constexpr double kMiddle = 0.5;  // no jitter

TEST(BackoffTest, DoublesFromTheInitialIntervalUpToTheMaximum) {
  const Backoff backoff{milliseconds(100), milliseconds(800)};
  EXPECT_EQ(backoff.After(1, kMiddle), milliseconds(100));
  EXPECT_EQ(backoff.After(2, kMiddle), milliseconds(200));
  EXPECT_EQ(backoff.After(3, kMiddle), milliseconds(400));
  EXPECT_EQ(backoff.After(4, kMiddle), milliseconds(800));
  EXPECT_EQ(backoff.After(5, kMiddle), milliseconds(800));
}

TEST(BackoffTest, JitterStaysWithin20Percent) {
  const Backoff backoff{milliseconds(1000), milliseconds(8000)};
  EXPECT_EQ(backoff.After(1, 0), milliseconds(800));
  EXPECT_LE(backoff.After(1, 0.999999), milliseconds(1200));
  EXPECT_GT(backoff.After(1, 0.999999), milliseconds(1190));
  EXPECT_LE(backoff.After(100, 0.999999), milliseconds(9600));
}

TEST(BackoffTest, ManyFailuresDoNotOverflow) {
  const Backoff backoff{milliseconds(60'000), milliseconds(480'000)};
  EXPECT_EQ(backoff.After(1'000'000, kMiddle), milliseconds(480'000));
  EXPECT_EQ(backoff.After(std::numeric_limits<int>::max(), kMiddle),
            milliseconds(480'000));
}

TEST(BackoffTest, AnIntervalOfZeroIsNoPause) {
  const Backoff backoff{milliseconds(0), milliseconds(0)};
  for (int failures : {1, 2, 50}) {
    EXPECT_EQ(backoff.After(failures, 0.9), milliseconds(0));
  }
}

TEST(BackoffTest, AMaximumBelowTheInitialIntervalWins) {
  const Backoff backoff{milliseconds(100), milliseconds(10)};
  EXPECT_EQ(backoff.After(1, kMiddle), milliseconds(10));
}

TEST(RetryOptionsTest, DefaultsAreThoseOfThePublicContract) {
  const RetryOptions options;
  EXPECT_EQ(options.max_num_load_retries, 5);
  EXPECT_EQ(options.quick.initial, milliseconds(60'000));
  EXPECT_EQ(options.quick.maximum, 8 * milliseconds(60'000));
  EXPECT_GE(options.slow.initial, options.quick.maximum);
}

}  // namespace
}  // namespace aspired
