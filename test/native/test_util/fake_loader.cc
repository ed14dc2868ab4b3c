#include "native/test_util/fake_loader.h"

#include <gtest/gtest.h>

#include <utility>

#include "native/test_util/deadline.h"

namespace aspired::test {

class LoaderProbe::FakeLoader final : public Loader {
 public:
  explicit FakeLoader(std::shared_ptr<LoaderProbe> probe)
      : probe_(std::move(probe)) {}
  ~FakeLoader() override { probe_->Destroyed(); }

  bool Blocks() const override { return probe_->kind_ == Kind::kBlocking; }
  // The loader may die as soon as `done` was called: only the probe goes on.
  void Load(const LoadContext& context, LoadDone done) override {
    auto probe = probe_;
    probe->Load(context, std::move(done));
  }
  void CancelLoad() override { probe_->CancelLoad(); }
  bool Estimates() const override {
    std::lock_guard<std::mutex> lock(probe_->mu_);
    return probe_->has_estimates_;
  }
  void EstimateResources(const ServableId&, EstimateDone done) override {
    auto probe = probe_;
    probe->EstimateResources(std::move(done));
  }
  std::unique_ptr<Loader> Renew() override { return probe_->Renew(); }
  void Unload(UnloadDone done) override {
    auto probe = probe_;
    probe->Unload(*this, std::move(done));
  }

 private:
  const std::shared_ptr<LoaderProbe> probe_;
};

LoaderProbe::LoaderProbe(Kind kind, const FakeReaders* readers)
    : kind_(kind), readers_(readers) {}

ProbePtr LoaderProbe::Create(Kind kind, const FakeReaders* readers) {
  return ProbePtr(new LoaderProbe(kind, readers));
}

LoaderProbe::~LoaderProbe() { JoinThreads(); }

bool LoaderProbe::JoinThreads() {
  std::vector<std::thread> threads;
  {
    std::lock_guard<std::mutex> lock(mu_);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) {
    // A thread of ours may be the last to let go of the probe.
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();
    } else {
      thread.join();
    }
  }
  return !threads.empty();
}

std::unique_ptr<Loader> LoaderProbe::MakeLoader() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    EXPECT_FALSE(alive_) << "one loader at a time";
    alive_ = true;
    loaded_ = unloaded_ = cancelled_ = loads_forbidden_ = false;
    destroyed_ = false;
  }
  return std::make_unique<FakeLoader>(shared_from_this());
}

void LoaderProbe::ScriptLoad(Status status, bool retriable) {
  std::lock_guard<std::mutex> lock(mu_);
  script_.push_back({std::move(status), retriable});
}

void LoaderProbe::FailAllLoads(Status status, bool retriable) {
  std::lock_guard<std::mutex> lock(mu_);
  outcome_ = {std::move(status), retriable};
}

void LoaderProbe::FailUnloads(Status status) {
  std::lock_guard<std::mutex> lock(mu_);
  unload_outcome_ = std::move(status);
}

void LoaderProbe::HoldLoads(bool hold) {
  std::lock_guard<std::mutex> lock(mu_);
  hold_loads_ = hold;
}

void LoaderProbe::HoldUnloads(bool hold) {
  std::lock_guard<std::mutex> lock(mu_);
  hold_unloads_ = hold;
}

void LoaderProbe::ListenToCancel() {
  std::lock_guard<std::mutex> lock(mu_);
  listen_to_cancel_ = true;
}

void LoaderProbe::OnLoad(std::function<void()> hook) {
  std::lock_guard<std::mutex> lock(mu_);
  on_load_ = std::move(hook);
}

void LoaderProbe::OnUnload(std::function<void()> hook) {
  std::lock_guard<std::mutex> lock(mu_);
  on_unload_ = std::move(hook);
}

void LoaderProbe::OnDestroy(std::function<void()> hook) {
  std::lock_guard<std::mutex> lock(mu_);
  on_destroy_ = std::move(hook);
}

void LoaderProbe::AllowLeak() {
  std::lock_guard<std::mutex> lock(mu_);
  allow_leak_ = true;
}

