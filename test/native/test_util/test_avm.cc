#include "native/test_util/test_avm.h"

#include <gtest/gtest.h>

#include <utility>

namespace aspired::test {

std::string Settled::Text() const {
  const auto result = value_->Peek();
  if (!result) return "pending";
  std::string text;
  for (const auto& v : result->versions) {
    if (!text.empty()) text += ' ';
    text +=
        std::to_string(v.version) + ":" + std::string(Name(v.manager_state));
    if (!v.error.ok()) {
      text += "(" + std::string(ErrorCodeName(v.error.code())) + ")";
    }
  }
  return text;
}

TestAvm::TestAvm(
    const std::function<void(AspiredVersionsManager::Options*)>& adjust) {
  using std::chrono::milliseconds;
  AspiredVersionsManager::Options o;
  o.policy = &kAvailabilityPreserving;
  o.manage_state_interval = milliseconds(0);
  o.num_load_threads = 4;
  o.num_unload_threads = 1;
  o.retry.max_num_load_retries = 0;
  o.retry.quick = {milliseconds(0), milliseconds(0)};
  o.retry.slow = {milliseconds(1000), milliseconds(8000)};
  o.clock = clock;
  o.readers = readers;
  if (adjust) adjust(&o);
  manager = AspiredVersionsManager::Create(std::move(o));
  events = std::make_unique<EventRecorder>(manager->bus().get());
  readers->set_drained([weak = std::weak_ptr<AspiredVersionsManager>(manager)](
                           const ServableId& id, uint64_t epoch) {
    if (auto m = weak.lock()) m->Drained(id, epoch);
  });
}

TestAvm::~TestAvm() {
  if (!closing_) Close(std::chrono::milliseconds(60'000));
  if (!closed_->Peek()) Advance(std::chrono::milliseconds(120'000));
  EXPECT_TRUE(closed_->Wait()) << "close() did not end";
  manager->Join();
  for (const Settled& list : lists_) {
    EXPECT_TRUE(list.is_settled()) << "a list never settled";
    EXPECT_LE(list.times(), 1);
  }
  events->ExpectAllEnded();
  std::weak_ptr<AspiredVersionsManager> weak = manager;
  manager.reset();
  EXPECT_TRUE(weak.expired()) << "something keeps the manager alive";
  for (const auto& probe : probes_) {
    probe->JoinThreads();
    EXPECT_TRUE(probe->destroyed()) << "a loader was leaked";
  }
}

ProbePtr TestAvm::Probe(LoaderProbe::Kind kind) {
  return LoaderProbe::Create(kind, readers.get());
}

ProbePtr TestAvm::HeldProbe() {
  auto probe = Probe();
  probe->HoldLoads();
  return probe;
}

ProbePtr TestAvm::FailingProbe() {
  auto probe = Probe();
  probe->FailAllLoads(kLoadBroken);
  return probe;
}

ProbePtr TestAvm::Needs(uint64_t units) {
  auto probe = Probe();
  probe->Estimate({{{{kMain, 0, kRam}, units}}});
  return probe;
}

ProbePtr TestAvm::RenewalOf(const ProbePtr& probe) {
  auto renewal = Probe();
  probe->RenewBy(renewal);
  return renewal;
}

std::vector<AspiredVersion> TestAvm::Versions(const std::vector<Item>& items) {
  std::vector<AspiredVersion> versions;
  for (const Item& item : items) {
    AspiredVersion v;
    v.version = item.version;
    v.error = item.error;
    v.replace = item.replace;
    v.same_loader = item.same_loader;
    if (item.probe != nullptr) {
      probes_.push_back(item.probe);
      v.loader = item.probe->MakeLoader();
    }
    versions.push_back(std::move(v));
  }
  return versions;
}

Status TestAvm::TryAspire(const std::string& name,
                          const std::vector<Item>& items, StreamIntent intent,
                          Settled* settled) {
  return manager->SetAspiredVersions(name, Versions(items), std::move(intent),
                                     settled->done());
}

Settled TestAvm::Aspire(const std::string& name, const std::vector<Item>& items,
                        StreamIntent intent) {
  Settled settled;
  const Status s = TryAspire(name, items, std::move(intent), &settled);
  EXPECT_TRUE(s.ok()) << s.ToString();
  lists_.push_back(settled);
  Step();
  return settled;
}

void TestAvm::Step() {
  size_t before = 0;
  do {
    before = events->All().size();
    // What the events of one round lead to is seen, done and told by the next.
    for (int round = 0; round < 3; ++round) manager->Step();
  } while (events->All().size() != before);
}

void TestAvm::Advance(std::chrono::milliseconds by) {
  clock->Advance(by);
  Step();
}

std::optional<HarnessState> TestAvm::State(const ServableId& id) const {
  const auto snapshot = manager->basic().GetSnapshot(id);
  if (!snapshot) return std::nullopt;
  return snapshot->state;
}

std::optional<ServableVersionState> TestAvm::Row(const ServableId& id) const {
  for (const auto& row : manager->GetVersionStates(id.name)) {
    if (row.version == id.version) return row;
  }
  return std::nullopt;
}

void TestAvm::Close(std::chrono::milliseconds drain_timeout) {
  closing_ = true;
  const Status s = manager->Close(
      drain_timeout, [closed = closed_](std::vector<ServableId> abandoned) {
        closed->Set(std::move(abandoned));
      });
  EXPECT_TRUE(s.ok()) << s.ToString();
  Step();
}

}  // namespace aspired::test
