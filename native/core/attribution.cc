#include "core/attribution.h"

#include <algorithm>

namespace aspired {
namespace {

double WeightOf(const Claim& claim, bool growth) {
  if (growth) {
    return claim.kind == Claim::Kind::kLoad
               ? 1.0 + static_cast<double>(claim.reserved)
               : 0;
  }
  return claim.kind == Claim::Kind::kUnload
             ? static_cast<double>(std::max<int64_t>(claim.counted, 0))
             : 0;
}

}  // namespace

std::vector<int64_t> ShareOut(int64_t delta, const std::vector<Claim>& claims) {
  std::vector<int64_t> shares(claims.size(), 0);
  double sum = 0;
  for (const Claim& claim : claims) sum += WeightOf(claim, delta > 0);
  if (sum <= 0) return shares;
  for (size_t i = 0; i < claims.size(); ++i) {
    const double part = WeightOf(claims[i], delta > 0) / sum;
    shares[i] = static_cast<int64_t>(static_cast<double>(delta) * part);
    // An unload gives back what was counted, not more.
    if (shares[i] < 0) shares[i] = std::max(shares[i], -claims[i].counted);
  }
  return shares;
}

}  // namespace aspired