void LoaderProbe::Estimate(ResourceAllocation estimate) {
  std::lock_guard<std::mutex> lock(mu_);
  has_estimates_ = true;
  estimate_ = std::move(estimate);
}

void LoaderProbe::ScriptEstimate(EstimateOutcome outcome) {
  std::lock_guard<std::mutex> lock(mu_);
  has_estimates_ = true;
  estimate_script_.push_back(std::move(outcome));
}

void LoaderProbe::HoldEstimates(bool hold) {
  std::lock_guard<std::mutex> lock(mu_);
  has_estimates_ = true;
  hold_estimates_ = hold;
}

void LoaderProbe::RenewBy(std::shared_ptr<LoaderProbe> successor) {
  std::lock_guard<std::mutex> lock(mu_);
  successor_ = std::move(successor);
}

// ------------------------------------------------- what the manager calls

void LoaderProbe::EstimateResources(Loader::EstimateDone done) {
  EstimateOutcome outcome;
  {
    std::lock_guard<std::mutex> lock(mu_);
    EXPECT_TRUE(alive_) << "EstimateResources() of a dead loader";
    EXPECT_TRUE(has_estimates_) << "it has no estimates";
    EXPECT_FALSE(held_estimate_) << "EstimateResources() twice at a time";
    EXPECT_FALSE(loading_ || loaded_ || unloading_ || unloaded_)
        << "EstimateResources() of what is loaded";
    ++estimates_;
    changed_.notify_all();
    if (hold_estimates_) {
      held_estimate_ = std::move(done);
      return;
    }
    outcome.estimate = estimate_;
    if (!estimate_script_.empty()) {
      outcome = std::move(estimate_script_.front());
      estimate_script_.pop_front();
    }
  }
  Answer([done = std::move(done), outcome = std::move(outcome)]() mutable {
    done(std::move(outcome));
  });
}

std::unique_ptr<Loader> LoaderProbe::Renew() {
  std::lock_guard<std::mutex> lock(mu_);
  EXPECT_TRUE(alive_) << "Renew() of a dead loader";
  return successor_ == nullptr ? nullptr : successor_->MakeLoader();
}

void LoaderProbe::Load(const LoadContext& context, Loader::LoadDone done) {
  std::function<void()> hook;
  {
    std::lock_guard<std::mutex> lock(mu_);
    EXPECT_TRUE(alive_) << "Load() of a dead loader";
    EXPECT_FALSE(loading_) << "Load() within Load()";
    EXPECT_FALSE(unloading_) << "Load() within Unload()";
    EXPECT_FALSE(loaded_) << "Load() of what is loaded";
    EXPECT_FALSE(unloaded_) << "Load() after Unload()";
    EXPECT_FALSE(loads_forbidden_) << "Load() after a cancelled one";
    loading_ = true;
    ++loads_;
    attempts_.push_back(context.attempt);
    reserved_ = context.reserved;
    over_ = context.over;
    load_thread_ = std::this_thread::get_id();
    hook = on_load_;
    changed_.notify_all();
  }
  if (hook) hook();
  std::unique_lock<std::mutex> lock(mu_);
  if (hold_loads_ && listen_to_cancel_ && cancelled_) {
    lock.unlock();
    return EndLoad(done, {Status(ErrorCode::kLoadCancelled, "cancelled")});
  }
  if (hold_loads_) {
    if (kind_ != Kind::kBlocking) {
      held_load_ = std::move(done);
      load_held_ = true;
      changed_.notify_all();
      return;
    }
    load_held_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return load_answer_.has_value(); });
    const LoadOutcome outcome = *std::exchange(load_answer_, std::nullopt);
    lock.unlock();
    return EndLoad(done, outcome);
  }
  LoadOutcome outcome = outcome_;
  if (!script_.empty()) {
    outcome = std::move(script_.front());
    script_.pop_front();
  }
  lock.unlock();
  Answer([self = shared_from_this(), done = std::move(done),
          outcome = std::move(outcome)] { self->EndLoad(done, outcome); });
}

void LoaderProbe::EndLoad(const Loader::LoadDone& done, LoadOutcome outcome) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    loading_ = false;
    loaded_ = outcome.status.ok();
    if (cancelled_) loads_forbidden_ = true;
    changed_.notify_all();
  }
  done(std::move(outcome));
}

