// Loading and unloading a model on somebody's thread.
//
// Both take the executor of whoever asks (a manager's load or unload threads)
// and share its ownership for as long as they need it; without one they use a
// thread of the engine's own ("aspired-onnx-0", below normal priority).
#ifndef ASPIRED_ENGINE_MODEL_LOADER_H_
#define ASPIRED_ENGINE_MODEL_LOADER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "concurrency/executor.h"
#include "core/status.h"
#include "engine/load_cancellation.h"
#include "engine/onnx_session.h"

namespace aspired {

// A tensor that owns its memory.
struct OwnedTensor {
  int type = 0;
  std::vector<double> dims;
  std::vector<uint64_t> words;  // 8-byte aligned storage of byte_length bytes
  size_t byte_length = 0;
  std::vector<std::string> strings;
};

// The feeds of one run by name, before there is a session.
struct OwnedFeeds {
  std::vector<std::string> names;
  std::vector<OwnedTensor> tensors;  // same length
};

struct LoadRequest {
  std::string runtime_path;
  std::string model_path;
  OnnxSessionOptions options;
  std::vector<OwnedFeeds> warmups;
};

struct ModelLoadOutcome {
  Status status;
  // Why the warm-up failed, when status is kWarmupFailed.
  Status warmup;
  // Null unless status is OK. Its last share may be dropped anywhere: what is
  // still loaded then is freed on the engine's own thread.
  std::shared_ptr<OnnxSession> session;
};

// Loads on a thread of `executor`: opens the runtime, creates the session, runs
// the warm-ups. `done` is called once, on that thread, or on the one that drops
// the task when the executor shuts down first. Called on a thread of normal
// priority (see session_threads.h). After `cancellation` fired the
// outcome is kLoadCancelled and no session is left.
void LoadModel(LoadRequest request,
               std::shared_ptr<LoadCancellation> cancellation,
               std::shared_ptr<Executor> executor,
               std::function<void(ModelLoadOutcome)> done);

// Closes the session and, when its last use is over, frees it on a thread of
// `executor`. Then calls `done`. Once the process is ending, models are left to
// the system.
void UnloadModel(std::shared_ptr<OnnxSession> session,
                 std::shared_ptr<Executor> executor,
                 std::function<void()> done);

}  // namespace aspired

#endif  // ASPIRED_ENGINE_MODEL_LOADER_H_
