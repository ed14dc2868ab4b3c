// ShapedManagerTest: the fixture of the BM cases, over the four thread shapes.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_MANAGER_FIXTURE_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_MANAGER_FIXTURE_H_

#include <gtest/gtest.h>

#include <string>

#include "native/test_util/test_manager.h"

namespace aspired::test {

struct ThreadShape {
  int load_threads = 0;
  int unload_threads = 0;
};

inline const auto kThreadShapes = ::testing::Values(
    ThreadShape{0, 0}, ThreadShape{2, 0}, ThreadShape{0, 2}, ThreadShape{4, 4});

inline std::string NameOfShape(
    const ::testing::TestParamInfo<ThreadShape>& info) {
  return "L" + std::to_string(info.param.load_threads) + "U" +
         std::to_string(info.param.unload_threads);
}

// Retries 10 without a pause; A{1,2} and B{1,2} are Available.
class ShapedManagerTest : public ::testing::TestWithParam<ThreadShape> {
 protected:
  ShapedManagerTest() : ShapedManagerTest(10) {}
  explicit ShapedManagerTest(int retries)
      : t_({.load_threads = GetParam().load_threads,
            .unload_threads = GetParam().unload_threads,
            .max_num_load_retries = retries}) {
    for (const char* name : {"A", "B"}) {
      for (int64_t version : {1, 2}) t_.Loaded({name, version});
    }
  }

  TestManager t_;
};

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_MANAGER_FIXTURE_H_
