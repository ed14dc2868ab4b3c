// The checks of feeds against what a model takes, and the words they use.
#include <limits>
#include <string>
#include <vector>

#include "engine/ort_runtime.h"
#include "engine/tensor_type.h"
#include "engine/value_info.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace aspired {
namespace {

using ::testing::HasSubstr;

ValueInfo FloatsOf(std::vector<int64_t> dims,
                   std::vector<std::string> symbols) {
  return {"x", true, static_cast<int>(TensorType::kFloat32), std::move(dims),
          std::move(symbols)};
}

Feed FeedOf(const std::vector<double>& dims, size_t byte_length) {
  Feed feed;
  feed.type = static_cast<int>(TensorType::kFloat32);
  feed.dims = dims;
  feed.byte_length = byte_length;
  return feed;
}

std::string MessageOf(const ValueInfo& info, const std::vector<double>& dims,
                      size_t byte_length) {
  return std::string(CheckFeed(info, FeedOf(dims, byte_length)).message());
}

TEST(ValueInfoTest, DescribesFixedSymbolicAndUnnamedDims) {
  EXPECT_EQ(FloatsOf({-1, 4, -1}, {"batch", "", ""}).ToString(),
            "\"x\" (float32 [batch, 4, ?])");
  ValueInfo sequence;
  sequence.name = "s";
  sequence.is_tensor = false;
  EXPECT_EQ(sequence.ToString(), "\"s\" (not a tensor)");
}

TEST(CheckFeedTest, TakesWhatTheModelTakes) {
  const ValueInfo info = FloatsOf({-1, 4}, {"batch", ""});
  EXPECT_TRUE(CheckFeed(info, FeedOf({2, 4}, 32)).ok());
  EXPECT_TRUE(CheckFeed(info, FeedOf({0, 4}, 0)).ok());
  // No dims in the model may mean that it does not tell.
  EXPECT_TRUE(CheckFeed(FloatsOf({}, {}), FeedOf({}, 4)).ok());
  EXPECT_TRUE(CheckFeed(FloatsOf({}, {}), FeedOf({2, 2}, 16)).ok());
}

TEST(CheckFeedTest, NamesTheInputTheExpectationAndWhatCame) {
  const ValueInfo info = FloatsOf({-1, 4}, {"batch", ""});
  EXPECT_THAT(MessageOf(info, {4}, 16),
              HasSubstr("\"x\" takes shape [batch, 4], but received [4]"));
  EXPECT_THAT(MessageOf(info, {2, 3}, 24), HasSubstr("received [2, 3]"));
  EXPECT_THAT(MessageOf(info, {2, 4}, 28),
              HasSubstr("is 8 elements, but its data holds 7"));
  EXPECT_THAT(MessageOf(info, {2, 4}, 0), HasSubstr("transferred"));
  Feed other = FeedOf({}, 0);
  other.type = static_cast<int>(TensorType::kInt64);
  EXPECT_THAT(std::string(CheckFeed(info, other).message()),
              HasSubstr("takes float32, but received int64"));
}

TEST(CheckFeedTest, RefusesDimsThatAreNoSizes) {
  const ValueInfo info = FloatsOf({-1, -1}, {"", ""});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  for (double bad : {-1.0, 0.5, nan, inf, -inf, 1e300}) {
    EXPECT_THAT(MessageOf(info, {bad, 1}, 4), HasSubstr("integer >= 0")) << bad;
  }
  // The product would overflow; with a zero it is no elements.
  EXPECT_THAT(MessageOf(info, {4503599627370496.0, 4503599627370496.0}, 0),
              HasSubstr("more elements"));
}

TEST(CheckFeedTest, RefusesStringsTheRuntimeWouldCut) {
  ValueInfo info = FloatsOf({-1}, {""});
  info.type = static_cast<int>(TensorType::kString);
  const std::vector<double> dims = {1};
  const std::vector<std::string> strings = {std::string("a\0b", 3)};
  Feed feed = FeedOf(dims, 0);
  feed.type = info.type;
  feed.strings = &strings;
  EXPECT_THAT(std::string(CheckFeed(info, feed).message()),
              HasSubstr("zero byte"));
}

TEST(CheckFeedNamesTest, NamesTheUnknownBeforeTheMissing) {
  const std::vector<ValueInfo> inputs = {FloatsOf({4}, {""})};
  EXPECT_TRUE(CheckFeedNames(inputs, std::vector<std::string>{"x"}).ok());
  EXPECT_THAT(
      std::string(
          CheckFeedNames(inputs, std::vector<std::string>{"y"}).message()),
      HasSubstr("no input \"y\". It takes \"x\" (float32 [4])"));
  EXPECT_THAT(std::string(CheckFeedNames(inputs, {}).message()),
              HasSubstr("lack input \"x\""));
}

TEST(ParseOrtVersionTest, TakesReleasesAndBuildsOfThem) {
  int major = 0;
  int minor = 0;
  for (const char* good : {"1.30.0", "1.17", "1.17.0-rc1", "1.18+cuda"}) {
    EXPECT_TRUE(ParseOrtVersion(good, &major, &minor)) << good;
  }
  EXPECT_TRUE(ParseOrtVersion("1.30.0", &major, &minor));
  EXPECT_EQ(major, 1);
  EXPECT_EQ(minor, 30);
  for (const char* bad : {"", "1", "one.two", "1.x", "1.2x"}) {
    EXPECT_FALSE(ParseOrtVersion(bad, &major, &minor)) << bad;
  }
}

TEST(TensorTypeTest, UnknownNumbersHaveNoSize) {
  EXPECT_EQ(TensorTypeName(-1), "unknown");
  EXPECT_EQ(TensorTypeName(99), "unknown");
  EXPECT_EQ(TensorElementSize(99), 0u);
  EXPECT_FALSE(IsCarriedTensorType(16));  // bfloat16
  EXPECT_TRUE(IsCarriedTensorType(static_cast<int>(TensorType::kString)));
}

TEST(OrtRuntimeTest, TellsAMissingLibraryFromOneThatIsNoRuntime) {
  const OrtRuntime* runtime = nullptr;
  Status status = OrtRuntime::Load("/nowhere/libonnxruntime.so.1", &runtime);
  EXPECT_EQ(status.code(), ErrorCode::kOnnxRuntimeNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("npm install"));
#if defined(__linux__)
  status = OrtRuntime::Load("libm.so.6", &runtime);
  EXPECT_EQ(status.code(), ErrorCode::kOnnxRuntimeUnsupported);
  EXPECT_THAT(std::string(status.message()), HasSubstr("OrtGetApiBase"));
#endif
}

}  // namespace
}  // namespace aspired
