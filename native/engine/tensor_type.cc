#include "engine/tensor_type.h"

#include <iterator>

namespace aspired {
namespace {

struct Row {
  std::string_view name;
  size_t size;  // 0: not carried, but for strings
};

// By ONNX number.
constexpr Row kRows[] = {
    {"undefined", 0},      {"float32", 4},    {"uint8", 1},
    {"int8", 1},           {"uint16", 2},     {"int16", 2},
    {"int32", 4},          {"int64", 8},      {"string", 0},
    {"bool", 1},           {"float16", 2},    {"float64", 8},
    {"uint32", 4},         {"uint64", 8},     {"complex64", 0},
    {"complex128", 0},     {"bfloat16", 0},   {"float8e4m3fn", 0},
    {"float8e4m3fnuz", 0}, {"float8e5m2", 0}, {"float8e5m2fnuz", 0},
    {"uint4", 0},          {"int4", 0},       {"float4e2m1", 0},
};

}  // namespace

std::string_view TensorTypeName(int type) {
  if (type < 0 || static_cast<size_t>(type) >= std::size(kRows)) {
    return "unknown";
  }
  return kRows[type].name;
}

size_t TensorElementSize(int type) {
  if (type < 0 || static_cast<size_t>(type) >= std::size(kRows)) return 0;
  return kRows[type].size;
}

bool IsCarriedTensorType(int type) {
  return type == static_cast<int>(TensorType::kString) ||
         TensorElementSize(type) > 0;
}

}  // namespace aspired
