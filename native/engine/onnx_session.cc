#include "engine/onnx_session.h"

#include <array>
#include <filesystem>
#include <utility>

#include "engine/heap.h"
#include "engine/session_options.h"

namespace aspired {
namespace {

Status LoadFailure(int code, const std::string& path,
                   const std::string& message) {
  if (code == ort::kOrtModelLoadCancelled) {
    return Status(ErrorCode::kLoadCancelled, "The load was cancelled.");
  }
  if (code == ort::kOrtNoSuchFile) {
    return Status(ErrorCode::kModelNotFound,
                  "No model at " + path + ": " + message);
  }
  // Memory that ran out says nothing about the model.
  if (message.find("bad_alloc") != std::string::npos) {
    return Status(ErrorCode::kLoadFailed,
                  "Out of memory while loading " + path + ": " + message);
  }
  return Status(ErrorCode::kModelInvalid,
                "The runtime cannot load " + path + ": " + message);
}

// Inputs and outputs of one run; on the stack for all but unusual models.
template <typename T>
class SmallArray {
 public:
  explicit SmallArray(size_t size)
      : heap_(size > kStack ? size : 0),
        data_(size > kStack ? heap_.data() : stack_.data()) {}
  T* data() { return data_; }
  T& operator[](size_t i) { return data_[i]; }

