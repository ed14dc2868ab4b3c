// Lists, intent and events. The loop is in manage_state_loop.cc.
#include "core/aspired_versions_manager.h"

#include <algorithm>
#include <cassert>
#include <set>
#include <utility>

namespace aspired {
namespace {

Status Closed() {
  return Status(ErrorCode::kManagerClosed, "The manager is closed");
}

Status ValidateList(const std::string& name,
                    const std::vector<AspiredVersion>& versions) {
  if (name.empty()) {
    return Status(ErrorCode::kInvalidName, "The servable name is empty");
  }
  std::set<int64_t> seen;
  for (const AspiredVersion& item : versions) {
    if (item.version < 0) {
      return Status(ErrorCode::kInvalidVersion,
                    "Version " + std::to_string(item.version) + " of " + name +
                        " is negative");
    }
    if (!seen.insert(item.version).second) {
      return Status(ErrorCode::kDuplicateVersion,
                    "Version " + std::to_string(item.version) + " of " + name +
                        " is in the list twice");
    }
    if (item.loader == nullptr && item.error.ok()) {
      return Status(ErrorCode::kInvalidLoader,
                    "Version " + std::to_string(item.version) + " of " + name +
                        " has neither a loader nor an error");
    }
  }
  return Status::Ok();
}

}  // namespace

std::shared_ptr<AspiredVersionsManager> AspiredVersionsManager::Create(
    Options options) {
  std::shared_ptr<AspiredVersionsManager> manager(
      new AspiredVersionsManager(std::move(options)));
  manager->Start();
  return manager;
}

AspiredVersionsManager::AspiredVersionsManager(Options options)
    : options_(std::move(options)),
      bus_(std::make_shared<ServableEventBus>()),
      random_(static_cast<uint32_t>(options_.random_seed + 1)) {
  assert(options_.clock != nullptr);
}

void AspiredVersionsManager::Start() {
  // Subscribers hear an event in this order: the monitor first, so that whoever
  // hears later finds it there.
  monitor_ =
      std::make_unique<ServableStateMonitor>(bus_.get(), options_.monitor);
  subscription_ =
      bus_->Subscribe([this](const ServableState& event) { OnEvent(event); });
  BasicManager::Options basic;
  basic.num_load_threads = options_.num_load_threads;
  basic.num_unload_threads = options_.num_unload_threads;
  basic.retry = options_.retry;
  basic.should_retry = options_.should_retry;
  basic.clock = options_.clock;
  basic.bus = bus_;
  basic.readers = options_.readers;
  basic.limits = options_.limits;
  basic.meter = options_.meter;
  basic.on_standby = [weak = weak_from_this()](const ServableId& id,
                                               uint64_t incarnation) {
    if (auto self = weak.lock()) self->OnStandby(id, incarnation);
  };
  basic.on_pressure = [weak = weak_from_this()](const ServableId& id) {
    if (auto self = weak.lock()) self->OnPressure(id);
  };
  // Weak: loads keep the basic manager alive longer than this.
  basic.wake = [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Wake();
  };
  basic.random_seed = options_.random_seed;
  basic_ = BasicManager::Create(std::move(basic));
  if (options_.manage_state_interval.count() > 0) {
    running_ = true;
    loop_ = std::thread([self = shared_from_this()] { self->Run(); });
  }
}

AspiredVersionsManager::~AspiredVersionsManager() {
  Terminate(Duration::zero());
}

// ------------------------------------------------------------------- lists

Status AspiredVersionsManager::SetAspiredVersions(
    const std::string& name, std::vector<AspiredVersion> versions,
    StreamIntent intent, Transition::Done done) {
  if (Status s = ValidateList(name, versions); !s.ok()) return s;
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (closing_) return Closed();
    Stream& stream = StreamLocked(name);
    MergeIntentLocked(stream, std::move(intent));
    for (auto& earlier : stream.transitions) earlier->Supersede();

    auto transition = std::make_unique<Transition>(name, std::move(done));
    std::set<int64_t> next;
    for (const AspiredVersion& item : versions) next.insert(item.version);
    // Before what it leads to: a version that is opened again is aspired.
    PushIntentLocked(stream, &next);
    // Without a successor there is nothing to go back from.
    if (versions.empty()) DisposeLocked(std::move(stream.fallback));
    ProveLocked(stream);
    for (auto& [version, record] : stream.records) {
      if (next.contains(version)) continue;
      if (versions.empty()) record.fallback = false;
      DropLocked(stream, version, record);
      if (versions.empty()) basic_->EvictStandby({name, version});
      const auto now = basic_->GetSnapshot({name, version});
      if (now && !IsTerminal(now->state) && !now->standby) {
        transition->AwaitGone(version, now->incarnation);
      }
    }
    for (AspiredVersion& item : versions) {
      AspireLocked(stream, std::move(item), *transition);
    }
    stream.transitions.push_back(std::move(transition));
    SettleLocked(stream);
    if (!stream.transitions.empty() && !stream.reconciled) {
      stream.reconciled = true;
      reconcile_.push_back(&stream);
    }
    MarkDirtyLocked(stream);
  }
  basic_->Flush();
  Wake();
  return Status::Ok();
}

