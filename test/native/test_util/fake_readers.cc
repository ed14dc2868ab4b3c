#include "native/test_util/fake_readers.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include "native/test_util/deadline.h"

namespace aspired::test {

void FakeReaders::HoldDrains() {
  std::lock_guard<std::mutex> lock(mu_);
  hold_drains_ = true;
}

std::vector<std::pair<ServableId, uint64_t>> FakeReaders::TakeDueLocked() {
  std::vector<std::pair<ServableId, uint64_t>> due;
  for (auto& [id, entry] : entries_) {
    if (!entry.closing || entry.leases > 0) continue;
    due.emplace_back(id, *entry.closing);
    entry.closing.reset();
    entry.loader = nullptr;
  }
  return due;
}

int FakeReaders::AnswerDrains() {
  std::vector<std::pair<ServableId, uint64_t>> due;
  {
    std::lock_guard<std::mutex> lock(mu_);
    due = TakeDueLocked();
  }
  for (const auto& [id, epoch] : due) drained_(id, epoch);
  return static_cast<int>(due.size());
}

void FakeReaders::Open(const ServableId& id, Loader& loader) {
  std::lock_guard<std::mutex> lock(mu_);
  Entry& entry = entries_[id];
  EXPECT_FALSE(entry.open) << id.ToString() << " opened twice";
  if (entry.closing) {
    EXPECT_EQ(entry.loader, &loader)
        << id.ToString() << " opened by another loader while it was closing";
  }
  entry.loader = &loader;
  entry.open = true;
  entry.closing.reset();
  ++entry.opens;
  changed_.notify_all();
}

void FakeReaders::Close(const ServableId& id, Loader& loader, uint64_t epoch) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    Entry& entry = entries_[id];
    EXPECT_TRUE(entry.open) << id.ToString() << " closed but not open";
    EXPECT_EQ(entry.loader, &loader) << id.ToString();
    EXPECT_FALSE(entry.last_epoch && *entry.last_epoch == epoch)
        << id.ToString() << " closed twice with one epoch";
    entry.open = false;
    entry.closing = epoch;
    entry.last_epoch = epoch;
    changed_.notify_all();
    if (hold_drains_ || entry.leases > 0) return;
    entry.closing.reset();
    entry.loader = nullptr;
  }
  drained_(id, epoch);
}

FakeReaders::Lease FakeReaders::LeaseLocked(const ServableId& id,
                                            Entry& entry) {
  ++entry.leases;
  return Lease(this, id);
}

FakeReaders::Lease FakeReaders::Acquire(const ServableId& id) {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = entries_.find(id);
  if (it == entries_.end() || !it->second.open) return Lease();
  return LeaseLocked(id, it->second);
}

FakeReaders::Lease FakeReaders::AcquireLatest(const std::string& name) {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = entries_.upper_bound({name, std::numeric_limits<int64_t>::max()});
  while (it != entries_.begin()) {
    --it;
    if (it->first.name != name) break;
    if (it->second.open) return LeaseLocked(it->first, it->second);
  }
  return Lease();
}

FakeReaders::Lease FakeReaders::AcquireEarliest(const std::string& name) {
  std::lock_guard<std::mutex> lock(mu_);
  for (auto it = entries_.lower_bound({name, 0});
       it != entries_.end() && it->first.name == name; ++it) {
    if (it->second.open) return LeaseLocked(it->first, it->second);
  }
  return Lease();
}

void FakeReaders::Return(const ServableId& id) {
  std::optional<uint64_t> epoch;
  {
    std::lock_guard<std::mutex> lock(mu_);
    Entry& entry = entries_.at(id);
    --entry.leases;
    EXPECT_GE(entry.leases, 0) << id.ToString();
    if (entry.leases == 0 && entry.closing && !hold_drains_) {
      epoch = std::exchange(entry.closing, std::nullopt);
      entry.loader = nullptr;
    }
  }
  if (epoch) drained_(id, *epoch);
}

bool FakeReaders::IsOpen(const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = entries_.find(id);
  return it != entries_.end() && it->second.open;
}

bool FakeReaders::IsReadable(const Loader& loader) const {
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& [id, entry] : entries_) {
    if (entry.loader == &loader && (entry.open || entry.leases > 0)) {
      return true;
    }
  }
  return false;
}

int FakeReaders::leases(const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = entries_.find(id);
  return it == entries_.end() ? 0 : it->second.leases;
}

std::vector<ServableId> FakeReaders::OpenIds() const {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<ServableId> ids;
  for (const auto& [id, entry] : entries_) {
    if (entry.open) ids.push_back(id);
  }
  return ids;
}

int FakeReaders::opens(const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = entries_.find(id);
  return it == entries_.end() ? 0 : it->second.opens;
}

std::optional<uint64_t> FakeReaders::last_epoch(const ServableId& id) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto it = entries_.find(id);
  return it == entries_.end() ? std::nullopt : it->second.last_epoch;
}

bool FakeReaders::WaitForOpen(const ServableId& id) const {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, kDeadline, [&] {
    auto it = entries_.find(id);
    return it != entries_.end() && it->second.open;
  });
}

bool FakeReaders::WaitForClosed(const ServableId& id) const {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, kDeadline, [&] {
    auto it = entries_.find(id);
    return it == entries_.end() || !it->second.open;
  });
}

}  // namespace aspired::test
