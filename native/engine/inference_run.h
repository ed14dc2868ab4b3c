// InferenceRun: one run of a session on the inference pool.
#ifndef ASPIRED_ENGINE_INFERENCE_RUN_H_
#define ASPIRED_ENGINE_INFERENCE_RUN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/status.h"
#include "engine/onnx_session.h"
#include "engine/run_result.h"

namespace aspired {

struct InferenceRun;

// Gets a run back when it is over. Called on a thread of the pool, with no lock
// held; must be short.
class RunSink {
 public:
  virtual ~RunSink() = default;
  virtual void OnDone(std::shared_ptr<InferenceRun> run) = 0;
};

// Belongs to one thread at a time: to its maker until Submit(), to the pool
// until OnDone(), then to the maker again, who may use it for another run.
struct InferenceRun {
  // Set by the maker.
  uint32_t id = 0;
  std::shared_ptr<OnnxSession> session;  // acquired
  std::shared_ptr<RunSink> sink;
  std::vector<Feed> feeds;
  std::vector<uint32_t> outputs;
  // Memory that the feeds may point into.
  std::vector<double> dims;
  std::vector<uint64_t> words;  // copied data; 8-byte aligned
  std::vector<std::vector<std::string>> strings;
  // A feed points into memory that this object does not own.
  bool borrows = false;

  // Set by the pool.
  Status status;
  RunResult result;

  // The pool's own; guarded by its mutex.
  enum class State { kIdle, kQueued, kRunning };
  State state = State::kIdle;
  bool cancelled = false;
  ort::OrtRunOptions* run_options = nullptr;  // while kRunning

  // Forgets the run that was; keeps small buffers. Releases the session.
  // REQUIRES: owned by the maker.
  void Reset();
};

}  // namespace aspired

#endif  // ASPIRED_ENGINE_INFERENCE_RUN_H_
