// Element types of tensors, numbered as ONNX numbers them.
#ifndef ASPIRED_ENGINE_TENSOR_TYPE_H_
#define ASPIRED_ENGINE_TENSOR_TYPE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace aspired {

enum class TensorType : int {
  kUndefined = 0,
  kFloat32 = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kFloat64 = 11,
  kUint32 = 12,
  kUint64 = 13,
};

// "float32", the spelling of onnxruntime-common; types that JavaScript has no
// array for keep their ONNX names ("bfloat16"); an unknown number is "unknown".
std::string_view TensorTypeName(int type);

// Bytes of one element; 0 for strings and for types we do not carry.
size_t TensorElementSize(int type);

// Whether feeds and results may have this type.
bool IsCarriedTensorType(int type);

}  // namespace aspired

#endif  // ASPIRED_ENGINE_TENSOR_TYPE_H_