Status AspiredVersionsManager::SetIntent(const std::string& name,
                                         StreamIntent intent) {
  if (name.empty()) {
    return Status(ErrorCode::kInvalidName, "The servable name is empty");
  }
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (closing_) return Closed();
    Stream& stream = StreamLocked(name);
    MergeIntentLocked(stream, std::move(intent));
    PushIntentLocked(stream, nullptr);
    MarkDirtyLocked(stream);
  }
  basic_->Flush();
  Wake();
  return Status::Ok();
}

StreamIntent AspiredVersionsManager::GetIntent(const std::string& name) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = streams_.find(name);
  if (it == streams_.end() || it->second->intent == nullptr) return {};
  return *it->second->intent;
}

AspiredVersionsManager::Stream& AspiredVersionsManager::StreamLocked(
    const std::string& name) {
  auto [it, is_new] = streams_.try_emplace(name);
  if (is_new) it->second = std::make_unique<Stream>(it->first);
  return *it->second;
}

void AspiredVersionsManager::MergeIntentLocked(Stream& stream,
                                               StreamIntent intent) {
  if (!intent.policy && !intent.labels && !intent.primary && !intent.priority &&
      !intent.on_insufficient_memory && !intent.standby && !intent.bake) {
    return;
  }
  if (stream.intent == nullptr)
    stream.intent = std::make_unique<StreamIntent>();
  if (intent.policy) stream.intent->policy = intent.policy;
  if (intent.labels) stream.intent->labels = std::move(intent.labels);
  if (intent.primary) stream.intent->primary = intent.primary;
  if (intent.priority) stream.intent->priority = intent.priority;
  if (intent.on_insufficient_memory) {
    stream.intent->on_insufficient_memory = intent.on_insufficient_memory;
    for (const auto& [version, record] : stream.records) {
      basic_->SetFreesOwn({stream.name, version},
                          MayFreeOwnLocked(stream, record));
    }
  }
  if (intent.standby) stream.intent->standby = intent.standby;
  if (intent.bake) stream.intent->bake = intent.bake;
}

void AspiredVersionsManager::DropLocked(Stream& stream, int64_t version,
                                        Record& record) {
  if (std::exchange(record.aspired, false)) record.dropped = next_dropped_++;
  record.baking = false;
  CancelIncarnationLocked({stream.name, version}, record);
  if (record.successor != nullptr) {
    DisposeLocked(std::move(record.successor->loader));
    record.successor.reset();
    // A list that waited for the successor hears of it here, or never.
    const Status dropped(ErrorCode::kLoadCancelled,
                         ServableId{stream.name, version}.ToString() +
                             " was dropped before its load");
    for (auto& transition : stream.transitions) {
      transition->SettleVersion(version, dropped);
    }
  }
  // The last good one is loaded again for want of anything better: until that
  // is there, it goes on.
  if (record.fallback && !closing_) return;
  // Past loading this is an error that changes nothing, as it should be.
  (void)basic_->CancelLoad({stream.name, version});
}

void AspiredVersionsManager::CancelIncarnationLocked(const ServableId& id,
                                                     Record& record) {
  if (!record.retry_due) return;
  auto [begin, end] = incarnations_due_.equal_range(*record.retry_due);
  const auto it = std::find_if(
      begin, end, [&id](const auto& due) { return due.second == id; });
  if (it != end) incarnations_due_.erase(it);
  record.retry_due.reset();
}

void AspiredVersionsManager::AspireLocked(Stream& stream, AspiredVersion item,
                                          Transition& transition) {
  auto [it, is_new] = stream.records.try_emplace(item.version);
  Record& record = it->second;
  if (is_new) {
    const ServableId id{stream.name, item.version};
    ManageLocked(stream, id.version, record, std::move(item.loader),
                 std::move(item.error));
    transition.Await(id.version, basic_->GetSnapshot(id)->incarnation - 1);
    return;
  }
  const auto now = basic_->GetSnapshot({stream.name, item.version});
  assert(now.has_value());  // a record lives as long as its version is managed
  ReaspireLocked(stream, record, std::move(item), *now, transition);
}

