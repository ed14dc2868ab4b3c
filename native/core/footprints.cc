#include "core/footprints.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace aspired {

void Footprints::Learn(const Footprint& footprint) {
  const auto is_noise = [](const auto& f) { return f.measured < kNoiseBytes; };
  if (is_noise(footprint) && !Remembers(footprint)) return;
  Devices& devices = servables_[footprint.servable];
  auto& pairs = devices[footprint.device];
  pairs.push_back({footprint.estimated, footprint.measured});
  if (pairs.size() > kKept) pairs.erase(pairs.begin());
  if (!std::all_of(pairs.begin(), pairs.end(), is_noise)) return;
  devices.erase(footprint.device);
  if (devices.empty()) servables_.erase(footprint.servable);
}

bool Footprints::Remembers(const Footprint& like) const {
  const auto found = servables_.find(like.servable);
  return found != servables_.end() && found->second.contains(like.device);
}

ResourceAllocation Footprints::Correct(
    const std::string& servable, const ResourceAllocation& estimate) const {
  const auto found = servables_.find(servable);
  if (found == servables_.end()) return estimate;
  ResourceAllocation corrected = estimate;
  for (const auto& [device, pairs] : found->second) {
    double ratio = 1;
    uint64_t largest = 0;
    for (const Pair& pair : pairs) {
      largest = std::max(largest, pair.measured);
      if (pair.estimated == 0) continue;
      const double r = static_cast<double>(pair.measured) /
                       static_cast<double>(pair.estimated);
      const bool real =
          r > kTolerance && pair.measured - pair.estimated >= kNoiseBytes / 2;
      if (real) ratio = std::max(ratio, r);
    }
    bool estimated = false;
    for (auto& entry : corrected.entries) {
      if (entry.resource.device != device || entry.resource.kind != kRam ||
          entry.quantity == 0) {
        continue;
      }
      estimated = true;
      const double raised =
          std::ceil(static_cast<double>(entry.quantity) * ratio);
      constexpr double kMost = 9.2e18;  // fits 64 bits
      if (raised < kMost && ratio > 1) {
        entry.quantity = static_cast<uint64_t>(raised);
      }
    }
    if (!estimated) {
      corrected.entries.push_back({{device, std::nullopt, kRam}, largest});
    }
  }
  return corrected;
}

std::vector<Footprint> Footprints::Export() const {
  std::vector<Footprint> out;
  for (const auto& [servable, devices] : servables_) {
    for (const auto& [device, pairs] : devices) {
      for (const Pair& pair : pairs) {
        out.push_back({servable, device, pair.estimated, pair.measured});
      }
    }
  }
  return out;
}

void Footprints::Import(const std::vector<Footprint>& footprints) {
  for (const Footprint& footprint : footprints) Learn(footprint);
}

}  // namespace aspired
