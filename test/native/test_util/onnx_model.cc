#include "native/test_util/onnx_model.h"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "gtest/gtest.h"

// The library allocates a name when it is opened and keeps it; not ours to
// free. LeakSanitizer asks for this function by its reserved name.
// Visible, or the shared library of the sanitizer does not find it.
extern "C" __attribute__((visibility("default"))) const char*
__lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libonnxruntime";
}
// The runtime ends a thread of its own while the process takes its memory
// down. It is not instrumented, and its races with itself are not ours.
extern "C" __attribute__((visibility("default"))) const char*
__tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:libonnxruntime.so\n";
}

namespace aspired::test {
namespace {

namespace fs = std::filesystem;

// Protocol buffers, as far as a model needs them.
std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes.push_back(static_cast<char>(value | 0x80));
  }
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string Number(int field, uint64_t value) {
  return Varint(static_cast<uint64_t>(field) << 3) + Varint(value);
}

std::string Bytes(int field, const std::string& bytes) {
  return Varint(static_cast<uint64_t>(field) << 3 | 2) + Varint(bytes.size()) +
         bytes;
}

std::string Node(const std::string& op, const std::vector<std::string>& inputs,
                 const std::string& output) {
  std::string node;
  for (const std::string& input : inputs) node += Bytes(1, input);
  return Bytes(1, node + Bytes(2, output) + Bytes(4, op));
}

// The type of a float32 tensor whose dims are all called "n".
std::string TensorOf(int rank) {
  std::string shape;
  for (int i = 0; i < rank; ++i) shape += Bytes(1, Bytes(2, "n"));
  return Bytes(1, Number(1, 1) + Bytes(2, shape));
}

std::string Value(int field, const std::string& name, const std::string& type) {
  return Bytes(field, Bytes(1, name) + Bytes(2, type));
}

std::string Model(const std::string& nodes, int rank,
                  const std::string& more_outputs = "") {
  const std::string graph = nodes + Bytes(2, "test") +
                            Value(11, "x", TensorOf(rank)) +
                            Value(12, "y", TensorOf(rank)) + more_outputs;
  return Number(1, 8) + Bytes(7, graph) + Bytes(8, Number(2, 13));
}

std::string Write(const std::string& name, const std::string& model) {
  const std::string path = testing::TempDir() + "aspired-" + name + "-" +
                           std::to_string(std::rand()) + ".onnx";
  std::ofstream(path, std::ios::binary) << model;
  return path;
}

}  // namespace

std::string FindOnnxRuntime() {
  if (const char* path = std::getenv("ASPIRED_ONNX_RUNTIME")) return path;
#if defined(__linux__)
#if defined(__aarch64__)
  const char* inside = "linux/arm64/libonnxruntime.so.1";
#else
  const char* inside = "linux/x64/libonnxruntime.so.1";
#endif
  for (fs::path at = fs::current_path();; at = at.parent_path()) {
    const fs::path file =
        at / "node_modules/onnxruntime-node/bin/napi-v6" / inside;
    std::error_code ignored;
    if (fs::exists(file, ignored)) return file.string();
    if (at == at.parent_path()) break;
  }
#endif
  return "";
}

std::string WriteDoubleModel() {
  return Write("double", Model(Node("Add", {"x", "x"}, "y"), 1));
}

std::string WriteSequenceModel() {
  const std::string sequence = Bytes(4, Bytes(1, TensorOf(1)));
  return Write("sequence", Model(Node("Add", {"x", "x"}, "y") +
                                     Node("SequenceConstruct", {"x"}, "s"),
                                 1, Value(12, "s", sequence)));
}

std::string WriteChainModel(int length) {
  std::string nodes;
  std::string last = "x";
  for (int i = 0; i < length; ++i) {
    const std::string next =
        i + 1 < length ? "h" + std::to_string(i) : std::string("y");
    nodes += Node("MatMul", {last, "x"}, next);
    last = next;
  }
  return Write("chain", Model(nodes, 2));
}

}  // namespace aspired::test
