#include "core/servable_state_monitor.h"

#include <algorithm>
#include <condition_variable>

namespace aspired {

struct ServableStateMonitor::Wait {
  WaitId id = 0;
  std::vector<Request> requests;
  ManagerState goal = ManagerState::kAvailable;
  WaitDone done;
  // One per request; empty until it settles.
  std::vector<std::optional<ServableState>> settled;
  size_t unsettled = 0;
};

namespace {

bool IsAt(const ServableState& s, ManagerState goal) {
  if (s.manager_state == goal) return true;
  return goal < ManagerState::kAvailable && s.manager_state > goal &&
         s.manager_state <= ManagerState::kAvailable;
}

bool HasEnded(const ServableState& s) {
  return s.manager_state == ManagerState::kEnd;
}

// The state that settles a request, if any; see the header.
const ServableState* SettledBy(const std::vector<ServableState>& versions,
                               const std::optional<int64_t>& version,
                               ManagerState goal) {
  if (version) {
    for (const auto& s : versions) {
      if (s.id.version == *version) {
        return IsAt(s, goal) || HasEnded(s) ? &s : nullptr;
      }
    }
    return nullptr;
  }
  for (auto it = versions.rbegin(); it != versions.rend(); ++it) {
    if (IsAt(*it, goal)) return &*it;
  }
  if (versions.empty()) return nullptr;
  return std::all_of(versions.begin(), versions.end(), HasEnded)
             ? &versions.back()
             : nullptr;
}

}  // namespace

ServableStateMonitor::ServableStateMonitor(ServableEventBus* bus,
                                           Options options)
    : options_(options) {
  if (bus != nullptr) {
    subscription_ =
        bus->Subscribe([this](const ServableState& e) { HandleEvent(e); });
  }
}

ServableStateMonitor::~ServableStateMonitor() {
  subscription_.reset();
  Close();
}

void ServableStateMonitor::HandleEvent(const ServableState& event) {
  std::vector<Completion> completions;
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (!RecordLocked(event)) return;
    auto it = streams_.find(event.id.name);
    if (it != streams_.end() && !it->second.waits.empty()) {
      const std::vector<WaitPtr> waits = it->second.waits;
      for (const auto& wait : waits) {
        SettleLocked(wait, event.id.name);
        CollectIfDoneLocked(wait, &completions);
      }
    }
    if (HasEnded(event)) {
      ended_.emplace_back(event.id, event.incarnation);
      ++num_ended_;
      ForgetOldestLocked();
    }
  }
  Run(std::move(completions));
}

bool ServableStateMonitor::RecordLocked(const ServableState& event) {
  auto& versions = streams_[event.id.name].versions;
  auto it = std::lower_bound(
      versions.begin(), versions.end(), event.id.version,
      [](const ServableState& s, int64_t v) { return s.id.version < v; });
  if (it != versions.end() && it->id.version == event.id.version) {
    const bool old = event.incarnation < it->incarnation;
    const bool backwards = event.incarnation == it->incarnation &&
                           event.manager_state < it->manager_state;
    if (old || backwards) return false;
    if (HasEnded(*it)) --num_ended_;
    *it = event;
  } else {
    versions.insert(it, event);
  }
  if (options_.max_log_events > 0) {
    if (log_.size() == options_.max_log_events) log_.pop_front();
    log_.push_back(event);
  }
  return true;
}

bool ServableStateMonitor::IsLastLocked(const ServableId& id,
                                        uint64_t incarnation) const {
  auto stream = streams_.find(id.name);
  if (stream == streams_.end()) return false;
  return std::any_of(
      stream->second.versions.begin(), stream->second.versions.end(),
      [&](const ServableState& s) {
        return s.id == id && s.incarnation == incarnation && HasEnded(s);
      });
}

void ServableStateMonitor::ForgetOldestLocked() {
  while (num_ended_ > options_.max_ended) {
    const auto [id, incarnation] = std::move(ended_.front());
    ended_.pop_front();
    if (!IsLastLocked(id, incarnation)) continue;
    auto stream = streams_.find(id.name);
    std::erase_if(stream->second.versions,
                  [&](const ServableState& s) { return s.id == id; });
    --num_ended_;
    if (stream->second.versions.empty() && stream->second.waits.empty()) {
      streams_.erase(stream);
    }
  }
  // A version that fails again and again leaves an End each time.
  if (ended_.size() > 2 * options_.max_ended + 64) {
    std::erase_if(ended_, [this](const auto& end) {
      return !IsLastLocked(end.first, end.second);
    });
  }
}

std::optional<ServableState> ServableStateMonitor::GetState(
    const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto stream = streams_.find(id.name);
  if (stream == streams_.end()) return std::nullopt;
  for (const auto& s : stream->second.versions) {
    if (s.id.version == id.version) return s;
  }
  return std::nullopt;
}

std::vector<ServableState> ServableStateMonitor::GetVersionStates(
    const std::string& name) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto stream = streams_.find(name);
  if (stream == streams_.end()) return {};
  const auto& versions = stream->second.versions;
  return {versions.rbegin(), versions.rend()};
}

std::map<std::string, std::vector<ServableState>>
ServableStateMonitor::GetAllServableStates() const {
  std::lock_guard<std::mutex> lock(mu_);
  std::map<std::string, std::vector<ServableState>> all;
  for (const auto& [name, stream] : streams_) {
    if (stream.versions.empty()) continue;
    all[name] = {stream.versions.rbegin(), stream.versions.rend()};
  }
  return all;
}

