#include "native/fake_cuda/fake_driver.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <sstream>

namespace aspired::fake {
namespace {

// What one process took of one device.
struct Use {
  std::atomic<uint32_t> pid;
  std::atomic<int32_t> device;
  std::atomic<int64_t> bytes;
};
struct Table {
  Use uses[64];
};

Table* MapTable() {
  static Table local;
  const char* path = std::getenv("ASPIRED_FAKE_SHARED");
  if (path == nullptr) return &local;
  const int file = open(path, O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(Table)) != 0) std::abort();
  void* memory =
      mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) std::abort();
  close(file);
  return static_cast<Table*>(memory);
}

Table& TheTable() {
  static Table* const table = MapTable();
  return *table;
}

void ReadLine(std::istringstream in, State* state) {
  std::string word;
  in >> word;
  Device* last = state->devices.empty() ? nullptr : &state->devices.back();
  if (word == "version") in >> state->version;
  if (word == "cuinit") in >> state->cu_init;
  if (word == "nvmlinit") in >> state->nvml_init;
  if (word == "reversed") state->reversed = true;
  if (word == "refuse-v2") state->refuse_v2 = true;
  if (word == "entry") in >> state->entry_size;
  if (word == "gpu" || word == "mig") {
    Device device;
    in >> device.uuid >> device.total >> device.used;
    if (word == "mig") {
      const int index = static_cast<int>(state->devices.size()) - 1;
      device.parent = last->parent < 0 ? index : last->parent;
      state->devices[static_cast<size_t>(device.parent)].has_instances = true;
    }
    state->devices.push_back(device);
  }
  if (word == "process") {
    Process process;
    int64_t bytes = 0;
    in >> process.pid >> bytes;
    process.bytes = static_cast<uint64_t>(bytes);
    last->processes.push_back(process);
  }
  if (word == "error") in >> last->error;
  if (word == "nvml-unknown") last->nvml_unknown = true;
  if (word == "context") last->contexts = 1;
}

// What counts (calls, users) stays; the rest becomes what the text says.
void Configure(std::string text, State* state) {
  const State fresh;
  state->version = fresh.version;
  state->cu_init = fresh.cu_init;
  state->nvml_init = fresh.nvml_init;
  state->reversed = fresh.reversed;
  state->refuse_v2 = fresh.refuse_v2;
  state->entry_size = fresh.entry_size;
  state->devices.clear();
  std::replace(text.begin(), text.end(), ';', '\n');
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    ReadLine(std::istringstream(line), state);
  }
}

State* MakeState() {
  State* state = new State;
  const char* text = std::getenv("ASPIRED_FAKE_DRIVER");
  Configure(text != nullptr ? text : "", state);
  return state;
}

}  // namespace

State& TheState() {
  static State* const state = MakeState();
  return *state;
}

uint64_t UsedOf(int device) {
  uint64_t used = TheState().devices[static_cast<size_t>(device)].used;
  for (const Use& use : TheTable().uses) {
    if (use.pid != 0 && use.device == device) {
      used += static_cast<uint64_t>(use.bytes.load());
    }
  }
  return used;
}

std::vector<Process> ProcessesOf(int device) {
  auto list = TheState().devices[static_cast<size_t>(device)].processes;
  for (const Use& use : TheTable().uses) {
    if (use.pid != 0 && use.device == device && use.bytes != 0) {
      list.push_back({use.pid, static_cast<uint64_t>(use.bytes.load())});
    }
  }
  return list;
}

void AddOwnUse(int device, int64_t bytes) {
  const auto pid = static_cast<uint32_t>(getpid());
  for (Use& use : TheTable().uses) {
    uint32_t expected = 0;
    if (use.pid.compare_exchange_strong(expected, pid)) use.device = device;
    if (use.pid == pid && use.device == device) {
      use.bytes += bytes;
      return;
    }
  }
  std::abort();
}

}  // namespace aspired::fake

// Replaces what the driver shows. CUDA's order is kept until `reinitialize`,
// which makes the next cuInit the first one.
ASPIRED_FAKE_EXPORT void aspired_fake_configure(const char* text,
                                                int reinitialize) {
  auto& state = aspired::fake::TheState();
  const std::lock_guard lock(state.mu);
  aspired::fake::Configure(text, &state);
  if (reinitialize != 0) {
    state.initialized = false;
    state.contexts_made = 0;
  }
}

// How many contexts were made since then.
ASPIRED_FAKE_EXPORT int aspired_fake_contexts_made() {
  auto& state = aspired::fake::TheState();
  const std::lock_guard lock(state.mu);
  return state.contexts_made;
}

// How many nvmlInit had no nvmlShutdown yet.
ASPIRED_FAKE_EXPORT int aspired_fake_nvml_users() {
  auto& state = aspired::fake::TheState();
  const std::lock_guard lock(state.mu);
  return state.nvml_users;
}
