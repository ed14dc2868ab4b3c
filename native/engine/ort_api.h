// ONNX Runtime's C interface, as far as the engine uses it, declared by hand.
//
// Why by hand: onnxruntime-node ships the library without headers, and its one
// linkable symbol carries the exact version; opened at run time the same
// interface works from 1.17 on. The types are opaque; the functions come by
// position from the table that OrtApiBase::GetApi() answers.
//
// Thread-safety: OrtApi is immutable once filled.
//
// Source: onnxruntime_c_api.h of ONNX Runtime (positions and signatures).
#ifndef ASPIRED_ENGINE_ORT_API_H_
#define ASPIRED_ENGINE_ORT_API_H_

#include <cstddef>
#include <cstdint>

#if defined(_WIN32)
#define ASPIRED_ORT_CALL __stdcall
#else
#define ASPIRED_ORT_CALL
#endif

namespace aspired::ort {

struct OrtEnv;
struct OrtStatus;
struct OrtMemoryInfo;
struct OrtSession;
struct OrtValue;
struct OrtRunOptions;
struct OrtTypeInfo;
struct OrtTensorTypeAndShapeInfo;
struct OrtSessionOptions;
struct OrtAllocator;
struct OrtCUDAProviderOptionsV2;

#if defined(_WIN32)
using OrtPathChar = wchar_t;
#else
using OrtPathChar = char;
#endif

// Threads of a session that we start and join for the runtime. The handle is
// ours.
using OrtThreadWorker = void (*)(void* parameter);
using OrtCreateThread = void*(ASPIRED_ORT_CALL*)(void* options,
                                                 OrtThreadWorker worker,
                                                 void* parameter);
using OrtJoinThread = void(ASPIRED_ORT_CALL*)(const void* handle);

// The oldest runtime the positions were checked on, and the newest API version
// that adds something we call. Asking for no more than we use keeps later
// runtimes working.
inline constexpr int kMinApiVersion = 17;
inline constexpr int kMaxApiVersion = 22;

// OrtErrorCode, the ones we tell apart.
inline constexpr int kOrtInvalidArgument = 2;
inline constexpr int kOrtNoSuchFile = 3;
inline constexpr int kOrtModelLoadCancelled = 12;

// OrtLoggingLevel.
inline constexpr int kOrtLogWarning = 2;
inline constexpr int kOrtLogFatal = 4;
// OrtAllocatorType, OrtMemType.
inline constexpr int kOrtDeviceAllocator = 0;
inline constexpr int kOrtMemTypeDefault = 0;
// ONNXType.
inline constexpr int kOnnxTypeTensor = 1;

struct OrtApiBase {
  const void*(ASPIRED_ORT_CALL* GetApi)(uint32_t version);
  const char*(ASPIRED_ORT_CALL* GetVersionString)();
};

using OrtGetApiBaseFunction = const OrtApiBase*(ASPIRED_ORT_CALL*)();

struct OrtApi {
#define ASPIRED_ORT_SLOT(index, name, result, parameters) \
  result(ASPIRED_ORT_CALL* name) parameters = nullptr;
#define ASPIRED_ORT_SLOT_SINCE(version, index, name, result, parameters) \
  ASPIRED_ORT_SLOT(index, name, result, parameters)
#include "engine/ort_slots.def"
#undef ASPIRED_ORT_SLOT_SINCE
#undef ASPIRED_ORT_SLOT

  // Takes the functions that `table`, asked for as `version`, holds. False
  // when one that must be there is null: then it is no runtime we know.
  bool Fill(const void* table, int version);
};

}  // namespace aspired::ort

#endif  // ASPIRED_ENGINE_ORT_API_H_
