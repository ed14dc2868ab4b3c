// What lists, intent and the options of AspiredVersionsManager are made of.
#ifndef ASPIRED_CORE_ASPIRED_VERSIONS_MANAGER_OPTIONS_H_
#define ASPIRED_CORE_ASPIRED_VERSIONS_MANAGER_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "concurrency/clock.h"
#include "core/loader.h"
#include "core/readers.h"
#include "core/retry_options.h"
#include "core/servable_id.h"
#include "core/servable_state_monitor.h"
#include "policy/aspired_version_policy.h"
#include "resources/memory_meter.h"
#include "resources/resource.h"

namespace aspired {

// One element of a list. `error` not OK: its source could not prepare it;
// `loader` may be null then.
struct AspiredVersion {
  int64_t version = 0;
  std::unique_ptr<Loader> loader;
  Status error;
  // The content changed in place: what is loaded of it is unloaded first, and
  // then loaded anew.
  bool replace = false;
  // It is the loader that the version has already: a version that was found to
  // be bad stays so.
  bool same_loader = false;
};

// What happens when an aspired version does not fit beside the old ones.
enum class OnInsufficientMemory : uint8_t {
  kWait,                // until memory comes free
  kResourcePreserving,  // the old ones of the stream go first
};

// Versions that are dropped stay loaded, closed to readers.
struct StandbyOptions {
  int versions = 0;  // how many; the last dropped ones
  // 0: until their memory is needed.
  std::chrono::milliseconds keep_for{0};
};

// What goes with a list or alone. What is not set stays as it was.
struct StreamIntent {
  // nullptr inside: the decision is external.
  std::optional<const AspiredVersionPolicy*> policy;
  // All labels: label to version.
  std::optional<std::map<std::string, int64_t>> labels;
  // The version a plain name resolves to; nullopt inside: none.
  std::optional<std::optional<int64_t>> primary;
  // Higher loads first.
  std::optional<int> priority;
  std::optional<OnInsufficientMemory> on_insufficient_memory;
  std::optional<StandbyOptions> standby;
  // A new version is watched beside the old one before that goes; see
  // FinishBake().
  std::optional<bool> bake;
};

struct ServableAction {
  PolicyAction::Kind kind = PolicyAction::Kind::kLoad;
  ServableId id;
};

// A managed version, for people.
struct ServableVersionState {
  int64_t version = 0;
  HarnessState state = HarnessState::kNew;
  bool aspired = false;
  Status error;  // of the version, or of its last attempt
  int attempts = 0;
  uint64_t incarnation = 0;
  // Milliseconds from now.
  std::optional<double> retry_in_ms;
  // Some aspired version of the stream failed and is not Ready again.
  bool degraded = false;
  // Dropped, and kept loaded.
  bool standby = false;
  // In its bake time; failed it, and is not tried again.
  bool baking = false;
  bool bad = false;
  // Why it waits for memory; empty when it does not.
  std::string waiting;
};

struct AspiredVersionsManagerOptions {
  using Comparator =
      std::function<bool(const ServableAction&, const ServableAction&)>;
  using Decide = std::function<void(std::vector<std::string> names)>;

  // Null: external. Must outlive the manager.
  const AspiredVersionPolicy* policy = nullptr;
  // 0: no thread, see Step().
  std::chrono::milliseconds manage_state_interval{100};
  int num_load_threads = 2;
  int num_unload_threads = 1;
  RetryOptions retry;
  std::function<bool(const Status&, const ServableId&)> should_retry;
  bool enable_reload_servables_with_error = true;
  // Orders the actions of one round, after unloads were put before loads.
  Comparator comparator;
  // True: every decision is external, whatever the policy of the stream.
  bool external_order = false;
  // Told which streams wait for an external decision. Required if any does.
  Decide decide;
  // See BasicManagerOptions.
  std::optional<ResourceAllocation> limits;
  std::shared_ptr<MemoryMeter> meter;
  // For streams whose intent does not say.
  OnInsufficientMemory on_insufficient_memory = OnInsufficientMemory::kWait;
  StandbyOptions standby;
  bool bake = false;
  // A bake begins: this incarnation of the version, against that other one.
  // Whoever hears it calls FinishBake().
  std::function<void(const ServableId&, uint64_t incarnation, int64_t previous)>
      on_bake;
  std::shared_ptr<const Clock> clock;
  std::shared_ptr<Readers> readers;
  ServableStateMonitor::Options monitor;
  uint64_t random_seed = 0;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_ASPIRED_VERSIONS_MANAGER_OPTIONS_H_
