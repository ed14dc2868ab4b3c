#include "engine/session_options.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/session_threads.h"

namespace aspired {
namespace {

Status Refused(const std::string& option, const std::string& why) {
  return Status(ErrorCode::kInvalidArgument,
                "The runtime refused option " + option + ": " + why);
}

}  // namespace

NativeSessionOptions::~NativeSessionOptions() {
  if (options_ != nullptr) runtime_.api().ReleaseSessionOptions(options_);
}

Status NativeSessionOptions::Apply(const OnnxSessionOptions& options) {
  const ort::OrtApi& api = runtime_.api();
  std::string why;
  if (runtime_.Consume(api.CreateSessionOptions(&options_), &why) != 0) {
    return Status(ErrorCode::kLoadFailed, why);
  }
  const auto set = [&](const std::string& name, ort::OrtStatus* failure) {
    return runtime_.Consume(failure, &why) == 0 ? Status::Ok()
                                                : Refused(name, why);
  };
  Status status =
      set("intraOpNumThreads",
          api.SetIntraOpNumThreads(options_, options.intra_op_threads));
  if (status.ok()) {
    status = set("interOpNumThreads",
                 api.SetInterOpNumThreads(options_, options.inter_op_threads));
  }
  if (status.ok()) {
    status = set("graphOptimizationLevel",
                 api.SetSessionGraphOptimizationLevel(
                     options_, options.graph_optimization_level));
  }
  if (status.ok() &&
      (options.intra_op_threads > 1 || options.inter_op_threads > 1)) {
    status = set("intraOpNumThreads", UseSessionThreads(runtime_, options_));
  }
  if (status.ok()) {
    // Its log goes to stderr; what matters comes back as a status.
    status = set("(log level)",
                 api.SetSessionLogSeverityLevel(options_, ort::kOrtLogFatal));
  }
  if (status.ok() && !options.cpu_mem_arena) {
    status = set("enableCpuMemArena", api.DisableCpuMemArena(options_));
  }
  // A pool that spins takes a core from the event loop for nothing.
  std::vector<NameAndValue> config = {{"session.intra_op.allow_spinning", "0"},
                                      {"session.inter_op.allow_spinning", "0"}};
  config.insert(config.end(), options.config.begin(), options.config.end());
  for (const auto& [key, value] : config) {
    if (!status.ok()) return status;
    status =
        set("sessionConfig[\"" + key + "\"]",
            api.AddSessionConfigEntry(options_, key.c_str(), value.c_str()));
  }
  for (const ExecutionProvider& provider : options.providers) {
    if (!status.ok()) return status;
    if (provider.name != "cpu") status = AppendProvider(provider);
  }
  return status;
}

Status NativeSessionOptions::AppendProvider(const ExecutionProvider& provider) {
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (const auto& [key, value] : provider.options) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  ort::OrtStatus* failure =
      provider.name == "cuda"
          ? AppendCuda(keys.data(), values.data(), keys.size())
          : runtime_.api().SessionOptionsAppendExecutionProvider(
                options_, provider.name.c_str(), keys.data(), values.data(),
                keys.size());
  std::string why;
  if (runtime_.Consume(failure, &why) == 0) return Status::Ok();
  std::string available;
  for (const std::string& name : runtime_.AvailableProviders()) {
    available += (available.empty() ? "" : ", ") + name;
  }
  return Status(ErrorCode::kInvalidArgument,
                "Execution provider \"" + provider.name +
                    "\" cannot be used: " + why + " This runtime (" +
                    runtime_.version() + ") was built with " + available + ".");
}

ort::OrtStatus* NativeSessionOptions::AppendCuda(const char* const* keys,
                                                 const char* const* values,
                                                 size_t count) {
  const ort::OrtApi& api = runtime_.api();
  ort::OrtCUDAProviderOptionsV2* cuda = nullptr;
  ort::OrtStatus* failure = api.CreateCUDAProviderOptions(&cuda);
  if (failure != nullptr) return failure;
  if (count > 0) {
    failure = api.UpdateCUDAProviderOptions(cuda, keys, values, count);
  }
  if (failure == nullptr) {
    failure = api.SessionOptionsAppendExecutionProvider_CUDA_V2(options_, cuda);
  }
  api.ReleaseCUDAProviderOptions(cuda);
  return failure;
}

void NativeSessionOptions::Cancel() {
  if (options_ == nullptr || !runtime_.can_cancel_loads()) return;
  std::string ignored;
  runtime_.Consume(
      runtime_.api().SessionOptionsSetLoadCancellationFlag(options_, true),
      &ignored);
}

}  // namespace aspired
