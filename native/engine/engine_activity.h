// EngineActivity: what threads do inside the runtime right now, in this
// process, so that the process does not end under them.
//
// Why: exit() runs the destructors of the runtime library's statics. A thread
// that is inside the library then may crash a process that was ending well.
// Shutdown() is called from an exit hook: it lets nothing begin any more, tells
// what runs to stop, and waits for it, but not for long.
#ifndef ASPIRED_ENGINE_ENGINE_ACTIVITY_H_
#define ASPIRED_ENGINE_ENGINE_ACTIVITY_H_

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <set>

#include "concurrency/clock.h"
#include "engine/load_cancellation.h"

namespace aspired {

// Thread-safe.
class EngineActivity {
 public:
  // The one of this process; never destroyed.
  static EngineActivity& Instance();

  EngineActivity(const EngineActivity&) = delete;
  EngineActivity& operator=(const EngineActivity&) = delete;

  // Around every load and unload. When began() is false the process is ending:
  // do nothing. `load` may be null; it is cancelled by Shutdown().
  class Scope {
   public:
    explicit Scope(std::shared_ptr<LoadCancellation> load);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    bool began() const { return began_; }

   private:
    const std::shared_ptr<LoadCancellation> load_;
    bool began_;
  };

  // Around the opening of a runtime library: the one time when exit() cannot be
  // made to wait, because the library's destructors are registered by and by.
  class OpeningScope {
   public:
    OpeningScope();
    ~OpeningScope();
    OpeningScope(const OpeningScope&) = delete;
    OpeningScope& operator=(const OpeningScope&) = delete;
  };

  // Waits until no library is being opened: some tens of milliseconds, once in
  // the life of a process. For environments that end, because the process may
  // be ending with them. False at the deadline.
  bool WaitForOpening(Duration wait);

  // Has Shutdown() called at exit(), before the destructors of libraries that
  // are open by now: a process may end on another thread than the one that
  // loads. Called once per runtime, after it was opened.
  static void ShutdownAtExit();

  // Loads, unloads and runs. True when all had ended by the deadline.
  bool Shutdown(Duration wait);

 private:
  EngineActivity() = default;

  std::mutex mu_;
  std::condition_variable ended_;
  // Guarded by mu_.
  bool exiting_ = false;
  size_t active_ = 0;
  size_t opening_ = 0;
  std::set<std::shared_ptr<LoadCancellation>> loads_;
};

}  // namespace aspired

#endif  // ASPIRED_ENGINE_ENGINE_ACTIVITY_H_
