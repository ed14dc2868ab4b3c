// RunResult: the tensors that a run answered, in a form that can be filled on
// one thread and emptied on another, and used again without allocating.
#ifndef ASPIRED_ENGINE_RUN_RESULT_H_
#define ASPIRED_ENGINE_RUN_RESULT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/status.h"
#include "engine/ort_runtime.h"

namespace aspired {

// Not thread-safe; handed over whole.
class RunResult {
 public:
  // Data up to this size is copied where the run ran, and the runtime's tensor
  // freed there. Larger data stays in the runtime's tensor until Clear(), so
  // that it is copied once.
  static constexpr size_t kInlineBytes = 4096;

  struct Tensor {
    uint32_t output = 0;  // index of the output
    int type = 0;
    std::span<const int64_t> dims;
    const void* data = nullptr;  // null for strings and for no elements
    size_t byte_length = 0;
    std::span<const std::string> strings;
  };

  RunResult() = default;
  ~RunResult() { Clear(); }

  RunResult(const RunResult&) = delete;
  RunResult& operator=(const RunResult&) = delete;

  // Takes `value` over, in every case.
  Status Add(const OrtRuntime& runtime, uint32_t output, ort::OrtValue* value);

  size_t size() const { return entries_.size(); }
  // Valid until the next Add() or Clear().
  Tensor tensor(size_t index) const;

  // Frees the runtime's tensors; keeps small buffers for the next run.
  void Clear();

 private:
  struct Entry {
    uint32_t output;
    int type;
    size_t dims_begin;
    size_t rank;
    size_t byte_length;
    size_t bytes_begin;    // in bytes_, when value is null
    ort::OrtValue* value;  // holds the data, or null
    const void* value_data;
    size_t strings_begin;
    size_t strings_count;
  };

  Status ReadShape(const OrtRuntime& runtime, ort::OrtValue* value,
                   Entry* entry, uint64_t* count);
  Status AddStrings(const OrtRuntime& runtime, ort::OrtValue* value,
                    uint64_t count, Entry* entry);
  Status AddData(const OrtRuntime& runtime, ort::OrtValue* value,
                 uint64_t count, Entry* entry);

  const OrtRuntime* runtime_ = nullptr;
  std::vector<Entry> entries_;
  std::vector<int64_t> dims_;
  std::vector<uint8_t> bytes_;
  std::vector<std::string> strings_;
};

}  // namespace aspired

#endif  // ASPIRED_ENGINE_RUN_RESULT_H_
