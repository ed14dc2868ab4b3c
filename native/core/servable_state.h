// ServableState: what is published about one version, and the bus it goes over.
//
// Source: TensorFlow Serving, core/servable_state.h.
#ifndef ASPIRED_CORE_SERVABLE_STATE_H_
#define ASPIRED_CORE_SERVABLE_STATE_H_

#include <cstdint>

#include "core/event_bus.h"
#include "core/harness_state.h"
#include "core/servable_id.h"
#include "core/status.h"

namespace aspired {

// Published strictly forward per incarnation, with exactly one kEnd. kAvailable
// is published after the version is reachable, kUnloading before it stops being
// so. A failure is kEnd with a health that is not OK.
struct ServableState {
  ServableId id;
  ManagerState manager_state = ManagerState::kStart;
  Status health;
  // Grows over the life of the manager; tells two lives of one id apart.
  uint64_t incarnation = 0;
  // Milliseconds since the epoch.
  double at = 0;

  friend bool operator==(const ServableState&, const ServableState&) = default;
};

using ServableEventBus = EventBus<ServableState>;

}  // namespace aspired

#endif  // ASPIRED_CORE_SERVABLE_STATE_H_
