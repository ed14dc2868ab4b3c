#include "concurrency/thread.h"

#include <cstdint>

#if defined(__linux__)
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <pthread.h>
#include <pthread/qos.h>
#endif

namespace aspired {
namespace {

#if defined(__linux__)
// As <linux/sched/types.h>, which not every C library brings.
struct SchedAttr {
  uint32_t size = sizeof(SchedAttr);
  uint32_t policy = 0;  // SCHED_OTHER
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;  // of SCHED_OTHER: the slice, in nanoseconds
  uint64_t deadline = 0;
  uint64_t period = 0;
};

// The shortest that Linux takes.
constexpr uint64_t kShortSliceNs = 100'000;

void AskForShortSlice() {
  SchedAttr attr;
  attr.nice = getpriority(PRIO_PROCESS, 0);  // 0: the calling thread
  attr.runtime = kShortSliceNs;
  syscall(SYS_sched_setattr, 0, &attr, 0);
}
#endif

}  // namespace

void SetCurrentThreadName(const std::string& name) {
#if defined(__linux__)
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
#elif defined(__APPLE__)
  pthread_setname_np(name.c_str());
#else
  (void)name;
#endif
}

void SetCurrentThreadPriority(ThreadPriority priority) {
  if (priority == ThreadPriority::kNormal) return;
#if defined(__linux__)
  if (priority == ThreadPriority::kResponsive) {
    AskForShortSlice();
    return;
  }
  // On Linux a thread id given to setpriority() is that thread alone.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 10);
#elif defined(__APPLE__)
  if (priority == ThreadPriority::kBackground) {
    pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
  }
#endif
}

}  // namespace aspired
