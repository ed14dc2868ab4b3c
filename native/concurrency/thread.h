// Names and priorities of threads, per operating system.
#ifndef ASPIRED_CONCURRENCY_THREAD_H_
#define ASPIRED_CONCURRENCY_THREAD_H_

#include <string>

namespace aspired {

enum class ThreadPriority {
  // As the process.
  kNormal,
  // As the process, but for short work that somebody waits for: asks Linux
  // (6.12
  // and later) for a short time slice, so that a thread that wakes up does not
  // wait for the end of the slice of a background one. Elsewhere as kNormal.
  kResponsive,
  // Below the threads that serve: nice +10 on Linux, QOS_CLASS_UTILITY on
  // macOS, no effect elsewhere.
  kBackground,
};

// Both act on the calling thread, and are best effort: a system that refuses
// leaves the thread as it was. Names are cut to 15 bytes on Linux.
void SetCurrentThreadName(const std::string& name);
void SetCurrentThreadPriority(ThreadPriority priority);

}  // namespace aspired

#endif  // ASPIRED_CONCURRENCY_THREAD_H_