void LoaderProbe::CancelLoad() {
  bool finish = false;
  {
    std::lock_guard<std::mutex> lock(mu_);
    EXPECT_TRUE(alive_) << "CancelLoad() of a dead loader";
    EXPECT_FALSE(cancelled_) << "CancelLoad() twice";
    EXPECT_FALSE(unloaded_) << "CancelLoad() after Unload()";
    cancelled_ = true;
    ++cancels_;
    finish = listen_to_cancel_ && load_held_;
    changed_.notify_all();
  }
  if (finish) {
    FinishLoad(Status(ErrorCode::kLoadCancelled, "the loader was cancelled"));
  }
}

void LoaderProbe::Unload(const Loader& loader, Loader::UnloadDone done) {
  std::function<void()> hook;
  if (readers_ != nullptr) {
    EXPECT_FALSE(readers_->IsReadable(loader)) << "Unload() under a reader";
  }
  {
    std::lock_guard<std::mutex> lock(mu_);
    EXPECT_TRUE(alive_) << "Unload() of a dead loader";
    EXPECT_FALSE(loading_) << "Unload() within Load()";
    EXPECT_FALSE(unloading_) << "Unload() within Unload()";
    EXPECT_TRUE(loaded_) << "Unload() without a successful Load()";
    unloading_ = true;
    loaded_ = false;
    ++unloads_;
    unload_thread_ = std::this_thread::get_id();
    hook = on_unload_;
    changed_.notify_all();
  }
  if (hook) hook();
  std::unique_lock<std::mutex> lock(mu_);
  if (hold_unloads_) {
    if (kind_ != Kind::kBlocking) {
      held_unload_ = std::move(done);
      unload_held_ = true;
      changed_.notify_all();
      return;
    }
    unload_held_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return unload_answer_.has_value(); });
    const Status outcome = *std::exchange(unload_answer_, std::nullopt);
    lock.unlock();
    return EndUnload(done, outcome);
  }
  const Status outcome = unload_outcome_;
  lock.unlock();
  Answer([self = shared_from_this(), done = std::move(done), outcome] {
    self->EndUnload(done, outcome);
  });
}

void LoaderProbe::EndUnload(const Loader::UnloadDone& done, Status outcome) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    unloading_ = false;
    unloaded_ = true;
    changed_.notify_all();
  }
  done(std::move(outcome));
}

void LoaderProbe::Answer(std::function<void()> answer) {
  if (kind_ != Kind::kOtherThread) return answer();
  std::lock_guard<std::mutex> lock(mu_);
  threads_.emplace_back(std::move(answer));
}

void LoaderProbe::Destroyed() {
  std::function<void()> hook;
  {
    std::lock_guard<std::mutex> lock(mu_);
    EXPECT_FALSE(loading_) << "destroyed within Load()";
    EXPECT_FALSE(unloading_) << "destroyed within Unload()";
    EXPECT_TRUE(!loaded_ || allow_leak_) << "destroyed while it was loaded";
    alive_ = false;
    hook = on_destroy_;
  }
  if (hook) hook();
  std::lock_guard<std::mutex> lock(mu_);
  destroyed_ = true;
  destroy_thread_ = std::this_thread::get_id();
  changed_.notify_all();
}

// ----------------------------------------------------------------- the hand

void LoaderProbe::FinishLoad(Status status, bool retriable) {
  Loader::LoadDone done;
  {
    std::unique_lock<std::mutex> lock(mu_);
    const bool held =
        changed_.wait_for(lock, kDeadline, [this] { return load_held_; });
    ASSERT_TRUE(held) << "no load to finish";
    load_held_ = false;
    if (kind_ == Kind::kBlocking) {
      load_answer_ = LoadOutcome{std::move(status), retriable};
      changed_.notify_all();
      return;
    }
    done = std::exchange(held_load_, nullptr);
  }
  EndLoad(done, {std::move(status), retriable});
}