void AspiredVersionsManager::ReaspireLocked(Stream& stream, Record& record,
                                            AspiredVersion item,
                                            const BasicManager::Snapshot& now,
                                            Transition& transition) {
  const ServableId id{stream.name, item.version};
  const bool was_aspired = std::exchange(record.aspired, true);
  const bool was_fallback = std::exchange(record.fallback, false);
  record.standby_due.reset();
  if (item.replace && !IsTerminal(now.state)) {
    ReplaceLocked(stream, record, std::move(item), now, transition);
    return;
  }
  if (IsTerminal(now.state)) {
    const bool stays_failed =
        !item.replace && (!options_.enable_reload_servables_with_error ||
                          (record.bad && item.same_loader));
    if (was_aspired && stays_failed) {
      transition.AddSettled(id.version, ManagerState::kEnd, now.status);
      DisposeLocked(std::move(item.loader));
      return;
    }
    // A successor that waits is older than this list.
    if (record.successor) DisposeLocked(std::move(record.successor->loader));
    record.successor.reset();
    record.failures = 0;
    record.baked = record.bad = record.freed_for = false;
    CancelIncarnationLocked(id, record);
    transition.Await(id.version, now.incarnation);
    Status s = basic_->StopManagingServable(id);
    assert(s.ok());
    ManageLocked(stream, id.version, record, std::move(item.loader),
                 std::move(item.error));
    return;
  }
  // A bad one goes: what has a new loader comes after it.
  if (was_aspired && (!record.bad || item.same_loader || record.successor)) {
    // A successor with an error has failed before it began.
    if (record.successor && !record.successor->error.ok()) {
      std::swap(record.successor->loader, item.loader);
      record.successor->error = std::move(item.error);
    }
    DisposeLocked(std::move(item.loader));
    if (now.state == HarnessState::kReady) {
      transition.AddSettled(id.version, ManagerState::kAvailable, Status::Ok());
    } else {
      transition.Await(
          id.version, record.successor ? now.incarnation : now.incarnation - 1);
    }
    return;
  }
  // Resident: intent is a bit. What was good enough once needs no bake; what
  // was dropped within its bake has it again.
  if (now.state == HarnessState::kReady || basic_->RevokeUnload(id).ok()) {
    DisposeLocked(std::move(item.loader));
    transition.AddSettled(id.version, ManagerState::kAvailable, Status::Ok());
    return;
  }
  if (was_fallback && !now.cancelled && now.state < HarnessState::kReady) {
    DisposeLocked(std::move(item.loader));
    transition.Await(id.version, now.incarnation - 1);
    return;
  }
  // Its end cannot be stopped any more; the new life waits for it.
  transition.Await(id.version, now.incarnation);
  record.successor = std::make_unique<Successor>(
      Successor{std::move(item.loader), std::move(item.error)});
}

void AspiredVersionsManager::ReplaceLocked(Stream& stream, Record& record,
                                           AspiredVersion item,
                                           const BasicManager::Snapshot& now,
                                           Transition& transition) {
  const ServableId id{stream.name, item.version};
  record.baking = false;
  if (record.successor) DisposeLocked(std::move(record.successor->loader));
  record.successor = std::make_unique<Successor>(
      Successor{std::move(item.loader), std::move(item.error)});
  transition.Await(id.version, now.incarnation);
  if (basic_->CancelLoad(id).ok()) return;
  basic_->EvictStandby(id);
  if (now.state == HarnessState::kReady) basic_->UnloadServable(id, nullptr);
}

void AspiredVersionsManager::ManageLocked(Stream& stream, int64_t version,
                                          Record& record,
                                          std::unique_ptr<Loader> loader,
                                          Status error) {
  const ServableId id{stream.name, version};
  record.source_error = !error.ok();
  record.baking = false;  // that was the bake of the incarnation before
  record.came_later = HasGoodLocked(stream);
  if (record.failures == 0) record.last_error = error;
  Status s = error.ok() ? basic_->ManageServable(id, loader)
                        : basic_->ManageServableWithError(id, std::move(error),
                                                          loader);
  assert(s.ok());
}

void AspiredVersionsManager::DisposeLocked(std::unique_ptr<Loader> loader) {
  if (loader == nullptr) return;
  // Its destructor is foreign code: not under the lock.
  basic_->PushEffect([l = std::shared_ptr<Loader>(
                          std::move(loader))]() mutable { l.reset(); });
}

// ------------------------------------------------------------------ events

