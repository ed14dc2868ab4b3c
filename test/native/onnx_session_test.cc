// Sessions, loads and runs on a real runtime; skipped where there is none.
#include "engine/onnx_session.h"

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "concurrency/thread_pool.h"
#include "engine/inference_pool.h"
#include "engine/model_loader.h"
#include "engine/tensor_type.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "native/test_util/deadline.h"
#include "native/test_util/manual_executor.h"
#include "native/test_util/onnx_model.h"

namespace aspired {
namespace {

using test::ManualExecutor;
using test::Notification;
using test::Promised;
using ::testing::HasSubstr;
using SessionPtr = std::shared_ptr<OnnxSession>;

constexpr int kFloat32 = static_cast<int>(TensorType::kFloat32);
constexpr uint32_t kNoLimit = 1u << 30;

class CountingSink final : public RunSink {
 public:
  explicit CountingSink(int expected) : expected_(expected) {}

  void OnDone(std::shared_ptr<InferenceRun> run) override {
    std::lock_guard<std::mutex> lock(mu_);
    runs_.push_back(std::move(run));
    if (static_cast<int>(runs_.size()) == expected_) done_.Notify();
  }
  // The runs in the order of their ends.
  std::vector<std::shared_ptr<InferenceRun>> Wait() {
    EXPECT_TRUE(done_.Wait());
    std::lock_guard<std::mutex> lock(mu_);
    return runs_;
  }

 private:
  const int expected_;
  Notification done_;
  std::mutex mu_;
  std::vector<std::shared_ptr<InferenceRun>> runs_;
};

class OnnxSessionTest : public testing::Test {
 protected:
  void SetUp() override {
    runtime_path_ = test::FindOnnxRuntime();
    if (runtime_path_.empty()) {
      GTEST_SKIP() << "no ONNX Runtime library: npm install, or set "
                      "ASPIRED_ONNX_RUNTIME";
    }
  }

  void TearDown() override {
    for (const std::string& path : files_) std::filesystem::remove(path);
  }

  LoadRequest RequestFor(const std::string& model) {
    files_.push_back(model);
    LoadRequest request;
    request.runtime_path = runtime_path_;
    request.model_path = model;
    return request;
  }

  // Loads on the engine's own thread.
  ModelLoadOutcome Load(LoadRequest request) {
    Promised<ModelLoadOutcome> outcome;
    LoadModel(std::move(request), std::make_shared<LoadCancellation>(), nullptr,
              [&](ModelLoadOutcome loaded) { outcome.Set(std::move(loaded)); });
    return outcome.Get().value_or(ModelLoadOutcome{});
  }

  SessionPtr LoadDouble() {
    ModelLoadOutcome outcome = Load(RequestFor(test::WriteDoubleModel()));
    EXPECT_TRUE(outcome.status.ok()) << outcome.status.ToString();
    return outcome.session;
  }

  SessionPtr LoadChain(int length) {
    ModelLoadOutcome outcome = Load(RequestFor(test::WriteChainModel(length)));
    EXPECT_TRUE(outcome.status.ok()) << outcome.status.ToString();
    return outcome.session;
  }

  void Unload(SessionPtr session) {
    Notification done;
    UnloadModel(std::move(session), nullptr, [&] { done.Notify(); });
    EXPECT_TRUE(done.Wait());
  }

