// What a model says of one input or output, and the checks of a feed against
// it.
#ifndef ASPIRED_ENGINE_VALUE_INFO_H_
#define ASPIRED_ENGINE_VALUE_INFO_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/status.h"

namespace aspired {

// Immutable once the session exists.
struct ValueInfo {
  std::string name;
  // False for sequences, maps and the like, which have no type and no dims.
  bool is_tensor = true;
  int type = 0;  // TensorType
  // -1 where the size is free; its symbol, or "", at the same place in symbols.
  // Empty for a scalar, and also where the model gives no shape.
  std::vector<int64_t> dims;
  std::vector<std::string> symbols;

  // "\"x\" (float32 [batch, 4])".
  std::string ToString() const;
};

// One tensor on its way in. Points to memory that its owner keeps until the
// run is over.
struct Feed {
  uint32_t input = 0;  // index of the input
  int type = 0;
  // Sizes as JavaScript gave them: anything but an integer >= 0 is refused.
  std::span<const double> dims;
  const void* data = nullptr;
  size_t byte_length = 0;
  const std::vector<std::string>* strings = nullptr;  // for string tensors
  bool borrowed = false;  // data is memory of JavaScript, not of the run
};

// OK when the feed is what `info` describes. The message names the input, what
// it takes and what came.
Status CheckFeed(const ValueInfo& info, const Feed& feed);

// The error for a set of feed names that is not exactly the inputs' (or OK):
// unknown names first, then missing ones.
Status CheckFeedNames(std::span<const ValueInfo> inputs,
                      std::span<const std::string> names);

// The error for a name that no output has.
Status UnknownOutput(std::span<const ValueInfo> outputs,
                     const std::string& name);

}  // namespace aspired

#endif  // ASPIRED_ENGINE_VALUE_INFO_H_
