// ScheduleOr: work that must end one way or the other.
#ifndef ASPIRED_ENGINE_SCHEDULE_OR_H_
#define ASPIRED_ENGINE_SCHEDULE_OR_H_

#include <memory>
#include <utility>

#include "concurrency/executor.h"

namespace aspired {

// Schedules `task`. An executor that shuts down drops what it has not begun;
// `dropped` is called then instead, on the thread that drops it. Exactly one of
// the two is called.
inline void ScheduleOr(Executor& executor, Task task, Task dropped) {
  struct Guard {
    Task task;
    Task dropped;
    ~Guard() {
      if (dropped) dropped();
    }
  };
  auto guard = std::make_shared<Guard>();
  guard->task = std::move(task);
  guard->dropped = std::move(dropped);
  executor.Schedule([guard] {
    guard->dropped = nullptr;
    const Task run = std::move(guard->task);
    run();
  });
}

}  // namespace aspired

#endif  // ASPIRED_ENGINE_SCHEDULE_OR_H_
