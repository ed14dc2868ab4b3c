#include "native/test_util/test_manager.h"

#include <gtest/gtest.h>

#include <utility>

#include "concurrency/thread.h"

namespace aspired::test {

Status Completion::status() const {
  const std::optional<Status> status = value_->Get();
  if (status) return *status;
  ADD_FAILURE() << "it never ended";
  return Status(ErrorCode::kInternal, "it never ended");
}

TestManager::TestManager(Options options) : options_(std::move(options)) {
  if (options_.with_bus) events = std::make_unique<EventRecorder>(bus.get());
  BasicManager::Options o;
  o.num_load_threads = options_.load_threads;
  o.num_unload_threads = options_.unload_threads;
  o.retry.max_num_load_retries = options_.max_num_load_retries;
  o.retry.quick.initial = options_.retry_interval;
  o.retry.quick.maximum = options_.max_retry_interval.count() > 0
                              ? options_.max_retry_interval
                              : options_.retry_interval;
  o.should_retry = options_.should_retry;
  o.clock = clock;
  if (options_.with_bus) o.bus = bus;
  if (options_.with_readers) o.readers = readers;
  o.limits = options_.limits;
  o.meter = options_.meter;
  o.on_pressure = options_.on_pressure;
  o.wake = [this] {
    std::lock_guard<std::mutex> lock(mu_);
    woken_ = true;
    changed_.notify_all();
  };
  manager = BasicManager::Create(std::move(o));
  readers->set_drained([weak = std::weak_ptr<BasicManager>(manager)](
                           const ServableId& id, uint64_t epoch) {
    if (auto m = weak.lock()) m->Drained(id, epoch);
  });
  if (options_.pump_thread) pump_ = std::thread([this] { PumpLoop(); });
}

void TestManager::PumpLoop() {
  SetCurrentThreadName("test-pump");
  std::unique_lock<std::mutex> lock(mu_);
  while (!stop_) {
    changed_.wait(lock, [this] { return woken_ || stop_; });
    woken_ = false;
    lock.unlock();
    manager->Pump();
    lock.lock();
  }
}

TestManager::~TestManager() { Finish(); }

void TestManager::Finish() {
  if (manager == nullptr) return;
  UnloadWhatIsReady();
  {
    std::lock_guard<std::mutex> lock(mu_);
    stop_ = true;
    changed_.notify_all();
  }
  if (pump_.joinable()) pump_.join();
  manager->Shutdown(std::nullopt);
  manager->AbandonAll("at the end of the test");
  manager->Flush();
  std::weak_ptr<BasicManager> weak = manager;
  manager.reset();
  {
    std::lock_guard<std::mutex> lock(probes_mu_);
    // A late answer may run the effects of others: until nobody is at it.
    for (bool any = true; any;) {
      any = false;
      for (const auto& probe : probes_) any |= probe->JoinThreads();
    }
  }
  EXPECT_TRUE(weak.expired()) << "something keeps the manager alive";
  if (events) events->ExpectAllEnded();
  std::lock_guard<std::mutex> lock(probes_mu_);
  for (const auto& probe : probes_) {
    EXPECT_TRUE(probe->destroyed()) << "a loader was leaked";
  }
}

void TestManager::UnloadWhatIsReady() {
  std::vector<Completion> ends;
  const auto names = manager->GetManagedServableNames();
  // What waits for memory would get it now.
  for (const auto& name : names) {
    for (const auto& s : manager->GetSnapshots(name)) {
      if (s.state != HarnessState::kLoadRequested) continue;
      (void)manager->CancelLoad({name, s.version});
    }
  }
  for (const auto& name : names) {
    for (const auto& s : manager->GetSnapshots(name)) {
      if (s.state != HarnessState::kReady) continue;
      ends.push_back(Unload({name, s.version}));
    }
  }
  manager->EvictStandbys();
  Sync();
  if (!options_.pump_thread) Pump();
  for (const auto& end : ends) (void)end.status();
}

ProbePtr TestManager::NewProbe(LoaderProbe::Kind kind) {
  auto probe = LoaderProbe::Create(
      kind, options_.with_readers ? readers.get() : nullptr);
  return probe;
}

void TestManager::Sync() {
  auto reached = std::make_shared<Notification>();
  manager->PushEffect([reached] { reached->Notify(); });
  manager->Flush();
  EXPECT_TRUE(reached->Wait()) << "an effect blocks";
}

void TestManager::Manage(const ServableId& id, const ProbePtr& probe) {
  const Status s = TryManage(id, probe);
  EXPECT_TRUE(s.ok()) << s.ToString();
}

void TestManager::Remember(const ProbePtr& probe) {
  std::lock_guard<std::mutex> lock(probes_mu_);
  probes_.push_back(probe);
}

Status TestManager::TryManage(const ServableId& id, const ProbePtr& probe) {
  Remember(probe);
  std::unique_ptr<Loader> loader = probe->MakeLoader();
  Status s = manager->ManageServable(id, loader);
  EXPECT_EQ(s.ok(), loader == nullptr) << "given back exactly when refused";
  Sync();
  return s;
}

void TestManager::ManageWithError(const ServableId& id, Status error) {
  std::unique_ptr<Loader> none;
  const Status s = manager->ManageServableWithError(id, std::move(error), none);
  EXPECT_TRUE(s.ok()) << s.ToString();
  Sync();
}

Completion TestManager::Load(const ServableId& id, LoadOptions load_options) {
  Completion end;
  manager->LoadServable(id, load_options, end.done());
  Sync();
  return end;
}

Completion TestManager::Unload(const ServableId& id,
                               UnloadOptions unload_options) {
  Completion end;
  manager->UnloadServable(id, std::move(unload_options), end.done());
  Sync();
  return end;
}

Status TestManager::Cancel(const ServableId& id) {
  Status s = manager->CancelLoad(id);
  Sync();
  return s;
}

Status TestManager::Revoke(const ServableId& id) {
  Status s = manager->RevokeUnload(id);
  Sync();
  return s;
}

Status TestManager::StopManaging(const ServableId& id) {
  Status s = manager->StopManagingServable(id);
  Sync();
  return s;
}

ProbePtr TestManager::Loaded(const ServableId& id, LoaderProbe::Kind kind) {
  auto probe = NewProbe(kind);
  Manage(id, probe);
  Completion end = Load(id);
  if (!options_.pump_thread) manager->Pump();
  EXPECT_TRUE(end.status().ok()) << id.ToString();
  return probe;
}

std::optional<HarnessState> TestManager::State(const ServableId& id) const {
  const auto snapshot = manager->GetSnapshot(id);
  if (!snapshot) return std::nullopt;
  return snapshot->state;
}

void TestManager::Pump() {
  bool again = true;
  while (again) {
    manager->Pump();
    Sync();
    std::lock_guard<std::mutex> lock(mu_);
    // With a thread, that one sees to it.
    again = !options_.pump_thread && std::exchange(woken_, false);
  }
}

void TestManager::Advance(std::chrono::milliseconds by) {
  clock->Advance(by);
  if (options_.pump_thread) return manager->Pump();
  Pump();
}

}  // namespace aspired::test
