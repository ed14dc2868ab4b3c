// What AspiredVersionsManager knows of one servable stream and its versions.
//
// Not thread-safe: guarded by the mutex of the manager that owns it.
#ifndef ASPIRED_CORE_ASPIRED_STREAM_H_
#define ASPIRED_CORE_ASPIRED_STREAM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/aspired_versions_manager_options.h"
#include "core/loader.h"
#include "core/status.h"
#include "core/transition.h"

namespace aspired {

struct AspiredRecord {
  struct Successor {
    std::unique_ptr<Loader> loader;
    Status error;
  };

  bool aspired = true;
  // There is nothing to try again: the source had no loader.
  bool source_error = false;
  int failures = 0;  // incarnations in a row that ended with an error
  // There was a version that had proved itself when this one was asked for.
  bool came_later = false;
  // It needs no bake, or no more; its bake is on; it failed it.
  bool baked = false;
  bool baking = false;
  bool bad = false;
  // Others were unloaded for its load, and it failed all the same: not again.
  bool freed_for = false;
  // Not aspired, but the last good one that was unloaded for another.
  bool fallback = false;
  // The order in which versions were dropped; 0: never.
  uint64_t dropped = 0;
  std::optional<TimePoint> standby_due;
  Status last_error;
  std::optional<TimePoint> retry_due;
  // What comes when the present incarnation is gone.
  std::unique_ptr<Successor> successor;
};

struct AspiredStream {
  explicit AspiredStream(const std::string& n) : name(n) {}

  const std::string& name;  // the key of the manager's map
  std::map<int64_t, AspiredRecord> records;
  std::vector<std::unique_ptr<Transition>> transitions;
  std::unique_ptr<StreamIntent> intent;  // null: none was ever given
  // The last good version that was unloaded to make room.
  int64_t fallback_version = 0;
  std::unique_ptr<Loader> fallback;
  // When it comes back although others are asked for that find no memory.
  std::optional<TimePoint> fallback_due;
  // What a bake goes back to: it is not unloaded meanwhile.
  std::optional<int64_t> bake_previous;
  bool pressed = false;     // a load of it waits for memory it could free
  bool dirty = false;       // the manager is to look at it
  bool reconciled = false;  // the manager looks at it in each interval
};

}  // namespace aspired

#endif  // ASPIRED_CORE_ASPIRED_STREAM_H_
