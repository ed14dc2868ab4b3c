#include "native/test_util/event_recorder.h"

#include <gtest/gtest.h>

#include "native/test_util/deadline.h"

namespace aspired::test {

EventRecorder::EventRecorder(ServableEventBus* bus)
    : subscription_(
          bus->Subscribe([this](const ServableState& e) { Record(e); })) {}

void EventRecorder::Record(const ServableState& event) {
  std::lock_guard<std::mutex> lock(mu_);
  const auto what = [&] {
    return event.id.ToString() + " incarnation " +
           std::to_string(event.incarnation) + " " +
           std::string(Name(event.manager_state));
  };
  auto last = last_.find(event.id);
  const bool begins =
      last == last_.end() || last->second.incarnation != event.incarnation;
  if (begins) {
    const bool prepared = event.manager_state == ManagerState::kStart;
    const bool failed_source =
        event.manager_state == ManagerState::kEnd && !event.health.ok();
    EXPECT_TRUE(prepared || failed_source) << "begins with " << what();
  }
  if (last != last_.end()) {
    if (begins) {
      EXPECT_GT(event.incarnation, last->second.incarnation) << what();
      EXPECT_EQ(last->second.manager_state, ManagerState::kEnd)
          << what() << " before the End of the incarnation before";
    } else {
      EXPECT_GT(event.manager_state, last->second.manager_state)
          << what() << " after " << Name(last->second.manager_state);
    }
  }
  if (event.manager_state != ManagerState::kEnd) {
    EXPECT_TRUE(event.health.ok()) << what();
  }
  last_[event.id] = event;
  events_.push_back(event);
  const auto state = static_cast<size_t>(event.manager_state);
  ++counts_[event.id].at(state);
  ++totals_.at(state);
  changed_.notify_all();
}

std::vector<ServableState> EventRecorder::All() const {
  std::lock_guard<std::mutex> lock(mu_);
  return events_;
}

std::vector<ServableState> EventRecorder::Of(const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<ServableState> events;
  for (const auto& e : events_) {
    if (e.id == id) events.push_back(e);
  }
  return events;
}

std::string EventRecorder::Trace(const ServableId& id) const {
  std::string trace;
  for (const auto& e : Of(id)) {
    if (!trace.empty()) trace += ' ';
    trace += Name(e.manager_state);
    if (!e.health.ok()) {
      trace += '(';
      trace += ErrorCodeName(e.health.code());
      trace += ')';
    }
  }
  return trace;
}

std::optional<ServableState> EventRecorder::Last(const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = last_.find(id);
  if (it == last_.end()) return std::nullopt;
  return it->second;
}

bool EventRecorder::EverAvailable(const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  return CountLocked(id, ManagerState::kAvailable) > 0;
}

int EventRecorder::CountLocked(const ServableId& id, ManagerState state) const {
  auto it = counts_.find(id);
  return it == counts_.end() ? 0 : it->second.at(static_cast<size_t>(state));
}

bool EventRecorder::WaitFor(const ServableId& id, ManagerState state,
                            int times) const {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, kDeadline,
                           [&] { return CountLocked(id, state) >= times; });
}

bool EventRecorder::WaitForCount(ManagerState state, int times) const {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, kDeadline, [&] {
    return totals_.at(static_cast<size_t>(state)) >= times;
  });
}

void EventRecorder::ExpectAllEnded() const {
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& [id, last] : last_) {
    EXPECT_EQ(last.manager_state, ManagerState::kEnd)
        << id.ToString() << " incarnation " << last.incarnation;
  }
}

}  // namespace aspired::test
