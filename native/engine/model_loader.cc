#include "engine/model_loader.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/engine_activity.h"
#include "engine/engine_thread.h"
#include "engine/schedule_or.h"
#include "engine/session_threads.h"
#include "engine/tensor_type.h"

namespace aspired {
namespace {

Status LoadCancelled() {
  return Status(ErrorCode::kLoadCancelled, "The load was cancelled.");
}

Status WarmUp(const OnnxSession& session, const OwnedFeeds& owned) {
  if (Status status = CheckFeedNames(session.inputs(), owned.names);
      !status.ok()) {
    return status;
  }
  std::vector<Feed> feeds;
  for (size_t i = 0; i < owned.names.size(); ++i) {
    const auto input = std::find_if(
        session.inputs().begin(), session.inputs().end(),
        [&](const ValueInfo& info) { return info.name == owned.names[i]; });
    const OwnedTensor& tensor = owned.tensors[i];
    Feed feed;
    feed.input =
        static_cast<uint32_t>(std::distance(session.inputs().begin(), input));
    feed.type = tensor.type;
    feed.dims = tensor.dims;
    feed.data = tensor.words.data();
    feed.byte_length = tensor.byte_length;
    if (tensor.type == static_cast<int>(TensorType::kString)) {
      feed.strings = &tensor.strings;
    }
    feeds.push_back(feed);
  }
  RunResult result;
  return session.Run(feeds, session.tensor_outputs(), nullptr, &result);
}

// Frees the session, unless the process is ending: then it is left to the
// system, because freeing it would race with the runtime's own end.
void Destroy(OnnxSession* session) {
  const EngineActivity::Scope scope(nullptr);
  if (scope.began()) session->Destroy();
}

// Whoever drops the last share of a session may be the event loop, or a
// garbage collection: freeing it is work for a thread of ours.
void DestroyLater(OnnxSession* session) {
  EngineThread()->Schedule([session] {
    Destroy(session);
    if (session->destroyed()) delete session;
  });
}

ModelLoadOutcome Load(const LoadRequest& request,
                      const std::shared_ptr<LoadCancellation>& cancellation) {
  ModelLoadOutcome outcome;
  const EngineActivity::Scope scope(cancellation);
  if (!scope.began() || cancellation->cancelled()) {
    outcome.status = LoadCancelled();
    return outcome;
  }
  const OrtRuntime* runtime = nullptr;
  outcome.status = OrtRuntime::Load(request.runtime_path, &runtime);
  std::unique_ptr<OnnxSession> session;
  if (outcome.status.ok()) {
    outcome.status =
        OnnxSession::Create(*runtime, request.model_path, request.options,
                            cancellation.get(), &session);
  }
  for (size_t i = 0; i < request.warmups.size() && outcome.status.ok(); ++i) {
    if (cancellation->cancelled()) break;
    outcome.warmup = WarmUp(*session, request.warmups[i]);
    if (outcome.warmup.ok()) continue;
    outcome.status = Status(ErrorCode::kWarmupFailed,
                            "warmupInputs[" + std::to_string(i) + "] failed: " +
                                std::string(outcome.warmup.message()));
  }
  // A load that won the race against its cancellation is cancelled all the
  // same. The session dies here, on the load thread.
  if (cancellation->cancelled()) outcome.status = LoadCancelled();
  if (outcome.status.ok()) {
    outcome.session =
        std::shared_ptr<OnnxSession>(session.release(), &DestroyLater);
  }
  return outcome;
}

}  // namespace

void LoadModel(LoadRequest request,
               std::shared_ptr<LoadCancellation> cancellation,
               std::shared_ptr<Executor> executor,
               std::function<void(ModelLoadOutcome)> done) {
  if (executor == nullptr) executor = EngineThread();
  if (request.options.intra_op_threads > 1 ||
      request.options.inter_op_threads > 1) {
    PrepareSessionThreads();
  }
  auto shared = std::make_shared<const LoadRequest>(std::move(request));
  ScheduleOr(
      *executor,
      [shared, cancellation, done] { done(Load(*shared, cancellation)); },
      [done] {
        done(ModelLoadOutcome{LoadCancelled(), Status(), nullptr});
      });
}

void UnloadModel(std::shared_ptr<OnnxSession> session,
                 std::shared_ptr<Executor> executor,
                 std::function<void()> done) {
  if (executor == nullptr) executor = EngineThread();
  OnnxSession* closing = session.get();
  closing->Close([session, executor, done] {
    const auto destroy = [session, done] {
      Destroy(session.get());
      done();
    };
    ScheduleOr(*executor, destroy,
               [destroy] { EngineThread()->Schedule(destroy); });
  });
}

}  // namespace aspired
