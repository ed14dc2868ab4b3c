#include "engine/heap.h"

#include <cstdlib>
#include <mutex>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace aspired {

#if defined(__GLIBC__)

void FixHeapThresholds() {
  static std::once_flag* once = new std::once_flag();
  std::call_once(*once, [] {
    for (const char* name : {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_",
                             "GLIBC_TUNABLES"}) {
      if (std::getenv(name) != nullptr) return;
    }
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    mallopt(M_TRIM_THRESHOLD, 2 << 20);
  });
}

void TrimHeap() { malloc_trim(0); }

#else

void FixHeapThresholds() {}
void TrimHeap() {}

#endif

}  // namespace aspired
