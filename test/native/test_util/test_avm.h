// TestAvm: an AspiredVersionsManager in step mode (no thread) with a fake
// clock, fake readers and an event recorder around it.
//
// Loaders of its probes do not block, so with the test's one thread everything
// that a call leads to has happened when Step() returns.
//
// Its destructor closes the manager (moving the clock past the deadline if
// need be) and expects that every list settled, every incarnation ended and
// every loader was destroyed.
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_TEST_AVM_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_TEST_AVM_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/aspired_versions_manager.h"
#include "native/test_util/deadline.h"
#include "native/test_util/event_recorder.h"
#include "native/test_util/fake_clock.h"
#include "native/test_util/fake_loader.h"
#include "native/test_util/fake_readers.h"
#include "policy/availability_preserving_policy.h"
#include "policy/resource_preserving_policy.h"

namespace aspired::test {

// The settling of one list.
class Settled {
 public:
  Settled() : value_(std::make_shared<Promised<TransitionResult>>()) {}
  Transition::Done done() const {
    return [value = value_](const TransitionResult& r) { value->Set(r); };
  }
  bool Wait() const { return value_->Wait(); }
  bool is_settled() const { return value_->Peek().has_value(); }
  int times() const { return value_->times_set(); }
  // "1:Available 2:End(ERR_LOAD_FAILED)", "pending" before.
  std::string Text() const;
  bool superseded() const { return value_->Peek()->superseded; }

 private:
  std::shared_ptr<Promised<TransitionResult>> value_;
};

// One element of a list: a loader, or an error of its source.
struct Item {
  int64_t version = 0;
  ProbePtr probe = nullptr;
  Status error = {};
  bool replace = false;
  bool same_loader = false;
};

class TestAvm {
 public:
  // Step mode, AvailabilityPreserving, 4 load slots, no quick retries, slow
  // ones from 1000 ms up to 8000 ms. `adjust` changes that.
  explicit TestAvm(const std::function<void(AspiredVersionsManager::Options*)>&
                       adjust = nullptr);
  ~TestAvm();

  ProbePtr Probe(LoaderProbe::Kind kind = LoaderProbe::Kind::kNonBlocking);
  // Its load waits for the hand.
  ProbePtr HeldProbe();
  ProbePtr FailingProbe();
  // It needs so many units of main memory.
  ProbePtr Needs(uint64_t units);
  // The loader that takes its place; expected to be gone at the end, too.
  ProbePtr RenewalOf(const ProbePtr& probe);

  // Expects OK, and steps.
  Settled Aspire(const std::string& name, const std::vector<Item>& items,
                 StreamIntent intent = {});
  // As it comes; no step.
  Status TryAspire(const std::string& name, const std::vector<Item>& items,
                   StreamIntent intent, Settled* settled);
  // Rounds until one changes nothing, as the loop's thread would make them.
  void Step();
  void Advance(std::chrono::milliseconds by);
  // Both may move the clock by nothing: the state is what it is now.
  std::optional<HarnessState> State(const ServableId& id) const;
  std::optional<ServableVersionState> Row(const ServableId& id) const;
  bool IsOpen(const ServableId& id) const { return readers->IsOpen(id); }
  // Closes and steps; the abandoned ones, nullopt while it is not done.
  void Close(std::chrono::milliseconds drain_timeout);
  std::optional<std::vector<ServableId>> abandoned() const {
    return closed_->Peek();
  }

  const std::shared_ptr<FakeClock> clock = std::make_shared<FakeClock>();
  const std::shared_ptr<FakeReaders> readers = std::make_shared<FakeReaders>();
  std::shared_ptr<AspiredVersionsManager> manager;
  std::unique_ptr<EventRecorder> events;

 private:
  std::vector<AspiredVersion> Versions(const std::vector<Item>& items);

  std::vector<ProbePtr> probes_;
  std::vector<Settled> lists_;
  const std::shared_ptr<Promised<std::vector<ServableId>>> closed_ =
      std::make_shared<Promised<std::vector<ServableId>>>();
  bool closing_ = false;
};

inline const AvailabilityPreservingPolicy kAvailabilityPreserving;
inline const ResourcePreservingPolicy kResourcePreserving;
inline const Status kLoadBroken(ErrorCode::kLoadFailed, "load broken");

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_TEST_AVM_H_
