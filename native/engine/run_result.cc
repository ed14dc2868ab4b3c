#include "engine/run_result.h"

#include <cstring>

#include "engine/tensor_type.h"

namespace aspired {

Status RunResult::Add(const OrtRuntime& runtime, uint32_t output,
                      ort::OrtValue* value) {
  runtime_ = &runtime;
  Entry entry{};
  entry.output = output;
  uint64_t count = 0;
  Status status = ReadShape(runtime, value, &entry, &count);
  if (status.ok()) {
    status = entry.type == static_cast<int>(TensorType::kString)
                 ? AddStrings(runtime, value, count, &entry)
                 : AddData(runtime, value, count, &entry);
  }
  if (entry.value == nullptr) runtime.api().ReleaseValue(value);
  if (status.ok()) entries_.push_back(entry);
  return status;
}

Status RunResult::ReadShape(const OrtRuntime& runtime, ort::OrtValue* value,
                            Entry* entry, uint64_t* count) {
  const ort::OrtApi& api = runtime.api();
  ort::OrtTensorTypeAndShapeInfo* info = nullptr;
  ort::OrtStatus* failure = api.GetTensorTypeAndShape(value, &info);
  if (failure == nullptr) {
    failure = api.GetTensorElementType(info, &entry->type);
  }
  if (failure == nullptr) {
    failure = api.GetDimensionsCount(info, &entry->rank);
  }
  if (failure == nullptr) {
    entry->dims_begin = dims_.size();
    dims_.resize(dims_.size() + entry->rank);
    failure =
        api.GetDimensions(info, dims_.data() + entry->dims_begin, entry->rank);
  }
  api.ReleaseTensorTypeAndShapeInfo(info);
  if (failure != nullptr) {
    return runtime.ToStatus(ErrorCode::kRunFailed, failure);
  }
  *count = 1;
  for (size_t i = 0; i < entry->rank; ++i) {
    *count *= static_cast<uint64_t>(dims_[entry->dims_begin + i]);
  }
  if (!IsCarriedTensorType(entry->type)) {
    return Status(ErrorCode::kRunFailed,
                  "An output has type " +
                      std::string(TensorTypeName(entry->type)) +
                      ", which JavaScript has no array for.");
  }
  return Status::Ok();
}

Status RunResult::AddStrings(const OrtRuntime& runtime, ort::OrtValue* value,
                             uint64_t count, Entry* entry) {
  const ort::OrtApi& api = runtime.api();
  entry->strings_begin = strings_.size();
  entry->strings_count = count;
  if (count == 0) return Status::Ok();
  size_t length = 0;
  if (ort::OrtStatus* failure = api.GetStringTensorDataLength(value, &length)) {
    return runtime.ToStatus(ErrorCode::kRunFailed, failure);
  }
  std::string text(length, '\0');
  std::vector<size_t> offsets(count);
  if (ort::OrtStatus* failure = api.GetStringTensorContent(
          value, text.data(), length, offsets.data(), count)) {
    return runtime.ToStatus(ErrorCode::kRunFailed, failure);
  }
  for (size_t i = 0; i < count; ++i) {
    const size_t end = i + 1 < count ? offsets[i + 1] : length;
    strings_.push_back(text.substr(offsets[i], end - offsets[i]));
  }
  return Status::Ok();
}

Status RunResult::AddData(const OrtRuntime& runtime, ort::OrtValue* value,
                          uint64_t count, Entry* entry) {
  entry->byte_length = count * TensorElementSize(entry->type);
  if (entry->byte_length == 0) return Status::Ok();
  void* data = nullptr;
  if (ort::OrtStatus* failure =
          runtime.api().GetTensorMutableData(value, &data)) {
    return runtime.ToStatus(ErrorCode::kRunFailed, failure);
  }
  if (entry->byte_length > kInlineBytes) {
    entry->value = value;
    entry->value_data = data;
    return Status::Ok();
  }
  entry->bytes_begin = bytes_.size();
  bytes_.resize(bytes_.size() + entry->byte_length);
  std::memcpy(bytes_.data() + entry->bytes_begin, data, entry->byte_length);
  return Status::Ok();
}

RunResult::Tensor RunResult::tensor(size_t index) const {
  const Entry& entry = entries_[index];
  Tensor tensor;
  tensor.output = entry.output;
  tensor.type = entry.type;
  tensor.dims = {dims_.data() + entry.dims_begin, entry.rank};
  tensor.byte_length = entry.byte_length;
  tensor.strings = {strings_.data() + entry.strings_begin, entry.strings_count};
  if (entry.value != nullptr) {
    tensor.data = entry.value_data;
  } else if (entry.byte_length > 0) {
    tensor.data = bytes_.data() + entry.bytes_begin;
  }
  return tensor;
}

void RunResult::Clear() {
  for (const Entry& entry : entries_) {
    if (entry.value != nullptr) runtime_->api().ReleaseValue(entry.value);
  }
  entries_.clear();
  dims_.clear();
  bytes_.clear();
  strings_.clear();
}

}  // namespace aspired
