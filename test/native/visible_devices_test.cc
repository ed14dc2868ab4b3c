#include "cuda/visible_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace aspired {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::vector<VisibleGpu> kGpus = {
    {"GPU-aa10", {}}, {"GPU-aa20", {}}, {"GPU-bb30", {"MIG-c1", "MIG-c2"}}};

std::vector<std::string> Resolve(const char* value) {
  return ResolveVisibleDevices(value, kGpus);
}

TEST(VisibleDevicesTest, NotSetShowsAllAndEmptyShowsNone) {
  EXPECT_THAT(Resolve(nullptr), ElementsAre("GPU-aa10", "GPU-aa20", "MIG-c1"));
  EXPECT_THAT(Resolve(""), IsEmpty());
  EXPECT_THAT(Resolve("NoDevFiles"), IsEmpty());
}

TEST(VisibleDevicesTest, IndexesGiveTheOrder) {
  EXPECT_THAT(Resolve("1,0"), ElementsAre("GPU-aa20", "GPU-aa10"));
  EXPECT_THAT(Resolve(" 1 , 0 "), ElementsAre("GPU-aa20", "GPU-aa10"));
  EXPECT_THAT(Resolve("+1,0xyz"), ElementsAre("GPU-aa20", "GPU-aa10"));
}

TEST(VisibleDevicesTest, TheFirstItemThatNamesNothingEndsTheList) {
  EXPECT_THAT(Resolve("1,-1,0"), ElementsAre("GPU-aa20"));
  EXPECT_THAT(Resolve("1,3,0"), ElementsAre("GPU-aa20"));
  EXPECT_THAT(Resolve("1,,0"), ElementsAre("GPU-aa20"));
  EXPECT_THAT(Resolve("1,99999999999999999999,0"), ElementsAre("GPU-aa20"));
  EXPECT_THAT(Resolve("-1"), IsEmpty());
}

TEST(VisibleDevicesTest, TheFirstItemDecidesBetweenIndexesAndUuids) {
  EXPECT_THAT(Resolve("1,GPU-aa10"), ElementsAre("GPU-aa20"));
  EXPECT_THAT(Resolve("GPU-aa10,1"), ElementsAre("GPU-aa10"));
}

TEST(VisibleDevicesTest, ABeginningMustBelongToOneDevice) {
  EXPECT_THAT(Resolve("GPU-aa2"), ElementsAre("GPU-aa20"));
  EXPECT_THAT(Resolve("GPU-aa2,GPU-aa"), ElementsAre("GPU-aa20"));
  EXPECT_THAT(Resolve("GPU-aa"), IsEmpty());
  EXPECT_THAT(Resolve("MIG-c2,GPU-AA10"), ElementsAre("MIG-c2", "GPU-aa10"));
}

TEST(VisibleDevicesTest, ADeviceThatIsNamedTwiceHidesAll) {
  EXPECT_THAT(Resolve("0,1,0"), IsEmpty());
  EXPECT_THAT(Resolve("GPU-aa10,GPU-aa1"), IsEmpty());
}

TEST(VisibleDevicesTest, AGpuInMigModeStandsForItsFirstInstance) {
  EXPECT_THAT(Resolve("2"), ElementsAre("MIG-c1"));
  EXPECT_THAT(Resolve("GPU-bb"), ElementsAre("MIG-c1"));
}

TEST(UuidMatchTest, AWholeNameWinsOverLongerOnes) {
  const auto match = MatchUuid("gpu-1", {"GPU-12", "GPU-1", "GPU-13"});
  EXPECT_EQ(match.kind, UuidMatch::Kind::kOne);
  EXPECT_EQ(match.index, 1u);
}

}  // namespace
}  // namespace aspired
