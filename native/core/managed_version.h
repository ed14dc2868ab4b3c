// What BasicManager keeps of one managed version. Internal to it.
#ifndef ASPIRED_CORE_MANAGED_VERSION_H_
#define ASPIRED_CORE_MANAGED_VERSION_H_

#include <memory>
#include <optional>
#include <utility>

#include "core/basic_manager.h"

namespace aspired {

// One managed version. Guarded by mu_, but for `id` and the loader's own calls.
struct BasicManager::Managed {
  Managed(ServableId id, std::unique_ptr<Loader> loader, uint64_t incarnation)
      : harness(std::move(id), std::move(loader), incarnation) {}

  const ServableId& id() const { return harness.id(); }

  LoaderHarness harness;
  Done load_done;
  Done unload_done;
  // Of the last Close(); unique over the life of the manager, so that a late
  // Drained() is told from a present one.
  uint64_t epoch = 0;
  bool abandoned = false;
  std::optional<TimePoint> retry_due;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_MANAGED_VERSION_H_
