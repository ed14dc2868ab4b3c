#include "engine/ort_api.h"

#include <cstring>

namespace aspired::ort {
namespace {

// Function pointers sit in the table one after another; copying the bytes is
// the way to read one that does not pretend the table has a type.
template <typename Function>
bool Take(const void* table, size_t index, Function* out) {
  const char* at = static_cast<const char*>(table) + index * sizeof(void*);
  std::memcpy(out, at, sizeof(*out));
  return *out != nullptr;
}

}  // namespace

bool OrtApi::Fill(const void* table, int version) {
  bool complete = true;
#define ASPIRED_ORT_SLOT(index, name, result, parameters) \
  complete = Take(table, index, &name) && complete;
#define ASPIRED_ORT_SLOT_SINCE(since, index, name, result, parameters) \
  if (version >= since) complete = Take(table, index, &name) && complete;
#include "engine/ort_slots.def"
#undef ASPIRED_ORT_SLOT_SINCE
#undef ASPIRED_ORT_SLOT
  return complete;
}

}  // namespace aspired::ort
