#include "core/loader_harness.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace aspired {
namespace {

using Verdict = LoaderHarness::Verdict;

const Status kBroken(ErrorCode::kLoadFailed, "broken");

std::unique_ptr<LoaderHarness> NewHarness() {
  return std::make_unique<LoaderHarness>(ServableId{"m", 1}, nullptr, 5);
}

// A harness in each state, by legal means.
std::unique_ptr<LoaderHarness> HarnessIn(HarnessState state) {
  auto h = NewHarness();
  const auto want = [&](Status s) { EXPECT_TRUE(s.ok()) << s.ToString(); };
  if (state == HarnessState::kError) {
    want(h->Error(kBroken));
    return h;
  }
  if (state == HarnessState::kNew) return h;
  want(h->LoadRequested());
  if (state == HarnessState::kLoadRequested) return h;
  want(h->LoadApproved());
  if (state == HarnessState::kLoadApproved) return h;
  want(h->StartAttempt());
  if (state == HarnessState::kLoading) return h;
  EXPECT_EQ(h->FinishAttempt({}, 0), Verdict::kReady);
  if (state == HarnessState::kReady) return h;
  want(h->UnloadRequested());
  if (state == HarnessState::kUnloadRequested) return h;
  want(h->StartQuiescing());
  if (state == HarnessState::kQuiescing) return h;
  want(h->DoneQuiescing());
  if (state == HarnessState::kQuiesced) return h;
  want(h->StartUnloading());
  if (state == HarnessState::kUnloading) return h;
  want(h->FinishUnloading(Status::Ok()));
  return h;
}

struct Operation {
  const char* name;
  std::function<Status(LoaderHarness&)> call;
  HarnessStateSet allowed;
  HarnessState after;
};

constexpr HarnessStateSet kLive =
    static_cast<HarnessStateSet>((1u << kNumHarnessStates) - 1) &
    static_cast<HarnessStateSet>(
        ~(Bit(HarnessState::kDisabled) | Bit(HarnessState::kError)));

// CancelLoad() and FinishAttempt() have tests of their own.
std::vector<Operation> Operations() {
  using enum HarnessState;
  return {
      {"LoadRequested", [](auto& h) { return h.LoadRequested(); }, Bit(kNew),
       kLoadRequested},
      {"LoadApproved", [](auto& h) { return h.LoadApproved(); },
       Bit(kLoadRequested), kLoadApproved},
      {"StartAttempt", [](auto& h) { return h.StartAttempt(); },
       Bit(kLoadApproved), kLoading},
      {"UnloadRequested", [](auto& h) { return h.UnloadRequested(); },
       Bit(kReady), kUnloadRequested},
      {"StartQuiescing", [](auto& h) { return h.StartQuiescing(); },
       Bit(kUnloadRequested), kQuiescing},
      {"RevokeUnload", [](auto& h) { return h.RevokeUnload(9); },
       static_cast<HarnessStateSet>(Bit(kUnloadRequested) | Bit(kQuiescing) |
                                    Bit(kQuiesced)),
       kReady},
      {"DoneQuiescing", [](auto& h) { return h.DoneQuiescing(); },
       Bit(kQuiescing), kQuiesced},
      {"StartUnloading", [](auto& h) { return h.StartUnloading(); },
       Bit(kQuiesced), kUnloading},
      {"FinishUnloading",
       [](auto& h) { return h.FinishUnloading(Status::Ok()); }, Bit(kUnloading),
       kDisabled},
      {"Error", [](auto& h) { return h.Error(kBroken); }, kLive, kError},
  };
}

TEST(LoaderHarnessTest, EveryOperationInEveryStateIsLegalOrChangesNothing) {
  for (const Operation& op : Operations()) {
    for (size_t i = 0; i < kNumHarnessStates; ++i) {
      const auto state = static_cast<HarnessState>(i);
      SCOPED_TRACE(std::string(op.name) + " in " + std::string(Name(state)));
      auto h = HarnessIn(state);
      ASSERT_EQ(h->state(), state);
      const Status before = h->status();
      const int attempts = h->attempts();
      const Status s = op.call(*h);
      if ((op.allowed & Bit(state)) != 0) {
        EXPECT_TRUE(s.ok()) << s.ToString();
        EXPECT_EQ(h->state(), op.after);
        continue;
      }
      EXPECT_FALSE(s.ok());
      EXPECT_EQ(s.canonical(), StatusCode::kFailedPrecondition);
      EXPECT_NE(s.message().find("m/1"), std::string_view::npos)
          << s.ToString();
      EXPECT_NE(s.message().find(Name(state)), std::string_view::npos)
          << s.ToString();
      EXPECT_EQ(h->state(), state);
      EXPECT_EQ(h->status(), before);
      EXPECT_EQ(h->attempts(), attempts);
      EXPECT_EQ(h->incarnation(), 5u);
    }
  }
}

TEST(LoaderHarnessTest, CancelBeforeTheFirstAttemptEndsItAtOnce) {
  for (auto state : {HarnessState::kNew, HarnessState::kLoadRequested,
                     HarnessState::kLoadApproved}) {
    auto h = HarnessIn(state);
    EXPECT_TRUE(h->CancelLoad().ok()) << Name(state);
    EXPECT_EQ(h->state(), HarnessState::kDisabled) << Name(state);
    EXPECT_TRUE(h->cancelled());
  }
}

TEST(LoaderHarnessTest, CancelPastLoadingIsAnErrorAndChangesNothing) {
  for (auto state : {HarnessState::kReady, HarnessState::kUnloadRequested,
                     HarnessState::kQuiescing, HarnessState::kQuiesced,
                     HarnessState::kUnloading, HarnessState::kDisabled,
                     HarnessState::kError}) {
    auto h = HarnessIn(state);
    EXPECT_EQ(h->CancelLoad().code(), ErrorCode::kIllegalTransition);
    EXPECT_EQ(h->state(), state);
    EXPECT_FALSE(h->cancelled()) << Name(state);
  }
}

TEST(LoaderHarnessTest, CancelDuringAnAttemptIsDecidedWhenTheAttemptEnds) {
  auto h = HarnessIn(HarnessState::kLoading);
  EXPECT_TRUE(h->CancelLoad().ok());
  EXPECT_EQ(h->state(), HarnessState::kLoading);
  EXPECT_EQ(h->FinishAttempt({kBroken}, 10), Verdict::kCancelled);
  EXPECT_EQ(h->state(), HarnessState::kDisabled);
  EXPECT_EQ(h->status(), kBroken);
}

TEST(LoaderHarnessTest, ACancelledLoadThatSucceedsIsNeverReady) {
  auto h = HarnessIn(HarnessState::kLoading);
  EXPECT_TRUE(h->CancelLoad().ok());
  EXPECT_EQ(h->FinishAttempt({}, 10), Verdict::kUnloadCancelled);
  EXPECT_EQ(h->state(), HarnessState::kUnloading);
  EXPECT_FALSE(h->RevokeUnload(6).ok());
  EXPECT_FALSE(h->StartUnloading().ok());
  EXPECT_TRUE(h->FinishUnloading(Status::Ok()).ok());
  EXPECT_EQ(h->state(), HarnessState::kDisabled);
  EXPECT_TRUE(h->status().ok());
}

TEST(LoaderHarnessTest, CancelBetweenTwoAttemptsEndsItAtOnce) {
  auto h = HarnessIn(HarnessState::kLoading);
  EXPECT_EQ(h->FinishAttempt({kBroken}, 1), Verdict::kRetry);
  EXPECT_EQ(h->state(), HarnessState::kLoading);
  EXPECT_TRUE(h->CancelLoad().ok());
  EXPECT_EQ(h->state(), HarnessState::kDisabled);
  EXPECT_FALSE(h->StartAttempt().ok());
}

TEST(LoaderHarnessTest, AnAttemptDoesNotStartWhileOneIsUnderWay) {
  auto h = HarnessIn(HarnessState::kLoading);
  EXPECT_EQ(h->StartAttempt().code(), ErrorCode::kIllegalTransition);
  EXPECT_EQ(h->attempts(), 1);
  EXPECT_EQ(h->FinishAttempt({kBroken}, 1), Verdict::kRetry);
  EXPECT_TRUE(h->StartAttempt().ok());
  EXPECT_EQ(h->attempts(), 2);
}

TEST(LoaderHarnessTest, TheBudgetIsOneAttemptPlusTheRetries) {
  for (int retries : {0, 1, 3}) {
    auto h = HarnessIn(HarnessState::kLoadApproved);
    int attempts = 0;
    Verdict verdict = Verdict::kRetry;
    while (verdict == Verdict::kRetry) {
      ASSERT_TRUE(h->StartAttempt().ok());
      ++attempts;
      verdict = h->FinishAttempt({kBroken}, retries);
    }
    EXPECT_EQ(verdict, Verdict::kFailed);
    EXPECT_EQ(attempts, retries + 1);
    EXPECT_EQ(h->state(), HarnessState::kError);
    EXPECT_EQ(h->status(), kBroken);
  }
}

TEST(LoaderHarnessTest, AFailureThatIsNotRetriableEndsItWhateverTheBudget) {
  auto h = HarnessIn(HarnessState::kLoading);
  EXPECT_EQ(h->FinishAttempt({kBroken, false}, 10), Verdict::kFailed);
  EXPECT_FALSE(h->retriable());
  EXPECT_EQ(h->state(), HarnessState::kError);
}

TEST(LoaderHarnessTest, NotRetriableMeansNothingForASuccess) {
  auto h = HarnessIn(HarnessState::kLoading);
  EXPECT_EQ(h->FinishAttempt({Status::Ok(), false}, 10), Verdict::kReady);
  EXPECT_TRUE(h->status().ok());
}

TEST(LoaderHarnessTest, TheErrorOfAnAttemptIsForgottenByASuccess) {
  auto h = HarnessIn(HarnessState::kLoading);
  EXPECT_EQ(h->FinishAttempt({kBroken}, 1), Verdict::kRetry);
  EXPECT_EQ(h->status(), kBroken);
  EXPECT_TRUE(h->StartAttempt().ok());
  EXPECT_EQ(h->FinishAttempt({}, 1), Verdict::kReady);
  EXPECT_TRUE(h->status().ok());
}

TEST(LoaderHarnessTest, ARevokedUnloadIsANewIncarnation) {
  for (auto state :
       {HarnessState::kUnloadRequested, HarnessState::kQuiescing}) {
    auto h = HarnessIn(state);
    EXPECT_TRUE(h->RevokeUnload(6).ok());
    EXPECT_EQ(h->state(), HarnessState::kReady);
    EXPECT_EQ(h->incarnation(), 6u);
  }
}

TEST(LoaderHarnessTest, AFailedUnloadEndsInErrorWithItsStatus) {
  auto h = HarnessIn(HarnessState::kUnloading);
  const Status failed(ErrorCode::kUnloadFailed, "stuck");
  EXPECT_TRUE(h->FinishUnloading(failed).ok());
  EXPECT_EQ(h->state(), HarnessState::kError);
  EXPECT_EQ(h->status(), failed);
}

TEST(LoaderHarnessTest, LateErrorDoesNotReplaceTheFirst) {
  auto h = HarnessIn(HarnessState::kError);
  EXPECT_FALSE(h->Error(Status(ErrorCode::kInternal, "late")).ok());
  EXPECT_EQ(h->status(), kBroken);
}

}  // namespace
}  // namespace aspired
