// Readers: the registries through which servables are read.
//
// The core does not hand out servables; an isolate does, from a registry of its
// own, without crossing into native code (see lib/manager/registry.ts). The
// core tells it when a version opens and closes, and waits for its drain before
// the unload.
#ifndef ASPIRED_CORE_READERS_H_
#define ASPIRED_CORE_READERS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/servable_id.h"

namespace aspired {

class Loader;

// What requests of one stream resolve by, beside what is open.
struct ReaderIntent {
  std::vector<int64_t> aspired;  // ascending
  std::map<std::string, int64_t> labels;
  std::optional<int64_t> primary;

  friend bool operator==(const ReaderIntent&, const ReaderIntent&) = default;
  // Nothing is said: as good as none.
  bool empty() const {
    return aspired.empty() && labels.empty() && !primary.has_value();
  }
};

// Called from one effect at a time, in the order of the state changes, with no
// lock held. Implementations return at once.
class Readers {
 public:
  virtual ~Readers() = default;

  // The version may be acquired from now on. Ends an earlier Close().
  virtual void Open(const ServableId& id, Loader& loader) = 0;

  // The version must not be acquired any more. When its last lease is back the
  // implementation calls BasicManager::Drained(id, epoch), at once if there is
  // none; not if Open() came first.
  virtual void Close(const ServableId& id, Loader& loader, uint64_t epoch) = 0;

  // Readers that are not where intent is given ask for it by this. Called under
  // the manager's lock: a plain look at a flag.
  virtual bool WantsIntent() const { return false; }
  // The intent of a stream as it is from now on, in order with Open() and
  // Close(). Only while WantsIntent().
  virtual void SetIntent(const std::string& name, const ReaderIntent& intent) {
    (void)name;
    (void)intent;
  }
  // A version that is open, told again because WantsIntent() has become true.
  virtual void Remind(const ServableId& id, Loader& loader) {
    (void)id;
    (void)loader;
  }
};

}  // namespace aspired

#endif  // ASPIRED_CORE_READERS_H_
