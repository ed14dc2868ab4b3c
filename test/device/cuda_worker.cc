#include "device/cuda_worker.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

extern char** environ;

namespace aspired {
namespace {

std::string PathOf(const std::string& path) {
  return path.empty() ? "libcuda.so.1" : path;
}

template <typename... Args>
void Call(const DynamicLibrary& library, const char* symbol, Args... args) {
  const auto function =
      reinterpret_cast<int (*)(Args...)>(library.Symbol(symbol));
  const int result = function == nullptr ? -1 : function(args...);
  if (result != 0) {
    throw std::runtime_error(std::string(symbol) + " answered " +
                             std::to_string(result));
  }
}

DynamicLibrary Open(const std::string& path) {
  std::string error;
  DynamicLibrary library(PathOf(path), &error);
  if (!library.is_open()) throw std::runtime_error(error);
  return library;
}

}  // namespace

CudaWorker::CudaWorker(const std::string& path, int ordinal)
    : library_(Open(path)) {
  void* context = nullptr;
  Call(library_, "cuInit", 0u);
  Call(library_, "cuDeviceGet", &device_, ordinal);
  Call(library_, "cuDevicePrimaryCtxRetain", &context, device_);
  Call(library_, "cuCtxPushCurrent_v2", context);
}

CudaWorker::~CudaWorker() {
  try {
    FreeAll();
    void* context = nullptr;
    Call(library_, "cuCtxPopCurrent_v2", &context);
    Call(library_, "cuDevicePrimaryCtxRelease_v2", device_);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
}

bool CudaWorker::HasContext(const std::string& path, int ordinal) {
  const DynamicLibrary library = Open(path);
  int device = 0;
  unsigned int flags = 0;
  int active = 0;
  Call(library, "cuInit", 0u);
  Call(library, "cuDeviceGet", &device, ordinal);
  Call(library, "cuDevicePrimaryCtxGetState", device, &flags, &active);
  return active != 0;
}

void CudaWorker::Allocate(uint64_t bytes) {
  uint64_t block = 0;
  Call(library_, "cuMemAlloc_v2", &block, static_cast<size_t>(bytes));
  blocks_.push_back(block);
}

void CudaWorker::FreeAll() {
  while (!blocks_.empty()) {
    Call(library_, "cuMemFree_v2", blocks_.back());
    blocks_.pop_back();
  }
}

DeviceMemory CudaWorker::Memory() {
  size_t free = 0;
  size_t total = 0;
  Call(library_, "cuMemGetInfo_v2", &free, &total);
  return {total, free};
}

HoldingProcess::HoldingProcess(const std::string& path, int ordinal,
                               uint64_t bytes) {
  int to_child[2];
  int from_child[2];
  if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipe");
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_child[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from_child[1], STDOUT_FILENO);
  std::string args[] = {"/proc/self/exe", kHoldFlag, PathOf(path),
                        std::to_string(ordinal), std::to_string(bytes)};
  char* argv[] = {args[0].data(), args[1].data(), args[2].data(),
                  args[3].data(), args[4].data(), nullptr};
  const int failed =
      posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(to_child[0]);
  close(from_child[1]);
  input_ = to_child[1];
  // One byte when the memory is taken; the end of the pipe when it died first.
  char byte = 0;
  const bool holds = failed == 0 && read(from_child[0], &byte, 1) == 1;
  close(from_child[0]);
  if (failed != 0) pid_ = -1;
  if (!holds) {
    End();
    throw std::runtime_error("the other process could not take its memory");
  }
}

bool HoldingProcess::End() {
  if (input_ >= 0) close(input_);
  input_ = -1;
  int status = -1;
  if (pid_ > 0) waitpid(pid_, &status, 0);
  pid_ = -1;
  return status == 0;
}

int HoldingProcess::Main(char** argv) {
  try {
    CudaWorker worker(argv[2], std::atoi(argv[3]));
    worker.Allocate(std::strtoull(argv[4], nullptr, 10));
    char byte = '.';
    if (write(STDOUT_FILENO, &byte, 1) != 1) return 1;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace aspired
