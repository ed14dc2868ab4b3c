// The manage-state loop of AspiredVersionsManager: from what changed to
// actions.
#include <algorithm>
#include <cassert>
#include <utility>

#include "concurrency/thread.h"
#include "core/aspired_versions_manager.h"

namespace aspired {
namespace {

// How many streams with a pending transition one interval looks at again.
// Everything is driven by events; this only heals what a bug might lose, so it
// is bounded.
constexpr size_t kReconciledPerInterval = 64;

// How many streams one round decides about under the mutex, so that a caller
// waits at most about a millisecond for it. A total order over all actions
// needs all streams in one round.
constexpr size_t kStreamsPerRound = 512;

}  // namespace

void AspiredVersionsManager::MarkDirtyLocked(Stream& stream) {
  if (stream.dirty) return;
  stream.dirty = true;
  dirty_.push_back(&stream);
}

// ------------------------------------------------------------------- a round

void AspiredVersionsManager::Step() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    // Rounds do not overlap: the one under way makes another one for us.
    step_again_ = true;
    if (stepping_) return;
    stepping_ = true;
  }
  while (true) {
    {
      std::lock_guard<std::mutex> lock(mu_);
      if (!step_again_) {
        stepping_ = false;
        return;
      }
      step_again_ = false;
    }
    DecideRound();
    if (basic_->PumpOnce()) {
      // Between two inline loads intent may change, and unloads come first.
      std::lock_guard<std::mutex> lock(mu_);
      step_again_ = true;
    }
    FinishCloseIfDone();
  }
}

void AspiredVersionsManager::DecideRound() {
  std::vector<std::string> external;
  std::lock_guard<std::mutex> lock(mu_);
  const TimePoint now = options_.clock->Now();
  RetryDueLocked(now);
  ExpireStandbysLocked(now);
  ReconcileLocked(now);
  const bool total_order = options_.comparator || options_.external_order;
  const size_t count =
      total_order ? dirty_.size() : std::min(dirty_.size(), kStreamsPerRound);
  const std::vector<Stream*> dirty(dirty_.begin(), dirty_.begin() + count);
  dirty_.erase(dirty_.begin(), dirty_.begin() + count);
  if (!dirty_.empty()) step_again_ = true;
  std::vector<ServableAction> actions;
  for (Stream* stream : dirty) {
    stream->dirty = false;
    ReapLocked(*stream);
    DecideLocked(*stream, &actions, &external);
  }
  SortLocked(&actions);
  for (const ServableAction& action : actions) {
    if (!IsKeptLocked(action)) PerformLocked(action);
  }
  asked_.insert(external.begin(), external.end());
  for (Stream* stream : dirty) {
    if (!asked_.contains(stream->name)) SettleKeptLocked(*stream);
    ForgetIfEmptyLocked(*stream);
  }
  if (!external.empty()) {
    basic_->PushEffect([decide = options_.decide, names = std::move(external)] {
      decide(names);
    });
  }
}

void AspiredVersionsManager::RetryDueLocked(TimePoint now) {
  while (!incarnations_due_.empty() &&
         incarnations_due_.begin()->first <= now) {
    auto node = incarnations_due_.extract(incarnations_due_.begin());
    const ServableId& id = node.mapped();
    auto stream = streams_.find(id.name);
    if (stream == streams_.end()) continue;
    auto found = stream->second->records.find(id.version);
    if (found == stream->second->records.end()) continue;
    Record& record = found->second;
    // Dropped, or started anew by a list, since the retry was planned.
    if (record.retry_due != node.key()) continue;
    record.retry_due.reset();
    std::unique_ptr<Loader> loader;
    if (!basic_->StopManagingServable(id, &loader).ok()) continue;
    ManageLocked(*stream->second, id.version, record, std::move(loader),
                 Status::Ok());
    MarkDirtyLocked(*stream->second);
  }
}

void AspiredVersionsManager::ReconcileLocked(TimePoint now) {
  if (reconcile_.empty()) {
    reconcile_due_.reset();
    return;
  }
  if (!reconcile_due_ || now < *reconcile_due_) {
    if (!reconcile_due_) reconcile_due_ = now + options_.manage_state_interval;
    return;
  }
  reconcile_due_ = now + options_.manage_state_interval;
  size_t looked_at = 0;
  for (size_t left = reconcile_.size();
       left > 0 && looked_at < kReconciledPerInterval; --left) {
    Stream* stream = reconcile_.front();
    reconcile_.pop_front();
    stream->reconciled = !stream->transitions.empty();
    if (stream->reconciled) {
      reconcile_.push_back(stream);
      ++looked_at;
    } else if (!stream->records.empty()) {
      continue;
    }
    MarkDirtyLocked(*stream);
  }
}