void AspiredVersionsManager::OnEvent(const ServableState& event) {
  bool wake = false;
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto it = streams_.find(event.id.name);
    if (it == streams_.end()) return;
    Stream& stream = *it->second;
    auto record = stream.records.find(event.id.version);
    if (event.manager_state == ManagerState::kAvailable) {
      if (record != stream.records.end()) {
        record->second.failures = 0;
        record->second.last_error = Status::Ok();
      }
      wake = true;
    } else if (event.manager_state == ManagerState::kEnd) {
      if (record != stream.records.end()) {
        OnEndLocked(stream, record->second, event);
      }
      wake = true;
    }
    if (wake) MarkDirtyLocked(stream);
    for (auto& transition : stream.transitions) transition->OnEvent(event);
    SettleLocked(stream);
  }
  // What settled was pushed; whoever delivers this event delivers it next.
  if (wake) Wake();
}

void AspiredVersionsManager::OnEndLocked(Stream& stream, Record& record,
                                         const ServableState& event) {
  if (event.health.ok() || !record.aspired || closing_) return;
  const auto now = basic_->GetSnapshot(event.id);
  // A later incarnation has begun, or waits for this one to go.
  if (!now || now->incarnation != event.incarnation || record.successor) return;
  record.last_error = event.health;
  ++record.failures;
  if (record.bad) return;
  if (now->state != HarnessState::kError || record.source_error ||
      !now->retriable || !options_.enable_reload_servables_with_error) {
    return;
  }
  const double random = std::uniform_real_distribution<double>(0, 1)(random_);
  record.retry_due = options_.clock->Now() +
                     options_.retry.slow.After(record.failures, random);
  incarnations_due_.emplace(*record.retry_due,
                            ServableId{stream.name, event.id.version});
}

void AspiredVersionsManager::SettleLocked(Stream& stream) {
  std::erase_if(stream.transitions, [this](auto& transition) {
    if (!transition->settled()) return false;
    if (auto done = transition->TakeDone()) {
      basic_->PushEffect([done = std::move(done),
                          result = transition->result()] { done(result); });
    }
    return true;
  });
  // A stream has none for most of its life.
  if (stream.transitions.empty()) stream.transitions.shrink_to_fit();
}

void AspiredVersionsManager::SettleKeptLocked(Stream& stream) {
  for (auto& transition : stream.transitions) {
    if (!transition->has_failed()) continue;
    const auto& dropped = transition->dropped();
    const bool all_kept =
        std::all_of(dropped.begin(), dropped.end(), [&](const auto& entry) {
          const auto now = basic_->GetSnapshot({stream.name, entry.first});
          return now && now->state == HarnessState::kReady;
        });
    if (all_kept) transition->KeepDropped();
  }
  SettleLocked(stream);
}

// ----------------------------------------------------------------- look-ups

std::vector<ServableVersionState> AspiredVersionsManager::GetVersionStates(
    const std::string& name) const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<ServableVersionState> states;
  auto it = streams_.find(name);
  if (it == streams_.end()) return states;
  const TimePoint now = options_.clock->Now();
  bool degraded = false;
  const auto snapshots = basic_->GetSnapshots(name);
  for (auto s = snapshots.rbegin(); s != snapshots.rend(); ++s) {
    auto found = it->second->records.find(s->version);
    if (found == it->second->records.end()) continue;
    const Record& record = found->second;
    // Gone; the next round forgets it.
    if (!record.aspired && IsTerminal(s->state)) continue;
    ServableVersionState row;
    row.version = s->version;
    row.state = s->state;
    row.aspired = record.aspired;
    row.error = s->status.ok() ? record.last_error : s->status;
    row.attempts = s->attempts;
    row.standby = s->standby;
    row.baking = record.baking;
    row.bad = record.bad;
    if (s->state < HarnessState::kReady) {
      row.waiting = basic_->ExplainWait({name, s->version});
    }
    row.incarnation = s->incarnation;
    if (const auto due = s->retry_due ? s->retry_due : record.retry_due) {
      row.retry_in_ms =
          std::chrono::duration<double, std::milli>(*due - now).count();
    }
    degraded |=
        row.aspired && !row.error.ok() && row.state != HarnessState::kReady;
    states.push_back(std::move(row));
  }
  for (auto& row : states) row.degraded = degraded;
  return states;
}

std::vector<std::string> AspiredVersionsManager::GetServableNames() const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<std::string> names;
  for (const auto& [name, stream] : streams_) {
    if (!stream->records.empty()) names.push_back(name);
  }
  return names;
}

void AspiredVersionsManager::SetNumLoadThreads(int num_threads) {
  basic_->SetNumLoadThreads(num_threads);
  basic_->Flush();
  Wake();
}

void AspiredVersionsManager::SetNumUnloadThreads(int num_threads) {
  basic_->SetNumUnloadThreads(num_threads);
  basic_->Flush();
  Wake();
}

}  // namespace aspired
