// Small ONNX models, written by hand, and the runtime to load them with.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_ONNX_MODEL_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_ONNX_MODEL_H_

#include <string>

namespace aspired::test {

// Path of an ONNX Runtime library: $ASPIRED_ONNX_RUNTIME, or the one below
// node_modules of this folder or one above. Empty when there is none.
std::string FindOnnxRuntime();

// Writes a model into the folder for temporary files; answers its path.
//   "double": y = x + x, x float32 [n]
//   "chain":  y = x * x * x ... (matrix products), x float32 [n, n]
//   "sequence": y = x + x, and s, the sequence that holds x alone
std::string WriteDoubleModel();
std::string WriteSequenceModel();
std::string WriteChainModel(int length);

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_ONNX_MODEL_H_
