#include "core/status.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace aspired {
namespace {

struct Row {
  ErrorCode code;
  const char* identifier;
  const char* name;
  StatusCode status;
  const char* text;
};

constexpr Row kRows[] = {
#define ASPIRED_ERROR(name, code, status, text) \
  {ErrorCode::k##name, #name, code, StatusCode::status, text},
#include "core/error_codes.def"
#undef ASPIRED_ERROR
};

constexpr std::array<const char*, 17> kCanonicalNames = {"OK",
                                                         "CANCELLED",
                                                         "UNKNOWN",
                                                         "INVALID_ARGUMENT",
                                                         "DEADLINE_EXCEEDED",
                                                         "NOT_FOUND",
                                                         "ALREADY_EXISTS",
                                                         "PERMISSION_DENIED",
                                                         "RESOURCE_EXHAUSTED",
                                                         "FAILED_PRECONDITION",
                                                         "ABORTED",
                                                         "OUT_OF_RANGE",
                                                         "UNIMPLEMENTED",
                                                         "INTERNAL",
                                                         "UNAVAILABLE",
                                                         "DATA_LOSS",
                                                         "UNAUTHENTICATED"};

// "ServableNotFound" -> "ERR_SERVABLE_NOT_FOUND".
std::string NameFromIdentifier(const std::string& identifier) {
  std::string name = "ERR";
  for (char c : identifier) {
    if (c >= 'A' && c <= 'Z') name += '_';
    name += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return name;
}

TEST(StatusTest, EveryRowOfTheErrorTableMapsBothWays) {
  std::set<std::string> names;
  int number = 1;
  for (const Row& row : kRows) {
    EXPECT_EQ(static_cast<int>(row.code), number++) << row.name;
    EXPECT_EQ(ErrorCodeName(row.code), row.name);
    EXPECT_EQ(ErrorCodeFromName(row.name), row.code) << row.name;
    EXPECT_EQ(CanonicalStatus(row.code), row.status) << row.name;
    EXPECT_NE(row.status, StatusCode::kOk) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " twice";
  }
}

TEST(StatusTest, EveryRowOfTheErrorTableIsNamedAndExplainedLikeTheOthers) {
  for (const Row& row : kRows) {
    EXPECT_EQ(row.name, NameFromIdentifier(row.identifier));
    const std::string text = row.text;
    ASSERT_GT(text.size(), 10u) << row.name;
    EXPECT_EQ(text.back(), '.') << row.name;
    EXPECT_TRUE(text[0] >= 'A' && text[0] <= 'Z') << row.name;
  }
}

TEST(StatusTest, CanonicalStatusesHaveTheNumbersAndNamesOfGrpc) {
  for (size_t i = 0; i < kCanonicalNames.size(); ++i) {
    EXPECT_EQ(StatusCodeName(static_cast<StatusCode>(i)), kCanonicalNames[i]);
  }
}

TEST(StatusTest, AnUnknownNameIsNoCode) {
  EXPECT_EQ(ErrorCodeFromName("ERR_NO_SUCH_THING"), ErrorCode::kNone);
  EXPECT_EQ(ErrorCodeFromName(""), ErrorCode::kNone);
  EXPECT_EQ(ErrorCodeFromName("OK"), ErrorCode::kNone);
}

TEST(StatusTest, OkHasNoCodeNoMessageAndNoCause) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status, Status::Ok());
  EXPECT_EQ(status.code(), ErrorCode::kNone);
  EXPECT_EQ(status.canonical(), StatusCode::kOk);
  EXPECT_EQ(status.message(), "");
  EXPECT_EQ(status.cause(), 0u);
  EXPECT_EQ(status.ToString(), "OK");
  EXPECT_EQ(ErrorCodeName(status.code()), "OK");
}

TEST(StatusTest, AnErrorKeepsCodeMessageAndCauseAlsoInCopies) {
  const Status status(ErrorCode::kLoadFailed, "no such weights", 7);
  const Status copy = status;
  EXPECT_FALSE(copy.ok());
  EXPECT_EQ(copy.code(), ErrorCode::kLoadFailed);
  EXPECT_EQ(copy.canonical(), StatusCode::kUnknown);
  EXPECT_EQ(copy.message(), "no such weights");
  EXPECT_EQ(copy.cause(), 7u);
  EXPECT_EQ(copy.ToString(), "ERR_LOAD_FAILED: no such weights");
}

TEST(StatusTest, EqualityIsOfCodeMessageAndCause) {
  const Status status(ErrorCode::kLoadFailed, "a", 1);
  EXPECT_EQ(status, Status(ErrorCode::kLoadFailed, "a", 1));
  EXPECT_NE(status, Status(ErrorCode::kLoadFailed, "a", 2));
  EXPECT_NE(status, Status(ErrorCode::kLoadFailed, "b", 1));
  EXPECT_NE(status, Status(ErrorCode::kInternal, "a", 1));
  EXPECT_NE(status, Status::Ok());
  EXPECT_NE(Status::Ok(), status);
}

TEST(StatusTest, CopiesMayBeUsedByManyThreads) {
  const Status status(ErrorCode::kInternal, "shared", 3);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([status] {
      for (int i = 0; i < 1000; ++i) {
        const Status copy = status;
        EXPECT_EQ(copy.cause(), 3u);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace aspired