// Removes what has ended, and starts the successors that waited for it.
void AspiredVersionsManager::ReapLocked(Stream& stream) {
  for (const auto& [version, state] : basic_->GetStates(stream.name)) {
    if (!IsTerminal(state)) continue;
    auto it = stream.records.find(version);
    assert(it != stream.records.end());
    Record& record = it->second;
    if (record.aspired && record.successor == nullptr) continue;
    Status s = basic_->StopManagingServable({stream.name, version});
    assert(s.ok());
    if (!record.aspired) {
      stream.records.erase(it);
      continue;
    }
    auto successor = std::move(record.successor);
    record.failures = 0;
    record.baked = record.bad = record.freed_for = false;
    ManageLocked(stream, version, record, std::move(successor->loader),
                 std::move(successor->error));
  }
}

void AspiredVersionsManager::ForgetIfEmptyLocked(Stream& stream) {
  const bool has_intent =
      stream.intent != nullptr &&
      (stream.intent->policy || stream.intent->primary.value_or(std::nullopt) ||
       (stream.intent->labels && !stream.intent->labels->empty()) ||
       stream.intent->priority || stream.intent->on_insufficient_memory ||
       stream.intent->standby || stream.intent->bake);
  if (stream.records.empty() && stream.transitions.empty() && !has_intent &&
      !stream.dirty && !stream.reconciled) {
    streams_.erase(stream.name);
  }
}

// ------------------------------------------------------------------ decisions

const AspiredVersionPolicy* AspiredVersionsManager::PolicyOfLocked(
    const Stream& stream) const {
  return stream.intent == nullptr
             ? options_.policy
             : stream.intent->policy.value_or(options_.policy);
}

std::vector<AspiredServableStateSnapshot>
AspiredVersionsManager::GetPolicySnapshots(const std::string& name) const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<AspiredServableStateSnapshot> snapshots;
  auto stream = streams_.find(name);
  if (stream == streams_.end()) return snapshots;
  for (const auto& [version, state] : basic_->GetStates(name)) {
    auto record = stream->second->records.find(version);
    snapshots.push_back(
        {version, state,
         record != stream->second->records.end() && record->second.aspired});
  }
  return snapshots;
}

std::vector<ServableAction> AspiredVersionsManager::CollectLocked(
    const Stream& stream) const {
  std::vector<ServableAction> actions;
  const AspiredVersionPolicy* policy = PolicyOfLocked(stream);
  if (policy == nullptr) return actions;
  std::vector<AspiredServableStateSnapshot> snapshots;
  for (const auto& [version, state] : basic_->GetStates(stream.name)) {
    snapshots.push_back({version, state, stream.records.at(version).aspired});
  }
  // What a bake goes back to stays; for the policy it is as good as on its way.
  while (const auto action = policy->GetNextAction(snapshots)) {
    const bool load = action->kind == PolicyAction::Kind::kLoad;
    auto it = std::lower_bound(
        snapshots.begin(), snapshots.end(), action->version,
        [](const auto& s, int64_t v) { return s.version < v; });
    // An answer that no state allows would be given for ever: stop asking.
    if (it == snapshots.end() || it->version != action->version ||
        it->state != (load ? HarnessState::kNew : HarnessState::kReady)) {
      break;
    }
    if (!load) it = UnprovenInsteadLocked(stream, snapshots, it);
    it->state =
        load ? HarnessState::kLoadRequested : HarnessState::kUnloadRequested;
    if (!load && stream.bake_previous == it->version) continue;
    actions.push_back({action->kind, {stream.name, it->version}});
  }
  return actions;
}

void AspiredVersionsManager::DecideLocked(Stream& stream,
                                          std::vector<ServableAction>* actions,
                                          std::vector<std::string>* external) {
  if (stream.records.empty()) return;
  if (closing_) {
    for (const auto& [version, state] : basic_->GetStates(stream.name)) {
      if (state == HarnessState::kReady) {
        actions->push_back(
            {PolicyAction::Kind::kUnload, {stream.name, version}});
      }
    }
    return;
  }
  UpdateBakeLocked(stream);
  FreeOwnLocked(stream);
  FallBackLocked(stream);
  LimitStandbysLocked(stream);
  if (options_.external_order || PolicyOfLocked(stream) == nullptr) {
    external->push_back(stream.name);
    return;
  }
  for (ServableAction& action : CollectLocked(stream)) {
    actions->push_back(std::move(action));
  }
}

