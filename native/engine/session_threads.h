// Threads inside a session (intraOpNumThreads, interOpNumThreads above 1).
//
// The runtime would start them on the thread that loads, and threads inherit:
// on Linux they would keep the low priority of the load threads for good. So a
// thread of normal priority starts them, and gives them a name.
#ifndef ASPIRED_ENGINE_SESSION_THREADS_H_
#define ASPIRED_ENGINE_SESSION_THREADS_H_

#include "engine/ort_api.h"
#include "engine/ort_runtime.h"

namespace aspired {

// Makes sure that the starter exists. Called on a thread of normal priority,
// before a load that may need it. Thread-safe.
void PrepareSessionThreads();

// Has the threads of sessions made from `options` started here.
// REQUIRES: PrepareSessionThreads() was called.
ort::OrtStatus* UseSessionThreads(const OrtRuntime& runtime,
                                  ort::OrtSessionOptions* options);

}  // namespace aspired

#endif  // ASPIRED_ENGINE_SESSION_THREADS_H_
