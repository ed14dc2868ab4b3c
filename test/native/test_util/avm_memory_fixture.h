// AspiredVersionsManager with 100 units of main memory, and its servable "m".
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_AVM_MEMORY_FIXTURE_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_AVM_MEMORY_FIXTURE_H_

#include <gtest/gtest.h>

#include <optional>

#include "native/test_util/allocations.h"
#include "native/test_util/test_avm.h"

namespace aspired::test {

class AvmMemoryTest : public ::testing::Test {
 protected:
  AvmMemoryTest()
      : t_([](AspiredVersionsManager::Options* o) {
          o->limits = Allocation({Main(100)});
        }) {}

  ServableVersionState Row(int64_t version) {
    const auto row = t_.Row({"m", version});
    return row ? *row : ServableVersionState();
  }
  bool IsStandby(int64_t version) { return Row(version).standby; }
  std::optional<HarnessState> State(int64_t version) {
    return t_.State({"m", version});
  }

  TestAvm t_;
};

// An old version goes first where both do not fit.
inline StreamIntent FreesFirst() {
  StreamIntent intent;
  intent.on_insufficient_memory = OnInsufficientMemory::kResourcePreserving;
  return intent;
}

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_AVM_MEMORY_FIXTURE_H_
