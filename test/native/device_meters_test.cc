// DeviceMeters: main memory and readers of devices, one of which may hang.
#include "host/device_meters.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <set>
#include <thread>
#include <vector>

namespace aspired {
namespace {

DeviceReading Used(uint64_t used) {
  DeviceReading reading;
  reading.total = 100;
  reading.used = used;
  return reading;
}

TEST(DeviceMeters, ReadsMainMemoryFirstThenTheOthersInTheirOrder) {
  DeviceMeters meters({[] { return Used(1); }, [] { return Used(2); }});
  const auto readings = meters.Read();
  ASSERT_EQ(readings.size(), 3u);
  EXPECT_TRUE(readings[0].status.ok());
  EXPECT_GT(readings[0].total, readings[0].used);
  EXPECT_EQ(readings[1].used, 1u);
  EXPECT_EQ(readings[2].used, 2u);
}

TEST(DeviceMeters, EachReadIsANewOne) {
  std::atomic<uint64_t> value{0};
  DeviceMeters meters({[&value] { return Used(++value); }});
  EXPECT_EQ(meters.Read()[1].used, 1u);
  EXPECT_EQ(meters.Read()[1].used, 2u);
}

TEST(DeviceMeters, OthersAreReadOnOneThreadThatIsNotTheCallers) {
  std::set<std::thread::id> threads;  // of one thread, so without a lock
  DeviceMeters meters({[&threads] {
    threads.insert(std::this_thread::get_id());
    return Used(0);
  }});
  meters.Read();
  meters.Read();
  EXPECT_EQ(threads.size(), 1u);
  EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
}

// A driver that hangs must not stop who asks, nor the end of the manager.
TEST(DeviceMeters, ADriverThatHangsIsADeviceThatCannotBeRead) {
  const auto gate = std::make_shared<std::promise<void>>();
  const auto left = std::make_shared<std::promise<void>>();
  {
    DeviceMeters meters({[gate, left] {
      gate->get_future().wait();
      left->set_value();
      return Used(1);
    }});
    const auto readings = meters.Read();
    ASSERT_EQ(readings.size(), 2u);
    EXPECT_TRUE(readings[0].status.ok());
    EXPECT_EQ(readings[1].status.code(), ErrorCode::kDeviceUnreadable);
  }
  // Left to itself, it comes back into memory that is still there.
  gate->set_value();
  left->get_future().wait();
}

TEST(DeviceMeters, ManyMayAskAtOnce) {
  DeviceMeters meters({[] { return Used(7); }});
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&meters, &wrong] {
      for (int k = 0; k < 50; ++k) {
        if (meters.Read()[1].used != 7u) ++wrong;
        if (meters.ReadSelf().rss == 0) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace aspired
