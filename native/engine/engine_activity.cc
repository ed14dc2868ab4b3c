#include "engine/engine_activity.h"

#include <chrono>
#include <cstdlib>
#include <utility>

#include "engine/inference_pool.h"

namespace aspired {

namespace {

// How long a process that exits without telling us waits for what runs.
constexpr std::chrono::seconds kExitWait{2};

}  // namespace

void EngineActivity::ShutdownAtExit() {
  // What was registered last runs first: so this comes before the destructors
  // of the libraries that are open by now.
  std::atexit([] { Instance().Shutdown(kExitWait); });
}

EngineActivity& EngineActivity::Instance() {
  static EngineActivity* activity = new EngineActivity();
  return *activity;
}

EngineActivity::Scope::Scope(std::shared_ptr<LoadCancellation> load)
    : load_(std::move(load)) {
  EngineActivity& activity = Instance();
  std::lock_guard<std::mutex> lock(activity.mu_);
  began_ = !activity.exiting_;
  if (!began_) return;
  ++activity.active_;
  if (load_ != nullptr) activity.loads_.insert(load_);
}

EngineActivity::Scope::~Scope() {
  if (!began_) return;
  EngineActivity& activity = Instance();
  std::lock_guard<std::mutex> lock(activity.mu_);
  if (load_ != nullptr) activity.loads_.erase(load_);
  --activity.active_;
  activity.ended_.notify_all();
}

EngineActivity::OpeningScope::OpeningScope() {
  std::lock_guard<std::mutex> lock(Instance().mu_);
  ++Instance().opening_;
}

EngineActivity::OpeningScope::~OpeningScope() {
  std::lock_guard<std::mutex> lock(Instance().mu_);
  --Instance().opening_;
  Instance().ended_.notify_all();
}

bool EngineActivity::WaitForOpening(Duration wait) {
  std::unique_lock<std::mutex> lock(mu_);
  return ended_.wait_for(lock, wait, [this] { return opening_ == 0; });
}

bool EngineActivity::Shutdown(Duration wait) {
  const TimePoint deadline = SystemClock().Now() + wait;
  std::set<std::shared_ptr<LoadCancellation>> loads;
  {
    std::lock_guard<std::mutex> lock(mu_);
    exiting_ = true;
    loads = loads_;
  }
  for (const auto& load : loads) load->Cancel();
  const bool runs_ended = InferencePool::Instance().Shutdown(deadline);
  std::unique_lock<std::mutex> lock(mu_);
  return ended_.wait_until(lock, deadline, [this] { return active_ == 0; }) &&
         runs_ended;
}

}  // namespace aspired
