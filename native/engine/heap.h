// What the engine asks of the C library's heap, so that the memory of a model
// goes back to the system when the model goes.
#ifndef ASPIRED_ENGINE_HEAP_H_
#define ASPIRED_ENGINE_HEAP_H_

namespace aspired {

// Keeps glibc from raising its thresholds, once per process; nothing elsewhere.
//
// By default each large block that is freed makes glibc keep larger blocks for
// itself from then on (up to 32 MB, and up to 64 MB of free space at the top of
// each thread's heap, which malloc_trim() cannot release). Measured with a
// model of 302 MB: 594 MB resident when loaded and 18 to 53 MB left over after
// the unload; with fixed thresholds 395 MB and under 2 MB.
//
// Blocks of 128 KiB and more are mapped one by one, so that a tensor which was
// freed leaves no hole in the heap. Measured with 105 MB in tensors of 256 KiB,
// which the runtime repacks one after the other: resident is 1.04 times the
// file. With a threshold of 1 MiB it was 1.78 times, and up to 40 MB stayed
// after the unload of others.
//
// The price: such blocks are mapped afresh each time, in the whole process.
// Does nothing where somebody chose settings of their own (the environment
// variables MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ or GLIBC_TUNABLES).
// Thread-safe.
void FixHeapThresholds();

// Gives free memory back to the system. Takes up to some 100 ms, so it is for
// background threads. Thread-safe.
void TrimHeap();

}  // namespace aspired

#endif  // ASPIRED_ENGINE_HEAP_H_