std::map<std::string, std::vector<ServableState>>
ServableStateMonitor::GetLiveServableStates() const {
  auto live = GetAllServableStates();
  for (auto& [name, versions] : live) std::erase_if(versions, HasEnded);
  std::erase_if(live, [](const auto& entry) { return entry.second.empty(); });
  return live;
}

std::vector<ServableState> ServableStateMonitor::GetBoundedLog() const {
  std::lock_guard<std::mutex> lock(mu_);
  return {log_.begin(), log_.end()};
}

void ServableStateMonitor::ForgetUnloadedServableStates() {
  std::lock_guard<std::mutex> lock(mu_);
  for (auto& [name, stream] : streams_) {
    std::erase_if(stream.versions, HasEnded);
  }
  std::erase_if(streams_, [](const auto& entry) {
    return entry.second.versions.empty() && entry.second.waits.empty();
  });
  ended_.clear();
  num_ended_ = 0;
}

ServableStateMonitor::WaitId
ServableStateMonitor::NotifyWhenServablesReachState(
    std::vector<Request> requests, ManagerState goal, WaitDone done) {
  auto wait = std::make_shared<Wait>();
  wait->requests = std::move(requests);
  wait->goal = goal;
  wait->done = std::move(done);
  wait->settled.resize(wait->requests.size());
  wait->unsettled = wait->requests.size();
  std::vector<Completion> completions;
  {
    std::lock_guard<std::mutex> lock(mu_);
    wait->id = next_wait_++;
    waits_.emplace(wait->id, wait);
    for (const Request& request : wait->requests) {
      auto& waits = streams_[request.name].waits;
      if (std::find(waits.begin(), waits.end(), wait) == waits.end()) {
        waits.push_back(wait);
      }
      SettleLocked(wait, request.name);
    }
    if (closed_) {
      DetachLocked(wait);
      completions.push_back({wait, WaitOutcome::kClosed});
    } else {
      CollectIfDoneLocked(wait, &completions);
    }
  }
  const WaitId id = wait->id;
  Run(std::move(completions));
  return id;
}

void ServableStateMonitor::SettleLocked(const WaitPtr& wait,
                                        const std::string& name) {
  const auto& versions = streams_[name].versions;
  for (size_t i = 0; i < wait->requests.size(); ++i) {
    const Request& request = wait->requests[i];
    if (wait->settled[i] || request.name != name) continue;
    const auto* state = SettledBy(versions, request.version, wait->goal);
    if (state == nullptr) continue;
    wait->settled[i] = *state;
    --wait->unsettled;
  }
}

void ServableStateMonitor::CollectIfDoneLocked(
    const WaitPtr& wait, std::vector<Completion>* completions) {
  if (wait->unsettled > 0) return;
  const bool reached =
      std::all_of(wait->settled.begin(), wait->settled.end(),
                  [&](const auto& state) { return IsAt(*state, wait->goal); });
  DetachLocked(wait);
  completions->push_back(
      {wait, reached ? WaitOutcome::kReached : WaitOutcome::kEnded});
}

void ServableStateMonitor::DetachLocked(const WaitPtr& wait) {
  waits_.erase(wait->id);
  for (const Request& request : wait->requests) {
    auto stream = streams_.find(request.name);
    if (stream == streams_.end()) continue;
    std::erase(stream->second.waits, wait);
    if (stream->second.versions.empty() && stream->second.waits.empty()) {
      streams_.erase(stream);
    }
  }
}

void ServableStateMonitor::CancelWait(WaitId id) {
  WaitPtr wait;  // its closure dies with no lock held
  std::lock_guard<std::mutex> lock(mu_);
  auto it = waits_.find(id);
  if (it == waits_.end()) return;
  wait = it->second;
  DetachLocked(wait);
}

bool ServableStateMonitor::WaitUntilServablesReachState(
    std::vector<Request> requests, ManagerState goal, Duration timeout,
    std::vector<ServableState>* states) {
  // Shared with the callback, which may run after a timeout.
  struct Result {
    std::mutex mu;
    std::condition_variable decided;
    std::optional<WaitOutcome> outcome;
    std::vector<ServableState> states;
  };
  auto result = std::make_shared<Result>();
  const WaitId id = NotifyWhenServablesReachState(
      std::move(requests), goal,
      [result](WaitOutcome outcome, std::vector<ServableState> reached) {
        std::lock_guard<std::mutex> lock(result->mu);
        result->outcome = outcome;
        result->states = std::move(reached);
        result->decided.notify_all();
      });
  std::unique_lock<std::mutex> lock(result->mu);
  result->decided.wait_for(lock, timeout,
                           [&] { return result->outcome.has_value(); });
  if (!result->outcome) {
    lock.unlock();
    CancelWait(id);
    return false;
  }
  if (states != nullptr) *states = std::move(result->states);
  return *result->outcome == WaitOutcome::kReached;
}

void ServableStateMonitor::Close() {
  std::vector<Completion> completions;
  {
    std::lock_guard<std::mutex> lock(mu_);
    closed_ = true;
    std::map<WaitId, WaitPtr> waits = waits_;
    for (const auto& [id, wait] : waits) {
      DetachLocked(wait);
      completions.push_back({wait, WaitOutcome::kClosed});
    }
  }
  Run(std::move(completions));
}

void ServableStateMonitor::Run(std::vector<Completion> completions) {
  for (Completion& completion : completions) {
    std::vector<ServableState> states;
    for (auto& state : completion.wait->settled) {
      if (state) states.push_back(std::move(*state));
    }
    completion.wait->done(completion.outcome, std::move(states));
  }
}

}  // namespace aspired
