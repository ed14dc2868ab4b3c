// Compares ort_slots.def with ONNX Runtime's own header, where the machine has
// one (Debian: libonnxruntime-dev). Compiles to nothing otherwise.
#if __has_include(<onnxruntime_c_api.h>)
#define ASPIRED_ORT_HEADER <onnxruntime_c_api.h>
#elif __has_include(<onnxruntime/onnxruntime_c_api.h>)
#define ASPIRED_ORT_HEADER <onnxruntime/onnxruntime_c_api.h>
#endif

#ifdef ASPIRED_ORT_HEADER
#include <cstddef>

#include ASPIRED_ORT_HEADER

#define ASPIRED_ORT_SLOT(index, name, result, parameters)          \
  static_assert(offsetof(OrtApi, name) / sizeof(void*) == (index), \
                #name " is not where ort_slots.def says");
#define ASPIRED_ORT_SLOT_SINCE(since, index, name, result, parameters) \
  ASPIRED_ORT_SLOT_CHECK_##since(index, name)
#if ORT_API_VERSION >= 22
#define ASPIRED_ORT_SLOT_CHECK_22(index, name) ASPIRED_ORT_SLOT(index, name, , )
#else
#define ASPIRED_ORT_SLOT_CHECK_22(index, name)
#endif
#include "engine/ort_slots.def"
#endif
