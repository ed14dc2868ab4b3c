// TestManager: a BasicManager with a fake clock, fake readers and an event
// recorder around it, and the thread that its owner would pump it with.
//
// Its destructor unloads what is Ready, abandons the rest, stops the threads,
// and expects: every incarnation has had its one End, and every loader of its
// probes was destroyed. A test must have ended its held loads and leases.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_TEST_MANAGER_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_TEST_MANAGER_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/basic_manager.h"
#include "native/test_util/deadline.h"
#include "native/test_util/event_recorder.h"
#include "native/test_util/fake_clock.h"
#include "native/test_util/fake_loader.h"
#include "native/test_util/fake_readers.h"

namespace aspired::test {

// The end of a LoadServable() or UnloadServable().
class Completion {
 public:
  Completion() : value_(std::make_shared<Promised<Status>>()) {}
  BasicManager::Done done() const {
    return [value = value_](Status s) { value->Set(std::move(s)); };
  }
  // Waits; fails the test when it does not come.
  Status status() const;
  bool is_done() const { return value_->Peek().has_value(); }
  int times() const { return value_->times_set(); }

 private:
  std::shared_ptr<Promised<Status>> value_;
};

class TestManager {
 public:
  struct Options {
    int load_threads = 2;
    int unload_threads = 1;
    int max_num_load_retries = 0;
    // Without jitter in the tests' arithmetic: compare with >= 80 %.
    std::chrono::milliseconds retry_interval{0};
    std::chrono::milliseconds max_retry_interval{0};  // 0: as retry_interval
    std::function<bool(const Status&, const ServableId&)> should_retry =
        nullptr;
    bool with_bus = true;
    bool with_readers = true;
    // False: the test calls manager->Pump() itself.
    bool pump_thread = true;
    // None: memory is not accounted.
    std::optional<ResourceAllocation> limits = std::nullopt;
    std::shared_ptr<MemoryMeter> meter = nullptr;
    std::function<void(const ServableId&)> on_pressure = nullptr;
  };

  TestManager() : TestManager(Options()) {}
  explicit TestManager(Options options);
  ~TestManager();

  // Flush(), and waits until every effect queued so far was delivered: another
  // thread may be at it. The calls below do that after their work. Not from
  // within an effect.
  void Sync();

  ProbePtr NewProbe(LoaderProbe::Kind kind = LoaderProbe::Kind::kBlocking);
  // The end waits for its threads; of a probe whose loader the test gives to
  // the manager itself.
  void Remember(const ProbePtr& probe);
  void Manage(const ServableId& id, const ProbePtr& probe);  // expects OK
  Status TryManage(const ServableId& id, const ProbePtr& probe);
  void ManageWithError(const ServableId& id, Status error);  // expects OK
  Completion Load(const ServableId& id) { return Load(id, LoadOptions()); }
  Completion Load(const ServableId& id, LoadOptions load_options);
  Completion Unload(const ServableId& id) {
    return Unload(id, UnloadOptions());
  }
  Completion Unload(const ServableId& id, UnloadOptions unload_options);
  Status Cancel(const ServableId& id);
  Status Revoke(const ServableId& id);
  Status StopManaging(const ServableId& id);
  // New, managed and loaded.
  ProbePtr Loaded(const ServableId& id,
                  LoaderProbe::Kind kind = LoaderProbe::Kind::kBlocking);
  // On this thread, until nothing asks for more.
  void Pump();
  // Nullopt when it is not managed.
  std::optional<HarnessState> State(const ServableId& id) const;
  // Moves the clock and pumps, on this thread.
  void Advance(std::chrono::milliseconds by);
  // Unloads, shuts down; what the destructor does, earlier.
  void Finish();

  const std::shared_ptr<FakeClock> clock = std::make_shared<FakeClock>();
  const std::shared_ptr<ServableEventBus> bus =
      std::make_shared<ServableEventBus>();
  const std::shared_ptr<FakeReaders> readers = std::make_shared<FakeReaders>();
  // Null without a bus.
  std::unique_ptr<EventRecorder> events;
  std::shared_ptr<BasicManager> manager;

 private:
  void PumpLoop();
  void UnloadWhatIsReady();

  const Options options_;
  std::mutex mu_;
  std::condition_variable changed_;
  bool woken_ = false;  // guarded by mu_
  bool stop_ = false;   // guarded by mu_
  std::mutex probes_mu_;
  std::vector<ProbePtr> probes_;  // guarded by probes_mu_
  std::thread pump_;
};

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_TEST_MANAGER_H_
