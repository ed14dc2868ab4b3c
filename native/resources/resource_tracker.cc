#include "resources/resource_tracker.h"

#include <utility>

namespace aspired {

Status ResourceTracker::Create(const ResourceAllocation& total,
                               std::shared_ptr<const ResourceUtil> util,
                               std::unique_ptr<ResourceTracker>* out) {
  if (Status status = util->VerifyValidity(total); !status.ok()) return status;
  if (!util->IsBound(total)) {
    return Status(
        ErrorCode::kInvalidArgument,
        "the total must name the instance of each: " + total.ToString());
  }
  ResourceAllocation normalized = util->Normalize(total);
  out->reset(new ResourceTracker(std::move(normalized), std::move(util)));
  return Status::Ok();
}

ResourceTracker::ResourceTracker(ResourceAllocation total,
                                 std::shared_ptr<const ResourceUtil> util)
    : util_(std::move(util)), total_(std::move(total)) {}

Status ResourceTracker::ReserveResources(const ResourceAllocation& estimate,
                                         bool* success) {
  *success = false;
  if (Status status = util_->VerifyValidity(estimate); !status.ok()) {
    return status;
  }
  ResourceAllocation overbound;
  if (Status status = util_->Overbind(used_, &overbound); !status.ok()) {
    return status;
  }
  // What is used may already be more than there is: then nothing fits.
  ResourceAllocation left = total_;
  if (!util_->Subtract(overbound, &left).ok()) return Status::Ok();
  if (!util_->Place(estimate, left).has_value()) return Status::Ok();
  if (Status status = util_->Add(estimate, &used_); !status.ok()) return status;
  *success = true;
  return Status::Ok();
}

Status ResourceTracker::RecomputeUsedResources(
    const std::vector<ResourceAllocation>& estimates) {
  ResourceAllocation used;
  for (const ResourceAllocation& estimate : estimates) {
    if (Status status = util_->Add(estimate, &used); !status.ok()) {
      return status;
    }
  }
  used_ = std::move(used);
  return Status::Ok();
}

}  // namespace aspired
