// What BasicManager keeps of one managed version. Internal to it.
#ifndef ASPIRED_CORE_MANAGED_VERSION_H_
#define ASPIRED_CORE_MANAGED_VERSION_H_

#include <memory>
#include <optional>
#include <utility>

#include "core/basic_manager.h"
#include "core/resource_ledger.h"

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
  std::optional<TimePoint> retry_due;
  // Null: it holds no memory worth counting.
  std::unique_ptr<ResourceAccount> account;
  LoadOptions load_options;
  uint64_t age = 0;  // of its load request
  // Residencies from this on go, where it is asked whether they must: they came
  // while it waited.
  uint64_t waits_since = 0;
  // Why it is unloaded, when that is an error: it ends with it.
  Status verdict;
  int estimate_failures = 0;
  // The change of memory since which the owner knows that it waits; 0: never.
  uint64_t pressed = 0;
  bool abandoned = false;
  bool estimating = false;    // its loader owes an estimate
  bool estimated = false;     // and has given it
  bool waiting = false;       // for memory
  bool keep_drained = false;  // when it has drained it stays, as a standby
  bool standby = false;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_MANAGED_VERSION_H_
