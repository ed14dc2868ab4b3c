// ResourceTracker: a total, and what of it is in use by a set of estimates.
//
// An estimate that is unbound stays unbound in `used`; a reservation assumes
// the worst of it, namely that it takes its share of every instance.
//
// Thread-safety: none; the owner serialises.
//
// Source: TensorFlow Serving's resource_tracker.h, with estimates in the place
// of loaders, and two differences: an error changes nothing, and an unbound
// estimate needs one instance that has room for all its kinds.
#ifndef ASPIRED_RESOURCES_RESOURCE_TRACKER_H_
#define ASPIRED_RESOURCES_RESOURCE_TRACKER_H_

#include <memory>
#include <vector>

#include "core/status.h"
#include "resources/resource.h"
#include "resources/resource_util.h"

namespace aspired {

class ResourceTracker {
 public:
  // kInvalidArgument when the total is invalid or not bound; *out is unset.
  // REQUIRES: util is not null.
  static Status Create(const ResourceAllocation& total,
                       std::shared_ptr<const ResourceUtil> util,
                       std::unique_ptr<ResourceTracker>* out);

  ResourceTracker(const ResourceTracker&) = delete;
  ResourceTracker& operator=(const ResourceTracker&) = delete;

  // Adds the estimate to used() when it fits beside it; *success says whether.
  // Not fitting is no error; an invalid estimate and an overflow are.
  Status ReserveResources(const ResourceAllocation& estimate, bool* success);

  // used() := the sum of the estimates, whether or not it fits.
  Status RecomputeUsedResources(
      const std::vector<ResourceAllocation>& estimates);

  // Normalized.
  const ResourceAllocation& total() const { return total_; }
  const ResourceAllocation& used() const { return used_; }

 private:
  ResourceTracker(ResourceAllocation total,
                  std::shared_ptr<const ResourceUtil> util);

  const std::shared_ptr<const ResourceUtil> util_;
  const ResourceAllocation total_;
  ResourceAllocation used_;
};

}  // namespace aspired

#endif  // ASPIRED_RESOURCES_RESOURCE_TRACKER_H_