// Since the decision, a version may have become Ready whose bake needs that
// one.
bool AspiredVersionsManager::IsKeptLocked(const ServableAction& action) {
  if (action.kind == PolicyAction::Kind::kLoad) return false;
  Stream& stream = *streams_.at(action.id.name);
  UpdateBakeLocked(stream);
  return stream.bake_previous == action.id.version;
}

std::vector<ServableAction> AspiredVersionsManager::CollectActions(
    const std::string& name) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto stream = streams_.find(name);
  if (stream == streams_.end() || closing_) return {};
  return CollectLocked(*stream->second);
}

void AspiredVersionsManager::SortLocked(
    std::vector<ServableAction>* actions) const {
  std::stable_sort(actions->begin(), actions->end(),
                   [this](const ServableAction& a, const ServableAction& b) {
                     if (a.kind != b.kind) {
                       return a.kind == PolicyAction::Kind::kUnload;
                     }
                     return options_.comparator && options_.comparator(a, b);
                   });
}

void AspiredVersionsManager::PerformLocked(const ServableAction& action) {
  Stream& stream = *streams_.at(action.id.name);
  const Record& record = stream.records.at(action.id.version);
  if (action.kind == PolicyAction::Kind::kLoad) {
    BasicManager::LoadOptions options;
    if (stream.intent) options.priority = stream.intent->priority.value_or(0);
    options.frees_own = MayFreeOwnLocked(stream, record);
    basic_->LoadServable(action.id, options, nullptr);
    return;
  }
  BasicManager::UnloadOptions options;
  options.keep_drained = WantsStandbyLocked(stream, record);
  basic_->UnloadServable(action.id, std::move(options), nullptr);
  if (options.keep_drained) LimitStandbysLocked(stream);
}

std::vector<Status> AspiredVersionsManager::PerformActions(
    const std::vector<ServableAction>& actions) {
  std::vector<Status> statuses;
  {
    std::lock_guard<std::mutex> lock(mu_);
    for (const ServableAction& action : actions) {
      if (closing_) {
        statuses.emplace_back(ErrorCode::kManagerClosed,
                              "The manager is closed");
        continue;
      }
      const bool load = action.kind == PolicyAction::Kind::kLoad;
      const auto now = basic_->GetSnapshot(action.id);
      if (!now) {
        statuses.emplace_back(ErrorCode::kServableNotManaged,
                              action.id.ToString() + " is not being managed");
      } else if (now->state !=
                 (load ? HarnessState::kNew : HarnessState::kReady)) {
        statuses.emplace_back(
            load ? ErrorCode::kDuplicateLoadRequest
                 : ErrorCode::kDuplicateUnloadRequest,
            action.id.ToString() + " is " + std::string(Name(now->state)));
      } else if (IsKeptLocked(action)) {
        statuses.emplace_back(
            ErrorCode::kIllegalTransition,
            action.id.ToString() + " is kept: its successor is in its bake");
      } else {
        PerformLocked(action);
        statuses.emplace_back();
      }
    }
    for (const std::string& name : std::exchange(asked_, {})) {
      auto stream = streams_.find(name);
      if (stream != streams_.end()) SettleKeptLocked(*stream->second);
    }
  }
  basic_->Flush();
  return statuses;
}

// ------------------------------------------------------------------- the loop

std::optional<TimePoint> AspiredVersionsManager::NextDue() const {
  std::optional<TimePoint> due = basic_->NextDue();
  const auto earliest = [&due](std::optional<TimePoint> other) {
    if (other && (!due || *other < *due)) due = other;
  };
  std::lock_guard<std::mutex> lock(mu_);
  if (!incarnations_due_.empty()) earliest(incarnations_due_.begin()->first);
  if (!standbys_due_.empty()) earliest(standbys_due_.begin()->first);
  if (!reconcile_.empty() && options_.manage_state_interval.count() > 0) {
    earliest(reconcile_due_.value_or(options_.clock->Now() +
                                     options_.manage_state_interval));
  }
  if (closing_ && !closed_) earliest(close_deadline_);
  return due;
}

