// What a BasicManager is made with, what its calls take, and what it shows.
#ifndef ASPIRED_CORE_BASIC_MANAGER_OPTIONS_H_
#define ASPIRED_CORE_BASIC_MANAGER_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "concurrency/clock.h"
#include "core/harness_state.h"
#include "core/readers.h"
#include "core/retry_options.h"
#include "core/servable_state.h"
#include "resources/memory_meter.h"
#include "resources/resource.h"

namespace aspired {

struct BasicManagerOptions {
  int num_load_threads = 2;    // 0: inline, see WorkThreads
  int num_unload_threads = 1;  // likewise
  RetryOptions retry;
  // Asked after each failed attempt, with no lock held; null: always. It
  // decides about retries, never about success.
  std::function<bool(const Status&, const ServableId&)> should_retry;
  // Required.
  std::shared_ptr<const Clock> clock;
  // Null: nobody hears.
  std::shared_ptr<const ServableEventBus> bus;
  // Null: there are no readers, everything drains at once.
  std::shared_ptr<Readers> readers;
  // Bound, main memory first, see ResourceLedger; none: memory is not
  // accounted, and everything fits.
  std::optional<ResourceAllocation> limits;
  // Null: limits are all that is known of memory.
  std::shared_ptr<MemoryMeter> meter;
  // A version has drained and stays as a standby.
  std::function<void(const ServableId&, uint64_t incarnation)> on_standby;
  // A load with LoadOptions::frees_own waits for memory; told once per
  // change, as an effect.
  std::function<void(const ServableId&)> on_pressure;
  // There is inline work, or a retry is due at another time than before.
  // Called with no lock held; null: the owner calls Flush() and Pump().
  std::function<void()> wake;
  uint64_t random_seed = 0;
};

struct LoadOptions {
  // Higher goes first, in the queue for slots and for memory.
  int priority = 0;
  // Instead of RetryOptions::max_num_load_retries.
  std::optional<int> max_num_load_retries = {};
  // The owner can make room by unloading other versions of the stream.
  bool frees_own = false;
};

struct UnloadOptions {
  // When it has drained it stays loaded, as a standby.
  bool keep_drained = false;
  // Why; not OK: the version ends with it, in state Error.
  Status verdict = {};
};

// A managed version.
struct ManagedSnapshot {
  int64_t version = 0;
  HarnessState state = HarnessState::kNew;
  uint64_t incarnation = 0;
  int attempts = 0;
  bool retriable = true;
  bool cancelled = false;
  Status status;
  std::optional<TimePoint> retry_due;
  // It will be a standby when it has drained; it is one.
  bool keep_drained = false;
  bool standby = false;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_BASIC_MANAGER_OPTIONS_H_