  std::string runtime_path_;
  std::vector<std::string> files_;
};

// A run whose memory is its own; x is `size` values in these dims.
std::shared_ptr<InferenceRun> MakeRun(const SessionPtr& session,
                                      std::vector<double> dims, size_t size,
                                      float value,
                                      std::shared_ptr<RunSink> sink) {
  EXPECT_EQ(session->TryAcquire(kNoLimit), OnnxSession::Acquired::kYes);
  auto run = std::make_shared<InferenceRun>();
  run->session = session;
  run->sink = std::move(sink);
  run->dims = std::move(dims);
  run->words.resize((size * sizeof(float) + 7) / 8);
  std::fill_n(reinterpret_cast<float*>(run->words.data()), size, value);
  Feed feed;
  feed.type = kFloat32;
  feed.dims = run->dims;
  feed.data = run->words.data();
  feed.byte_length = size * sizeof(float);
  run->feeds = {feed};
  run->outputs = session->tensor_outputs();
  return run;
}

float FirstOf(const RunResult& result) {
  return *static_cast<const float*>(result.tensor(0).data);
}

TEST_F(OnnxSessionTest, TellsWhatTheModelTakesAndGives) {
  const SessionPtr session = LoadDouble();
  ASSERT_EQ(session->inputs().size(), 1u);
  EXPECT_EQ(session->inputs()[0].ToString(), "\"x\" (float32 [n])");
  EXPECT_EQ(session->outputs()[0].ToString(), "\"y\" (float32 [n])");
  EXPECT_THAT(session->tensor_outputs(), testing::ElementsAre(0u));
  Unload(session);
}

TEST_F(OnnxSessionTest, AnOutputThatIsNoTensorIsNotAnswered) {
  ModelLoadOutcome outcome = Load(RequestFor(test::WriteSequenceModel()));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  const SessionPtr session = outcome.session;
  ASSERT_EQ(session->outputs().size(), 2u);
  EXPECT_EQ(session->outputs()[1].ToString(), "\"s\" (not a tensor)");
  EXPECT_THAT(session->tensor_outputs(), testing::ElementsAre(0u));
  EXPECT_THAT(UnknownOutput(session->outputs(), "s").ToString(),
              HasSubstr("only tensors are answered"));
  auto sink = std::make_shared<CountingSink>(1);
  std::shared_ptr<InferenceRun> run = MakeRun(session, {2}, 2, 4.0f, sink);
  InferencePool pool(1);
  pool.Submit({&run, 1});
  sink->Wait();
  EXPECT_TRUE(run->status.ok()) << run->status.ToString();
  EXPECT_EQ(run->result.size(), 1u);
  run->Reset();
  Unload(session);
}

TEST_F(OnnxSessionTest, ASessionWithThreadsOfItsOwnRunsAndGivesThemBack) {
  LoadRequest request = RequestFor(test::WriteDoubleModel());
  request.options.intra_op_threads = 3;
  request.options.inter_op_threads = 2;
  ModelLoadOutcome outcome = Load(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  auto sink = std::make_shared<CountingSink>(1);
  std::shared_ptr<InferenceRun> run =
      MakeRun(outcome.session, {100000}, 100000, 4.0f, sink);
  InferencePool pool(1);
  pool.Submit({&run, 1});
  sink->Wait();
  EXPECT_TRUE(run->status.ok()) << run->status.ToString();
  run->Reset();
  Unload(outcome.session);
}

TEST_F(OnnxSessionTest, ALoadThatFailsSaysWhy) {
  LoadRequest missing = RequestFor("/nowhere/model.onnx");
  EXPECT_EQ(Load(missing).status.code(), ErrorCode::kModelNotFound);

  LoadRequest refused = RequestFor(test::WriteDoubleModel());
  refused.options.providers = {{"teleport", {}}};
  const ModelLoadOutcome outcome = Load(refused);
  EXPECT_EQ(outcome.status.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(outcome.status.ToString(), HasSubstr("CPUExecutionProvider"));
}

TEST_F(OnnxSessionTest, AWarmUpRunsBeforeTheLoadIsOver) {
  OwnedTensor x;
  x.type = kFloat32;
  x.dims = {2};
  x.words = {0};
  x.byte_length = 8;
  LoadRequest request = RequestFor(test::WriteDoubleModel());
  request.warmups = {{{"x"}, {x}}};
  Unload(Load(request).session);

  request.warmups = {{{"x"}, {x}}, {{"z"}, {x}}};
  const ModelLoadOutcome outcome = Load(request);
  EXPECT_EQ(outcome.status.code(), ErrorCode::kWarmupFailed);
  EXPECT_THAT(outcome.status.ToString(), HasSubstr("warmupInputs[1]"));
  EXPECT_EQ(outcome.warmup.code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(outcome.session, nullptr);
}

TEST_F(OnnxSessionTest, ALoadThatWasCancelledBeforeItBeganLoadsNothing) {
  ManualExecutor executor;
  auto cancellation = std::make_shared<LoadCancellation>();
  Promised<ModelLoadOutcome> outcome;
  LoadModel(RequestFor("/nowhere/model.onnx"), cancellation,
            std::shared_ptr<Executor>(&executor, [](Executor*) {}),
            [&](ModelLoadOutcome loaded) { outcome.Set(std::move(loaded)); });
  cancellation->Cancel();
  executor.RunAll();
  EXPECT_EQ(outcome.Get()->status.code(), ErrorCode::kLoadCancelled);
}

TEST_F(OnnxSessionTest, ALoadThatItsExecutorDropsIsCancelled) {
  Promised<ModelLoadOutcome> outcome;
  {
    auto executor = std::make_shared<ManualExecutor>();
    LoadModel(RequestFor(test::WriteDoubleModel()),
              std::make_shared<LoadCancellation>(), executor,
              [&](ModelLoadOutcome loaded) { outcome.Set(std::move(loaded)); });
  }
  EXPECT_EQ(outcome.Get()->status.code(), ErrorCode::kLoadCancelled);
  EXPECT_EQ(outcome.times_set(), 1);
}

TEST_F(OnnxSessionTest, AnUnloadThatItsExecutorDropsHappensAllTheSame) {
  SessionPtr session = LoadDouble();
  Notification done;
  {
    auto executor = std::make_shared<ManualExecutor>();
    UnloadModel(session, executor, [&] { done.Notify(); });
  }
  EXPECT_TRUE(done.Wait());
  EXPECT_TRUE(session->destroyed());
}

TEST_F(OnnxSessionTest, CloseLetsUsesEndRefusesLaterOnesAndThenCallsOnce) {
  SessionPtr session = LoadDouble();
  ASSERT_EQ(session->TryAcquire(2), OnnxSession::Acquired::kYes);
  ASSERT_EQ(session->TryAcquire(2), OnnxSession::Acquired::kYes);
  EXPECT_EQ(session->TryAcquire(2), OnnxSession::Acquired::kTooMany);
  auto executor = std::make_shared<ManualExecutor>();
  int done = 0;
  UnloadModel(session, executor, [&] { ++done; });
  EXPECT_EQ(session->TryAcquire(2), OnnxSession::Acquired::kClosed);
  session->Release();
  EXPECT_EQ(executor->size(), 0u);
  session->Release();
  EXPECT_EQ(executor->RunAll(), 1);
  EXPECT_EQ(done, 1);
  EXPECT_TRUE(session->destroyed());
}

TEST_F(OnnxSessionTest, ManyThreadsRunOneSessionAndEachGetsItsAnswer) {
  const SessionPtr session = LoadDouble();
  InferencePool pool(4);
  constexpr int kRuns = 500;
  auto sink = std::make_shared<CountingSink>(kRuns);
  std::vector<std::shared_ptr<InferenceRun>> runs;
  for (int i = 0; i < kRuns; ++i) {
    // Some answers are kept in the runtime's tensor, some are copied.
    const size_t size = i % 7 == 0 ? 5000 : 3;
    runs.push_back(MakeRun(session, {static_cast<double>(size)}, size,
                           static_cast<float>(i), sink));
    runs.back()->id = static_cast<uint32_t>(i);
  }
  const std::span<const std::shared_ptr<InferenceRun>> all(runs);
  pool.Submit(all.first(kRuns / 2));
  pool.SetNumThreads(2);
  pool.Submit(all.subspan(kRuns / 2));
  pool.SetNumThreads(3);
  for (const auto& run : sink->Wait()) {
    ASSERT_TRUE(run->status.ok()) << run->status.ToString();
    EXPECT_EQ(FirstOf(run->result), 2.0f * static_cast<float>(run->id));
    run->Reset();
  }
  EXPECT_EQ(pool.stats().completed, static_cast<size_t>(kRuns));
  Unload(session);
}

TEST_F(OnnxSessionTest, ARunThatIsOnOrWaitsCanBeCancelled) {
  // A second of work on one thread, in steps of well under a millisecond.
  const SessionPtr session = LoadChain(4000);
  InferencePool pool(1);
  auto sink = std::make_shared<CountingSink>(3);
  std::vector<std::shared_ptr<InferenceRun>> runs;
  for (uint32_t i = 0; i < 3; ++i) {
    runs.push_back(MakeRun(session, {128, 128}, 128 * 128, 0.0f, sink));
    runs.back()->id = i;
  }
  pool.Submit(runs);
  pool.Cancel(runs[1]);  // waits behind the first: comes back at once
  pool.Cancel(runs[0]);
  pool.Cancel(runs[0]);
  EXPECT_TRUE(pool.WaitFor(runs[0], SystemClock().Now() + test::kDeadline));
  const auto ends = sink->Wait();
  EXPECT_EQ(ends[0]->id, 1u);
  EXPECT_EQ(runs[0]->status.code(), ErrorCode::kRunCancelled);
  EXPECT_EQ(runs[1]->status.code(), ErrorCode::kRunCancelled);
  // The options that were used up do not stop the next run.
  EXPECT_TRUE(runs[2]->status.ok()) << runs[2]->status.ToString();
  for (const auto& run : runs) run->Reset();
  Unload(session);
}

TEST_F(OnnxSessionTest, APoolThatShutDownCancelsEverythingNowAndLater) {
  const SessionPtr session = LoadChain(4000);
  InferencePool pool(2);
  auto sink = std::make_shared<CountingSink>(6);
  std::vector<std::shared_ptr<InferenceRun>> runs;
  for (int i = 0; i < 6; ++i) {
    runs.push_back(MakeRun(session, {128, 128}, 128 * 128, 0.0f, sink));
  }
  const std::span<const std::shared_ptr<InferenceRun>> all(runs);
  pool.Submit(all.first(5));
  EXPECT_TRUE(pool.Shutdown(SystemClock().Now() + test::kDeadline));
  pool.Submit(all.last(1));
  for (const auto& run : sink->Wait()) {
    EXPECT_EQ(run->status.code(), ErrorCode::kRunCancelled);
    run->Reset();
  }
  Unload(session);
}

TEST_F(OnnxSessionTest, ARunObjectIsUsedAgain) {
  const SessionPtr session = LoadDouble();
  InferencePool pool(1);
  std::shared_ptr<InferenceRun> run;
  for (size_t size : {3u, 100000u, 2u}) {
    auto sink = std::make_shared<CountingSink>(1);
    run = MakeRun(session, {static_cast<double>(size)}, size, 4.0f, sink);
    pool.Submit({&run, 1});
    sink->Wait();
    ASSERT_TRUE(run->status.ok());
    EXPECT_EQ(run->result.tensor(0).byte_length, size * sizeof(float));
    EXPECT_EQ(FirstOf(run->result), 8.0f);
    run->Reset();
    EXPECT_EQ(run->result.size(), 0u);
    EXPECT_EQ(run->session, nullptr);
  }
  Unload(session);
}

TEST_F(OnnxSessionTest, ASessionThatIsDroppedIsFreedElsewhere) {
  // Nothing to see but no crash, no leak and no data race: the last share goes
  // on this thread, the model on the engine's.
  for (int i = 0; i < 10; ++i) LoadDouble().reset();
  Unload(LoadDouble());  // the engine's thread is done with them after this
}

}  // namespace
}  // namespace aspired
