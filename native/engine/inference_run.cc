#include "engine/inference_run.h"

#include <utility>

namespace aspired {
namespace {

// Buffers above this size are not kept for the next run.
constexpr size_t kKeptBytes = 64 * 1024;

}  // namespace

void InferenceRun::Reset() {
  result.Clear();  // before the session it came from can go
  feeds.clear();
  outputs.clear();
  dims.clear();
  strings.clear();
  if (words.capacity() * sizeof(uint64_t) > kKeptBytes) {
    std::vector<uint64_t>().swap(words);
  }
  words.clear();
  borrows = false;
  cancelled = false;
  status = Status();
  sink = nullptr;
  if (session != nullptr) std::exchange(session, nullptr)->Release();
}

}  // namespace aspired
