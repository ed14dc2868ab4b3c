// Loader: makes and unmakes the servable of one version.
//
// Obligations of the one who implements it:
//   1. Load() calls `done` exactly once for each call, from any thread, also
//      before Load() returns. A failed load leaves nothing behind that Unload()
//      would have to free: Unload() is not called after a failure. One that is
//      given up and still runs is a failure that says so:
//      LoadOutcome::given_up.
//   2. Unload() calls `done` exactly once. The servable is gone then, and its
//      memory given back.
//   3. Neither throws.
// What the manager promises in return:
//   1. Load() and Unload() of one loader never overlap, but for loads that were
//      given up. Load() may be called again after a failure, never after
//      Unload(). Unload() follows a successful Load() exactly once, when no
//      reader holds the servable.
//   2. No lock of the manager is held during any call.
//   3. The loader outlives every call and every `done` it owes.
//   4. Estimates are asked for before the first Load() only.
//   5. CancelLoad() is called at most once, from any thread, while a load is
//      under way or about to begin; it holds for that load, and the loader is
//      not loaded again afterwards. A load that ends with success all the same
//      is unloaded and was never visible.
//
// Source: TensorFlow Serving, core/loader.h; cancellation and the asynchronous
// form are ours.
#ifndef ASPIRED_CORE_LOADER_H_
#define ASPIRED_CORE_LOADER_H_

#include <functional>
#include <memory>

#include "core/servable_id.h"
#include "core/status.h"
#include "resources/resource.h"

namespace aspired {

struct LoadContext {
  ServableId id;
  // 1 for the first attempt of an incarnation.
  int attempt = 1;
  // What is reserved for it, bound; empty when nothing is.
  ResourceAllocation reserved = {};
  // Of a load that was given up: it runs no more, and what it had is freed.
  // Called once, after `done` has returned, from any thread; the loader may be
  // dead by then.
  std::function<void()> over = nullptr;
};

struct LoadOutcome {
  Status status;
  // False: a retry is pointless, whatever the budget says. Of failures only.
  bool retriable = true;
  // Nobody waits for it any more, though it still runs: its memory is not free
  // before LoadContext::over. Of failures only.
  bool given_up = false;
};

struct EstimateOutcome {
  Status status;
  // Of failures only, as in LoadOutcome.
  bool retriable = true;
  ResourceAllocation estimate = {};
};

class Loader {
 public:
  using EstimateDone = std::function<void(EstimateOutcome)>;
  using LoadDone = std::function<void(LoadOutcome)>;
  using UnloadDone = std::function<void(Status)>;

  virtual ~Loader() = default;

  // True: Load() and Unload() may block and are called on a load or unload
  // thread. False: both return at once and work elsewhere; they are called on
  // whatever thread freed the slot, and take a slot of the pool until `done`.
  virtual bool Blocks() const = 0;

  // False: EstimateResources() has nothing to say and is not called.
  virtual bool Estimates() const { return false; }
  // An upper bound of what the servable will take, bound to instances of
  // devices or not. Must not block. Calls `done` exactly once, from any thread.
  virtual void EstimateResources(const ServableId& id, EstimateDone done) {
    (void)id;
    done({});
  }

  virtual void Load(const LoadContext& context, LoadDone done) = 0;
  virtual void CancelLoad() {}
  virtual void Unload(UnloadDone done) = 0;

  // A loader that makes the same servable again, when this one has unloaded it;
  // null when there can be none. Makes an object and nothing else: it is called
  // under the manager's lock.
  virtual std::unique_ptr<Loader> Renew() { return nullptr; }
};

}  // namespace aspired

#endif  // ASPIRED_CORE_LOADER_H_