void LoaderProbe::GiveUpLoad(Status status, bool retriable) {
  Loader::LoadDone done;
  {
    std::unique_lock<std::mutex> lock(mu_);
    const bool held =
        changed_.wait_for(lock, kDeadline, [this] { return load_held_; });
    ASSERT_TRUE(held && kind_ != Kind::kBlocking) << "no load to give up";
    load_held_ = false;
    given_up_ = over_;
    done = std::exchange(held_load_, nullptr);
  }
  EndLoad(done, {std::move(status), retriable, /*given_up=*/true});
}

void LoaderProbe::LoadIsOver() {
  std::function<void()> over;
  {
    std::lock_guard<std::mutex> lock(mu_);
    ASSERT_TRUE(given_up_) << "no load was given up";
    over = std::exchange(given_up_, nullptr);
  }
  over();
}

void LoaderProbe::FinishUnload(Status status) {
  Loader::UnloadDone done;
  {
    std::unique_lock<std::mutex> lock(mu_);
    const bool held =
        changed_.wait_for(lock, kDeadline, [this] { return unload_held_; });
    ASSERT_TRUE(held) << "no unload to finish";
    unload_held_ = false;
    if (kind_ == Kind::kBlocking) {
      unload_answer_ = std::move(status);
      changed_.notify_all();
      return;
    }
    done = std::exchange(held_unload_, nullptr);
  }
  EndUnload(done, std::move(status));
}

void LoaderProbe::FinishEstimate() {
  EstimateOutcome outcome;
  {
    std::lock_guard<std::mutex> lock(mu_);
    outcome.estimate = estimate_;
  }
  FinishEstimate(std::move(outcome));
}

void LoaderProbe::FinishEstimate(EstimateOutcome outcome) {
  Loader::EstimateDone done;
  {
    std::unique_lock<std::mutex> lock(mu_);
    const bool held = changed_.wait_for(
        lock, kDeadline, [this] { return held_estimate_ != nullptr; });
    ASSERT_TRUE(held) << "no estimate to finish";
    done = std::exchange(held_estimate_, nullptr);
  }
  done(std::move(outcome));
}

// --------------------------------------------------------------- the record

int LoaderProbe::estimates() const {
  std::lock_guard<std::mutex> lock(mu_);
  return estimates_;
}
ResourceAllocation LoaderProbe::reserved() const {
  std::lock_guard<std::mutex> lock(mu_);
  return reserved_;
}

int LoaderProbe::loads() const {
  std::lock_guard<std::mutex> lock(mu_);
  return loads_;
}
int LoaderProbe::unloads() const {
  std::lock_guard<std::mutex> lock(mu_);
  return unloads_;
}
int LoaderProbe::cancels() const {
  std::lock_guard<std::mutex> lock(mu_);
  return cancels_;
}
bool LoaderProbe::loading() const {
  std::lock_guard<std::mutex> lock(mu_);
  return loading_;
}
bool LoaderProbe::unloading() const {
  std::lock_guard<std::mutex> lock(mu_);
  return unloading_;
}
bool LoaderProbe::destroyed() const {
  std::lock_guard<std::mutex> lock(mu_);
  return destroyed_;
}
std::vector<int> LoaderProbe::attempts() const {
  std::lock_guard<std::mutex> lock(mu_);
  return attempts_;
}
std::thread::id LoaderProbe::load_thread() const {
  std::lock_guard<std::mutex> lock(mu_);
  return load_thread_;
}
std::thread::id LoaderProbe::unload_thread() const {
  std::lock_guard<std::mutex> lock(mu_);
  return unload_thread_;
}
std::thread::id LoaderProbe::destroy_thread() const {
  std::lock_guard<std::mutex> lock(mu_);
  return destroy_thread_;
}

template <typename Predicate>
bool LoaderProbe::WaitUntil(Predicate predicate) const {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, kDeadline, predicate);
}

bool LoaderProbe::WaitForLoads(int times) const {
  return WaitUntil([&] { return loads_ >= times; });
}
bool LoaderProbe::WaitForUnloads(int times) const {
  return WaitUntil([&] { return unloads_ >= times; });
}
bool LoaderProbe::WaitForCancels(int times) const {
  return WaitUntil([&] { return cancels_ >= times; });
}
bool LoaderProbe::WaitForDestroyed() const {
  return WaitUntil([&] { return destroyed_; });
}

}  // namespace aspired::test
