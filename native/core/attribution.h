// Attribution: whose it is when what this process has of a memory changes.
//
// Growth belongs to the loads that are under way, in proportion to what is
// reserved for them; shrinking to the unloads, in proportion to what was
// counted for them, and never more than that. What fits neither belongs to the
// rest of the process.
//
// Pure functions.
#ifndef ASPIRED_CORE_ATTRIBUTION_H_
#define ASPIRED_CORE_ATTRIBUTION_H_

#include <cstdint>
#include <vector>

namespace aspired {

// One load or unload that may be what changed it.
struct Claim {
  enum class Kind : uint8_t { kNone, kLoad, kUnload };
  Kind kind = Kind::kNone;
  uint64_t reserved = 0;
  int64_t counted = 0;  // for it, so far
};

// The share of each claim, in their order; bytes.
std::vector<int64_t> ShareOut(int64_t delta, const std::vector<Claim>& claims);

}  // namespace aspired

#endif  // ASPIRED_CORE_ATTRIBUTION_H_
