// FakeReaders: a reader registry in C++, with leases, in the place of the one
// that lives in an isolate.
//
// It fails the test when the manager breaks the order of Readers: an Open() of
// what is open, a Close() of what is not, an Open() that is none of: the first
// of a loader, or the revocation of its Close().
#ifndef ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_READERS_H_
#define ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_READERS_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/readers.h"

namespace aspired::test {

// Thread-safe. Must outlive its leases.
class FakeReaders final : public Readers {
 public:
  using DrainedFn = std::function<void(const ServableId&, uint64_t epoch)>;

  // A read that is under way.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept { *this = std::move(other); }
    Lease& operator=(Lease&& other) noexcept {
      Release();
      readers_ = std::exchange(other.readers_, nullptr);
      id_ = std::move(other.id_);
      return *this;
    }
    ~Lease() { Release(); }
    void Release() {
      if (readers_ != nullptr) std::exchange(readers_, nullptr)->Return(id_);
    }
    explicit operator bool() const { return readers_ != nullptr; }
    const ServableId& id() const { return id_; }

   private:
    friend class FakeReaders;
    Lease(FakeReaders* readers, ServableId id)
        : readers_(readers), id_(std::move(id)) {}
    FakeReaders* readers_ = nullptr;
    ServableId id_;
  };

  // Who is told of a drain; set before the manager is used.
  void set_drained(DrainedFn drained) { drained_ = std::move(drained); }
  // From now on drains are answered by AnswerDrains() only, as by an isolate
  // whose event loop is busy.
  void HoldDrains();
  // Answers what is due, on this thread. Returns how many answers it gave.
  int AnswerDrains();

  void Open(const ServableId& id, Loader& loader) override;
  void Close(const ServableId& id, Loader& loader, uint64_t epoch) override;

  // False when the version is not open.
  Lease Acquire(const ServableId& id);
  Lease AcquireLatest(const std::string& name);
  Lease AcquireEarliest(const std::string& name);

  bool IsOpen(const ServableId& id) const;
  // Open or still held.
  bool IsReadable(const Loader& loader) const;
  int leases(const ServableId& id) const;
  std::vector<ServableId> OpenIds() const;
  // Times that the id was opened, revocations included.
  int opens(const ServableId& id) const;
  std::optional<uint64_t> last_epoch(const ServableId& id) const;
  bool WaitForOpen(const ServableId& id) const;
  bool WaitForClosed(const ServableId& id) const;

 private:
  struct Entry {
    Loader* loader = nullptr;
    bool open = false;
    int leases = 0;
    int opens = 0;
    std::optional<uint64_t> closing;  // epoch of a Close() without its answer
    std::optional<uint64_t> last_epoch;
  };

  void Return(const ServableId& id);
  std::vector<std::pair<ServableId, uint64_t>> TakeDueLocked();
  Lease LeaseLocked(const ServableId& id, Entry& entry);

  DrainedFn drained_;
  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  // Guarded by mu_.
  bool hold_drains_ = false;
  std::map<ServableId, Entry> entries_;
};

}  // namespace aspired::test

#endif  // ASPIRED_TEST_NATIVE_TEST_UTIL_FAKE_READERS_H_