 private:
  static constexpr size_t kStack = 16;
  std::array<T, kStack> stack_{};
  std::vector<T> heap_;
  T* data_;
};

// The runtime's view of one feed. On failure `out` stays null.
ort::OrtStatus* MakeValue(const OrtRuntime& runtime, const Feed& feed,
                          ort::OrtValue** out) {
  const ort::OrtApi& api = runtime.api();
  SmallArray<int64_t> dims(feed.dims.size());
  for (size_t i = 0; i < feed.dims.size(); ++i) {
    dims[i] = static_cast<int64_t>(feed.dims[i]);
  }
  if (feed.strings == nullptr) {
    // The runtime refuses a null pointer even for no bytes, and only reads.
    static const uint64_t kNothing = 0;
    const void* data = feed.data != nullptr ? feed.data : &kNothing;
    return api.CreateTensorWithDataAsOrtValue(
        runtime.cpu_memory(), const_cast<void*>(data), feed.byte_length,
        dims.data(), feed.dims.size(), feed.type, out);
  }
  ort::OrtStatus* failure = api.CreateTensorAsOrtValue(
      runtime.allocator(), dims.data(), feed.dims.size(), feed.type, out);
  if (failure != nullptr || feed.strings->empty()) return failure;
  std::vector<const char*> texts;
  texts.reserve(feed.strings->size());
  for (const std::string& text : *feed.strings) texts.push_back(text.c_str());
  failure = api.FillStringTensor(*out, texts.data(), texts.size());
  if (failure != nullptr) {
    api.ReleaseValue(*out);
    *out = nullptr;
  }
  return failure;
}

}  // namespace

Status OnnxSession::Create(const OrtRuntime& runtime, const std::string& path,
                           const OnnxSessionOptions& options,
                           LoadCancellation* cancellation,
                           std::unique_ptr<OnnxSession>* out) {
  NativeSessionOptions native(runtime);
  if (Status status = native.Apply(options); !status.ok()) return status;
  if (cancellation->cancelled()) {
    return LoadFailure(ort::kOrtModelLoadCancelled, path, "");
  }
  std::unique_ptr<OnnxSession> session(new OnnxSession(runtime));
  cancellation->Bind([&native] { native.Cancel(); });
#if defined(_WIN32)
  const std::filesystem::path native_path = std::filesystem::u8path(path);
#else
  const std::filesystem::path native_path(path);
#endif
  ort::OrtStatus* failure = runtime.api().CreateSession(
      runtime.env(), native_path.c_str(), native.get(), &session->session_);
  cancellation->Unbind();
  std::string message;
  if (const int code = runtime.Consume(failure, &message); code != 0) {
    TrimHeap();  // a failed load must not keep the memory of a good one
    return LoadFailure(code, path, message);
  }
  if (Status status = session->ReadMetadata(); !status.ok()) return status;
  *out = std::move(session);
  return Status::Ok();
}

OnnxSession::~OnnxSession() { Destroy(); }

void OnnxSession::Destroy() {
  if (session_ == nullptr) return;
  runtime_.api().ReleaseSession(std::exchange(session_, nullptr));
  TrimHeap();
}

Status OnnxSession::ReadMetadata() {
  size_t num_inputs = 0;
  size_t num_outputs = 0;
  ort::OrtStatus* failure =
      runtime_.api().SessionGetInputCount(session_, &num_inputs);
  if (failure == nullptr) {
    failure = runtime_.api().SessionGetOutputCount(session_, &num_outputs);
  }
  if (failure != nullptr) {
    return runtime_.ToStatus(ErrorCode::kModelInvalid, failure);
  }
  inputs_.resize(num_inputs);
  outputs_.resize(num_outputs);
  Status status;
  for (size_t i = 0; i < num_inputs && status.ok(); ++i) {
    status = ReadInfo(/*input=*/true, i, &inputs_[i]);
  }
  for (size_t i = 0; i < num_outputs && status.ok(); ++i) {
    status = ReadInfo(/*input=*/false, i, &outputs_[i]);
    if (outputs_[i].is_tensor) {
      tensor_outputs_.push_back(static_cast<uint32_t>(i));
    }
  }
  return status;
}

Status OnnxSession::ReadInfo(bool input, size_t index, ValueInfo* info) {
  const ort::OrtApi& api = runtime_.api();
  char* name = nullptr;
  ort::OrtTypeInfo* type = nullptr;
  ort::OrtStatus* failure =
      input ? api.SessionGetInputName(session_, index, runtime_.allocator(),
                                      &name)
            : api.SessionGetOutputName(session_, index, runtime_.allocator(),
                                       &name);
  if (failure == nullptr) {
    info->name = name;
    failure = api.AllocatorFree(runtime_.allocator(), name);
  }
  if (failure == nullptr) {
    failure = input ? api.SessionGetInputTypeInfo(session_, index, &type)
                    : api.SessionGetOutputTypeInfo(session_, index, &type);
  }
  int kind = 0;
  if (failure == nullptr) failure = api.GetOnnxTypeFromTypeInfo(type, &kind);
  const ort::OrtTensorTypeAndShapeInfo* shape = nullptr;  // part of `type`
  if (failure == nullptr && kind == ort::kOnnxTypeTensor) {
    failure = api.CastTypeInfoToTensorInfo(type, &shape);
  }
  info->is_tensor = shape != nullptr;
  size_t rank = 0;
  if (failure == nullptr && shape != nullptr) {
    failure = api.GetTensorElementType(shape, &info->type);
    if (failure == nullptr) failure = api.GetDimensionsCount(shape, &rank);
    info->dims.resize(rank);
    std::vector<const char*> symbols(rank, "");
    if (failure == nullptr) {
      failure = api.GetDimensions(shape, info->dims.data(), rank);
    }
    if (failure == nullptr) {
      failure = api.GetSymbolicDimensions(shape, symbols.data(), rank);
    }
    info->symbols.assign(symbols.begin(), symbols.end());
  }
  if (type != nullptr) api.ReleaseTypeInfo(type);
  return runtime_.ToStatus(ErrorCode::kModelInvalid, failure);
}

OnnxSession::Acquired OnnxSession::TryAcquire(uint32_t limit) {
  uint32_t uses = uses_.load(std::memory_order_relaxed);
  while (true) {
    if ((uses & kClosedBit) != 0) return Acquired::kClosed;
    if (uses >= limit) return Acquired::kTooMany;
    if (uses_.compare_exchange_weak(uses, uses + 1,
                                    std::memory_order_acquire)) {
      return Acquired::kYes;
    }
  }
}

void OnnxSession::Release() {
  if (uses_.fetch_sub(1, std::memory_order_acq_rel) != (kClosedBit | 1)) {
    return;
  }
  std::exchange(idle_, nullptr)();
}

void OnnxSession::Close(std::function<void()> idle) {
  idle_ = std::move(idle);
  if (uses_.fetch_or(kClosedBit, std::memory_order_acq_rel) == 0) {
    std::exchange(idle_, nullptr)();
  }
}

Status OnnxSession::CheckFeeds(std::span<const Feed> feeds) const {
  for (const Feed& feed : feeds) {
    if (feed.input >= inputs_.size()) {
      return Status(ErrorCode::kInternal, "A feed has no input.");
    }
    if (Status status = CheckFeed(inputs_[feed.input], feed); !status.ok()) {
      return status;
    }
  }
  return Status::Ok();
}

Status OnnxSession::Run(std::span<const Feed> feeds,
                        std::span<const uint32_t> outputs,
                        const ort::OrtRunOptions* run_options,
                        RunResult* result) const {
  if (Status status = CheckFeeds(feeds); !status.ok()) return status;
  const ort::OrtApi& api = runtime_.api();
  SmallArray<const char*> input_names(feeds.size());
  SmallArray<ort::OrtValue*> inputs(feeds.size());
  SmallArray<const char*> output_names(outputs.size());
  SmallArray<ort::OrtValue*> values(outputs.size());
  ort::OrtStatus* failure = nullptr;
  for (size_t i = 0; i < feeds.size() && failure == nullptr; ++i) {
    input_names[i] = inputs_[feeds[i].input].name.c_str();
    failure = MakeValue(runtime_, feeds[i], &inputs[i]);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    output_names[i] = outputs_[outputs[i]].name.c_str();
  }
  if (failure == nullptr) {
    failure = api.Run(session_, run_options, input_names.data(), inputs.data(),
                      feeds.size(), output_names.data(), outputs.size(),
                      values.data());
  }
  for (size_t i = 0; i < feeds.size(); ++i) {
    if (inputs[i] != nullptr) api.ReleaseValue(inputs[i]);
  }
  std::string message;
  const int code = runtime_.Consume(failure, &message);
  if (code != 0) {
    // What the runtime calls an invalid argument is a shape we could not know.
    return Status(code == ort::kOrtInvalidArgument ? ErrorCode::kInvalidInput
                                                   : ErrorCode::kRunFailed,
                  message);
  }
  Status status;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (values[i] == nullptr) {
      status = Status(
          ErrorCode::kRunFailed,
          "Output \"" + outputs_[outputs[i]].name + "\" came out empty.");
    } else if (status.ok()) {
      status = result->Add(runtime_, outputs[i], values[i]);
    } else {
      api.ReleaseValue(values[i]);
    }
  }
  return status;
}

}  // namespace aspired
