#include "host/own_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace aspired {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(OwnProcessTest, ReadsTheNumbersOfEveryNamespace) {
  EXPECT_THAT(ParseNsPids("Name:\tx\nNSpid:\t812\t44\t7\nNSpgid:\t1\n"),
              ElementsAre(812, 44, 7));
  EXPECT_THAT(ParseNsPids("Name:\tx\nNSpid:\t812"), ElementsAre(812));
  EXPECT_THAT(ParseNsPids("Name:\tNSpid:\t3\nPid:\t4\n"), IsEmpty());
  EXPECT_THAT(ParseNsPids("a\nNSpid:\t5 x 6\n"), ElementsAre(5));
  EXPECT_THAT(ParseNsPids(""), IsEmpty());
}

TEST(OwnProcessTest, KnowsItselfAndWhoIsThere) {
  const OwnProcess own = ReadOwnProcess();
  ASSERT_FALSE(own.pids.empty());
  EXPECT_EQ(own.pids.front(), static_cast<uint32_t>(getpid()));
  EXPECT_TRUE(ProcessExists(own.pids.front()));
  EXPECT_FALSE(ProcessExists(0x7ffffff0));
}

}  // namespace
}  // namespace aspired
