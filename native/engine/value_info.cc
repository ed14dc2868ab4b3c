#include "engine/value_info.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "engine/tensor_type.h"

namespace aspired {
namespace {

std::string Quoted(const std::string& name) { return "\"" + name + "\""; }

Status Invalid(std::string message) {
  return Status(ErrorCode::kInvalidInput, std::move(message));
}

std::string NumberText(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

std::string DimsText(std::span<const double> dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) text += ", ";
    text += NumberText(dims[i]);
  }
  return text + "]";
}

std::string ShapeText(const ValueInfo& info) {
  std::string text = "[";
  for (size_t i = 0; i < info.dims.size(); ++i) {
    if (i > 0) text += ", ";
    if (info.dims[i] >= 0) {
      text += std::to_string(info.dims[i]);
    } else {
      text += info.symbols[i].empty() ? "?" : info.symbols[i];
    }
  }
  return text + "]";
}

std::string ListText(std::span<const ValueInfo> infos) {
  std::string text;
  for (const ValueInfo& info : infos) {
    if (!text.empty()) text += ", ";
    text += info.ToString();
  }
  return text.empty() ? "nothing" : text;
}

// Elements of the dims; false when one is no size or the product overflows.
bool CountElements(std::span<const double> dims, uint64_t* count) {
  *count = 1;
  bool empty = false;
  for (double dim : dims) {
    if (!(dim >= 0) || dim > 9007199254740991.0 || dim != std::floor(dim)) {
      return false;
    }
    const uint64_t size = static_cast<uint64_t>(dim);
    if (size == 0) {
      empty = true;
    } else if (*count > std::numeric_limits<int64_t>::max() / size / 8) {
      return false;
    } else {
      *count *= size;
    }
  }
  if (empty) *count = 0;
  return true;
}

// The runtime takes strings that end at the first zero byte.
bool HasZeroByte(const std::vector<std::string>& strings) {
  return std::any_of(strings.begin(), strings.end(), [](const auto& text) {
    return text.find('\0') != std::string::npos;
  });
}

bool ShapeFits(const ValueInfo& info, std::span<const double> dims) {
  // No dims can mean "scalar" or "no shape given": the runtime knows.
  if (info.dims.empty()) return true;
  if (info.dims.size() != dims.size()) return false;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (info.dims[i] >= 0 && static_cast<double>(info.dims[i]) != dims[i]) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string ValueInfo::ToString() const {
  if (!is_tensor) return Quoted(name) + " (not a tensor)";
  return Quoted(name) + " (" + std::string(TensorTypeName(type)) + " " +
         ShapeText(*this) + ")";
}

Status CheckFeed(const ValueInfo& info, const Feed& feed) {
  const std::string input = "Input " + Quoted(info.name);
  if (!info.is_tensor) {
    return Invalid(input +
                   " of the model is no tensor, and only tensors can "
                   "be fed.");
  }
  if (feed.type != info.type) {
    return Invalid(input + " takes " + std::string(TensorTypeName(info.type)) +
                   ", but received " + std::string(TensorTypeName(feed.type)) +
                   ".");
  }
  if (!IsCarriedTensorType(feed.type)) {
    return Invalid(input + " has type " +
                   std::string(TensorTypeName(feed.type)) +
                   ", which cannot be fed from JavaScript.");
  }
  uint64_t count = 0;
  if (!CountElements(feed.dims, &count)) {
    return Invalid(input + " received dims " + DimsText(feed.dims) +
                   "; each must be an integer >= 0, and together they must be "
                   "not more elements than memory can hold.");
  }
  if (!ShapeFits(info, feed.dims)) {
    return Invalid(input + " takes shape " + ShapeText(info) +
                   ", but received " + DimsText(feed.dims) + ".");
  }
  const size_t size = TensorElementSize(feed.type);
  const uint64_t given = feed.strings != nullptr ? feed.strings->size()
                         : size > 0              ? feed.byte_length / size
                                                 : 0;
  if (given != count) {
    return Invalid(input + " received dims " + DimsText(feed.dims) +
                   ", which is " + std::to_string(count) +
                   " elements, but its data holds " + std::to_string(given) +
                   (given == 0 ? " (was its buffer transferred away?)." : "."));
  }
  if (feed.strings != nullptr && HasZeroByte(*feed.strings)) {
    return Invalid(input + " received a string that contains a zero byte.");
  }
  return Status::Ok();
}

Status CheckFeedNames(std::span<const ValueInfo> inputs,
                      std::span<const std::string> names) {
  for (const std::string& name : names) {
    const bool known =
        std::any_of(inputs.begin(), inputs.end(),
                    [&](const ValueInfo& info) { return info.name == name; });
    if (!known) {
      return Invalid("The model has no input " + Quoted(name) + ". It takes " +
                     ListText(inputs) + ".");
    }
  }
  for (const ValueInfo& info : inputs) {
    if (std::find(names.begin(), names.end(), info.name) == names.end()) {
      return Invalid("The feeds lack input " + info.ToString() + ".");
    }
  }
  return Status::Ok();
}

Status UnknownOutput(std::span<const ValueInfo> outputs,
                     const std::string& name) {
  for (const ValueInfo& info : outputs) {
    if (info.name == name) {
      return Invalid("Output " + Quoted(name) +
                     " of the model is no tensor, and only tensors are "
                     "answered.");
    }
  }
  return Invalid("The model has no output " + Quoted(name) + ". It gives " +
                 ListText(outputs) + ".");
}

}  // namespace aspired