void AspiredVersionsManager::Wake() {
  {
    std::lock_guard<std::mutex> lock(loop_mu_);
    woken_ = true;
  }
  loop_wake_.notify_one();
}

void AspiredVersionsManager::Run() {
  SetCurrentThreadName("aspired-manage");
  std::unique_lock<std::mutex> lock(loop_mu_);
  while (!stop_) {
    if (!woken_) {
      lock.unlock();
      const auto due = NextDue();
      lock.lock();
      const auto ready = [this] { return woken_ || stop_; };
      if (due) {
        loop_wake_.wait_until(lock, *due, ready);
      } else {
        loop_wake_.wait(lock, ready);
      }
    }
    if (stop_) break;
    woken_ = false;
    lock.unlock();
    Step();
    lock.lock();
  }
  running_ = false;
  loop_exited_.notify_all();
}

// --------------------------------------------------------------------- closing

Status AspiredVersionsManager::Close(Duration drain_timeout, CloseDone done) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (closing_) {
      return Status(ErrorCode::kManagerClosed, "The manager is closed");
    }
    closing_ = true;
    close_deadline_ = options_.clock->Now() + drain_timeout;
    close_done_ = std::move(done);
    incarnations_due_.clear();
    standbys_due_.clear();
    for (auto& [name, stream] : streams_) {
      for (auto& [version, record] : stream->records) {
        DropLocked(*stream, version, record);
      }
      DisposeLocked(std::move(stream->fallback));
      MarkDirtyLocked(*stream);
    }
    basic_->EvictStandbys();
  }
  basic_->Flush();
  Wake();
  return Status::Ok();
}

void AspiredVersionsManager::FinishCloseIfDone() {
  CloseDone done;
  std::vector<ServableId> abandoned;
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (!closing_ || closed_) return;
    const bool any = basic_->num_managed() > 0;
    if (any && options_.clock->Now() < close_deadline_) return;
    closed_ = true;
    abandoned = basic_->AbandonAll("when the drain deadline of close() passed");
    done = std::move(close_done_);
  }
  basic_->Flush();
  // What was abandoned may hang in a loader for ever: those threads are left
  // to themselves. Otherwise nothing is under way and this is a plain join.
  basic_->Shutdown(abandoned.empty() ? std::nullopt
                                     : std::optional(Duration::zero()));
  monitor_->Close();
  {
    std::lock_guard<std::mutex> lock(loop_mu_);
    stop_ = true;
  }
  // As effects, because another thread may still be delivering the last events:
  // first these, then what they leave unsettled, then the completion. It comes
  // from inside, behind what SettleAll() pushes.
  basic_->PushEffect([self = shared_from_this(), done = std::move(done),
                      abandoned = std::move(abandoned)]() mutable {
    self->SettleAll();
    self->basic_->PushEffect(
        [done = std::move(done), abandoned = std::move(abandoned)] {
          if (done) done(abandoned);
        });
  });
  basic_->Flush();
}

void AspiredVersionsManager::SettleAll() {
  std::lock_guard<std::mutex> lock(mu_);
  const Status closed(ErrorCode::kManagerClosed, "The manager was closed");
  for (auto& [name, stream] : streams_) {
    for (auto& transition : stream->transitions) transition->SettleAll(closed);
    SettleLocked(*stream);
  }
}

void AspiredVersionsManager::Join() {
  if (loop_.joinable()) loop_.join();
}

void AspiredVersionsManager::Terminate(Duration wait) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    closing_ = true;
    closed_ = true;
    for (auto& [name, stream] : streams_) {
      for (auto& [version, record] : stream->records) {
        (void)basic_->CancelLoad({name, version});
      }
    }
  }
  basic_->Flush();
  basic_->Shutdown(Duration::zero());
  bool exited = false;
  {
    std::unique_lock<std::mutex> lock(loop_mu_);
    stop_ = true;
    loop_wake_.notify_all();
    exited = loop_exited_.wait_for(lock, wait, [this] { return !running_; });
  }
  if (!loop_.joinable()) return;
  if (exited && loop_.get_id() != std::this_thread::get_id()) {
    loop_.join();
  } else {
    // It is in an inline load, or it is this thread; it owns a share of the
    // manager and ends after that.
    loop_.detach();
  }
}

}  // namespace aspired
