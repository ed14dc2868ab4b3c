// Allocations, short to write: {Main(5), Gpu(0, 7), AnyGpu(12)}.
#ifndef ASPIRED_TEST_UTIL_ALLOCATIONS_H_
#define ASPIRED_TEST_UTIL_ALLOCATIONS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "resources/resource.h"

namespace aspired {

// GoogleTest prints by it.
inline void PrintTo(const ResourceAllocation& allocation, std::ostream* out) {
  *out << allocation.ToString();
}

namespace test {

using Entry = ResourceAllocation::Entry;

inline constexpr char kGpu[] = "gpu";
inline constexpr char kProcessing[] = "processing_in_millis";

inline Entry Of(std::string device, std::optional<uint32_t> instance,
                std::string kind, uint64_t quantity) {
  return {{std::move(device), instance, std::move(kind)}, quantity};
}

inline Entry Main(uint64_t quantity, const char* kind = kRam) {
  return Of(kMain, 0, kind, quantity);
}
inline Entry AnyMain(uint64_t quantity, const char* kind = kRam) {
  return Of(kMain, std::nullopt, kind, quantity);
}
inline Entry Gpu(uint32_t instance, uint64_t quantity,
                 const char* kind = kRam) {
  return Of(kGpu, instance, kind, quantity);
}
inline Entry AnyGpu(uint64_t quantity, const char* kind = kRam) {
  return Of(kGpu, std::nullopt, kind, quantity);
}

inline Entry Cuda(uint32_t instance, uint64_t quantity) {
  return Of(kCuda, instance, kRam, quantity);
}
inline Entry AnyCuda(uint64_t quantity) {
  return Of(kCuda, std::nullopt, kRam, quantity);
}

inline ResourceAllocation Allocation(std::vector<Entry> entries) {
  return {std::move(entries)};
}

// One main memory and two GPUs, as in TensorFlow Serving's tests.
inline std::map<std::string, uint32_t> MainAndTwoGpus() {
  return {{kMain, 1}, {kGpu, 2}};
}

}  // namespace test
}  // namespace aspired

#endif  // ASPIRED_TEST_UTIL_ALLOCATIONS_H_
