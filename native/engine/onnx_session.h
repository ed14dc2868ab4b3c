// OnnxSession: one loaded model.
//
// Made from a path, never from bytes or a mapping: the runtime then needs the
// file's size once, not twice. Run() may be called from many threads at once.
//
// Use is counted. TryAcquire() before a run, Release() after it; Close() lets
// the runs that began end, refuses later ones, and calls back once, when the
// last use is over (at once when there is none). Only then may Destroy() give
// the model back. A session that dies without Destroy() does it in its
// destructor.
//
// Thread-safe.
#ifndef ASPIRED_ENGINE_ONNX_SESSION_H_
#define ASPIRED_ENGINE_ONNX_SESSION_H_

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/status.h"
#include "engine/load_cancellation.h"
#include "engine/ort_runtime.h"
#include "engine/run_result.h"
#include "engine/value_info.h"

namespace aspired {

using NameAndValue = std::pair<std::string, std::string>;

struct ExecutionProvider {
  std::string name;  // "cpu", "cuda", or a name the runtime knows
  std::vector<NameAndValue> options;
};

struct OnnxSessionOptions {
  // In order of preference; the CPU comes last, named or not.
  std::vector<ExecutionProvider> providers;
  // Threads inside one run. 1 starts no thread; more never spin.
  int intra_op_threads = 1;
  int inter_op_threads = 1;
  // GraphOptimizationLevel: 0 none, 1 basic, 2 extended, 99 all.
  int graph_optimization_level = 99;
  bool cpu_mem_arena = true;
  std::vector<NameAndValue> config;
};

class OnnxSession {
 public:
  // Blocks for as long as the runtime needs. kLoadCancelled when `cancellation`
  // said so in time.
  static Status Create(const OrtRuntime& runtime, const std::string& path,
                       const OnnxSessionOptions& options,
                       LoadCancellation* cancellation,
                       std::unique_ptr<OnnxSession>* out);
  ~OnnxSession();

  OnnxSession(const OnnxSession&) = delete;
  OnnxSession& operator=(const OnnxSession&) = delete;

  const OrtRuntime& runtime() const { return runtime_; }
  const std::vector<ValueInfo>& inputs() const { return inputs_; }
  const std::vector<ValueInfo>& outputs() const { return outputs_; }
  // Indexes of the outputs that are tensors: what a run answers by default.
  const std::vector<uint32_t>& tensor_outputs() const {
    return tensor_outputs_;
  }

  enum class Acquired { kYes, kClosed, kTooMany };
  // kTooMany when `limit` uses are on.
  Acquired TryAcquire(uint32_t limit);
  void Release();
  // `idle` is called on the thread whose use was the last. Must be called once.
  void Close(std::function<void()> idle);
  // Frees the model and gives the memory back to the system.
  // REQUIRES: no use is on.
  void Destroy();
  bool destroyed() const { return session_ == nullptr; }

  // Checks the feeds and runs. Blocks. `run_options` may be null. `feeds` must
  // name every input once; `outputs` holds valid indexes.
  // REQUIRES: acquired.
  Status Run(std::span<const Feed> feeds, std::span<const uint32_t> outputs,
             const ort::OrtRunOptions* run_options, RunResult* result) const;

 private:
  explicit OnnxSession(const OrtRuntime& runtime) : runtime_(runtime) {}
  Status ReadMetadata();
  Status ReadInfo(bool input, size_t index, ValueInfo* info);
  Status CheckFeeds(std::span<const Feed> feeds) const;

  static constexpr uint32_t kClosedBit = 1u << 31;

  const OrtRuntime& runtime_;
  ort::OrtSession* session_ = nullptr;
  std::vector<ValueInfo> inputs_;
  std::vector<ValueInfo> outputs_;
  std::vector<uint32_t> tensor_outputs_;
  // kClosedBit | uses. idle_ is written before the bit is set and read by the
  // one who sees the bit alone.
  std::atomic<uint32_t> uses_{0};
  std::function<void()> idle_;
};

}  // namespace aspired

#endif  // ASPIRED_ENGINE_ONNX_SESSION_H_
