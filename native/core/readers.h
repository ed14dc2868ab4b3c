// Readers: the registries through which servables are read.
//
// The core does not hand out servables; an isolate does, from a registry of its
// own, without crossing into native code (see lib/manager/registry.ts). The
// core tells it when a version opens and closes, and waits for its drain before
// the unload.
#ifndef ASPIRED_CORE_READERS_H_
#define ASPIRED_CORE_READERS_H_

#include <cstdint>

#include "core/servable_id.h"

namespace aspired {

class Loader;

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
};

}  // namespace aspired

#endif  // ASPIRED_CORE_READERS_H_
