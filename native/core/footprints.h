// Footprints: what versions of a servable really took, so that the estimate of
// the next one is not wrong twice.
//
// Remembered per servable, device and kind: the last kKept pairs of what was
// estimated and what was measured. An estimate is raised by the worst ratio
// among them; where a loader gives none, the largest measurement stands in. It
// is never lowered: an estimate is an upper bound, and memory that a load has
// not touched yet is not seen by any measurement. Small differences are noise
// of the process and teach nothing, but they count among the last: one wrong
// measurement is forgotten after kKept others, however small the servable is.
//
// Not thread-safe: guarded by the mutex of the manager that owns it.
#ifndef ASPIRED_CORE_FOOTPRINTS_H_
#define ASPIRED_CORE_FOOTPRINTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "resources/resource.h"

namespace aspired {

// One remembered load.
struct Footprint {
  std::string servable;
  std::string device;
  uint64_t estimated = 0;  // bytes; 0: the loader gave no estimate
  uint64_t measured = 0;   // bytes

  friend bool operator==(const Footprint&, const Footprint&) = default;
};

class Footprints {
 public:
  static constexpr size_t kKept = 3;
  // Below this, or closer than kTolerance to the estimate, a measurement says
  // nothing: the heap of a busy process moves by as much by itself.
  static constexpr uint64_t kNoiseBytes = 8ull << 20;
  static constexpr double kTolerance = 1.05;

  bool empty() const { return servables_.empty(); }

  // `device`: "main", "cuda".
  void Learn(const Footprint& footprint);
  // The estimate, corrected. Quantities of kinds other than kRam are as given.
  ResourceAllocation Correct(const std::string& servable,
                             const ResourceAllocation& estimate) const;

  // Of one servable, or of all.
  void Clear() { servables_.clear(); }
  void Clear(const std::string& servable) { servables_.erase(servable); }

  // Oldest first within a servable and device.
  std::vector<Footprint> Export() const;
  // Adds; what is no measurement is left out.
  void Import(const std::vector<Footprint>& footprints);

 private:
  struct Pair {
    uint64_t estimated;
    uint64_t measured;
  };
  bool Remembers(const Footprint& like) const;

  using Devices = std::map<std::string, std::vector<Pair>, std::less<>>;
  std::map<std::string, Devices, std::less<>> servables_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_FOOTPRINTS_H_
