// ResourceLedger: who has what of the memory of this host, and what is left.
//
// Three numbers for each version and device. Estimated: what its loader said.
// Reserved: what was set aside for it before its load, the estimate corrected
// by experience (see Footprints). Measured: by how much the memory of this
// process grew during its load, see Attribution. Beside it, of main memory:
// by how much its cgroup was charged more, which also counts what is in no
// process (tmpfs, the kernel's own), and what other processes in it took.
//
// A reservation is made when it fits twice: into the limit, beside all other
// reservations; and into what the device really has left, after what everybody
// uses and after what is reserved here and not used yet. So neither a wrong
// estimate nor another process leads to more promises than there is memory. The
// sum of the reservations never exceeds a limit, unless the limit was lowered
// below it.
//
// Devices are those of the limits: index 0 is main memory, then the CUDA
// devices, as in MemoryMeter. An account must not die while it holds a
// reservation or its load or unload is under way: Release() first.
//
// Not thread-safe: guarded by the mutex of the manager that owns it. Makes no
// system call: readings are given to it.
//
// Source: TensorFlow Serving, resources/resource_tracker.h, which knows
// estimates only.
#ifndef ASPIRED_CORE_RESOURCE_LEDGER_H_
#define ASPIRED_CORE_RESOURCE_LEDGER_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/attribution.h"
#include "core/footprints.h"
#include "core/status.h"
#include "resources/memory_meter.h"
#include "resources/resource.h"
#include "resources/resource_util.h"

namespace aspired {

// What one version has.
struct ResourceAccount {
  enum class Phase : uint8_t {
    kIdle,
    kLoading,
    kResident,
    kLeaving,  // it drains or is being unloaded
  };
  static std::unique_ptr<ResourceAccount> For(std::string servable) {
    auto account = std::make_unique<ResourceAccount>();
    account->servable = std::move(servable);
    return account;
  }

  // Of main memory, by the cgroup of this process; see CgroupCharge.
  struct Charged {
    uint64_t cgroup = 0;
    int64_t charged = 0;
    int64_t kept = 0;
    // Nobody else was in it when the load began, nor when it ended.
    bool alone = false;
  };

  // What its load really took of main memory, as far as is known for certain:
  // the RSS, or what its cgroup keeps where that is more and nobody else is in
  // it.
  int64_t MainMemoryTaken() const;

  std::string servable;  // its name
  ResourceAllocation estimated;
  // The estimate, corrected by experience; and as much of that as can be had,
  // see ResourceLedger::Bound().
  ResourceAllocation wanted;
  ResourceAllocation requested;
  // Bound; empty when nothing is held.
  ResourceAllocation reserved;
  // Bytes by device; empty: nothing worth counting.
  std::vector<int64_t> measured;
  // None: no cgroup, or none that was the same throughout.
  std::optional<Charged> charged;
  Phase phase = Phase::kIdle;
  // Since when its servable has had memory without a gap; see
  // ResourceLedger::NextResidency().
  uint64_t resident_since = 0;
  // No other load or unload was under way during its load: what was measured
  // is its own, or the rest of the process took it.
  bool exclusive = true;

  bool raised() const { return !(wanted == estimated); }
};

class ResourceLedger {
 public:
  // One device of the ledger, in bytes.
  struct Device {
    Resource resource;  // bound
    uint64_t limit = 0;
    uint64_t reserved = 0;
    int64_t measured = 0;  // of all versions
    // The part of `reserved` that is not known to be in use, version by
    // version; and that of versions that load or leave alone.
    uint64_t outstanding = 0;
    uint64_t transit_outstanding = 0;
    // The part of `reserved` whose versions load or leave, and by how much what
    // was measured of them exceeds it.
    uint64_t transit = 0;
    uint64_t transit_excess = 0;
    // The same of the residents that FitsAtRest() counts as gone.
    uint64_t newcomers = 0;
    uint64_t newcomers_excess = 0;
    // What was measured since the reading was made: it is outstanding no more,
    // and in no reading yet.
    uint64_t unseen = 0;
    std::optional<DeviceReading> reading;
    // The most that any reading left to reservations.
    uint64_t roomiest = 0;
    // What this process had when nothing was reserved; none: unknown.
    std::optional<uint64_t> base;
  };

  // The moment before a reading.
  struct Mark {
    uint64_t number = 0;
    std::vector<uint64_t> unseen;  // by device
  };

  // `limits`: bound, main memory first; UINT64_MAX: no limit but the device.
  explicit ResourceLedger(const ResourceAllocation& limits);

  const ResourceUtil& util() const { return util_; }
  const std::vector<Device>& devices() const { return devices_; }
  std::optional<size_t> IndexOf(const Resource& bound) const;

  // kInvalidEstimate when the ledger does not have these devices.
  Status Verify(const ResourceAllocation& estimate) const;

  // By index; what is reserved stays so.
  void SetLimits(const std::vector<uint64_t>& limits);
  // Around the reading of a meter, which takes its time: what is measured
  // meanwhile may not be in it. Observe() is true when more may fit than
  // before, or what did can't ever. A reading that began before one that was
  // observed says nothing.
  Mark BeginReading();
  bool Observe(const Mark& mark, const std::vector<DeviceReading>& readings);
  bool Observe(const std::vector<DeviceReading>& readings) {
    return Observe(BeginReading(), readings);
  }

  // Sets `account->requested` anew. What experience wants beyond the most that
  // there ever was is no fact to wait for: a wrong measurement (whatever the
  // process took during a load counts as the load's) would lock its servable
  // out for good. It is cut to what there would be were nobody here but the
  // versions of its own servable, who have `own`, and not below the estimate:
  // so it is admitted when it is alone.
  void Bound(ResourceAccount* account, const ResourceAllocation& own) const;
  // After the load of what was cut, if it was the only one: its main memory is
  // as it was measured, and the estimate at least.
  void TrimCut(ResourceAccount* account);
  // Why the request can never be granted under these limits, with the
  // arithmetic; empty when it can.
  std::string NeverFits(const ResourceAllocation& request) const;
  // Why it is not granted now; empty when it would be.
  std::string Shortage(const ResourceAllocation& request) const;
  uint64_t AvailableOn(size_t device) const;
  // By device.
  std::vector<uint64_t> AvailableBytes() const;
  // Whether it would fit, were `freed` (bound) given back.
  bool Fits(const ResourceAllocation& request,
            const ResourceAllocation& freed = {}) const;
  // Whether it would fit, were all that loads or leaves gone, and all residents
  // whose residency is not older than `since`. O(newcomers) when `since` is
  // another one than last time, else O(devices).
  bool FitsAtRest(const ResourceAllocation& request, uint64_t since);
  // Counts up: the residencies that begin from now on are not older.
  uint64_t NextResidency() { return ++last_residency_; }
  // What is reserved for versions that leave: what is certain to come back.
  const ResourceAllocation& leaving() const { return leaving_; }

  // Sets `account->reserved`, and its phase to kLoading. REQUIRES: nothing is
  // reserved for it.
  bool Reserve(ResourceAccount* account);
  void SetPhase(ResourceAccount* account, ResourceAccount::Phase phase);
  // Gives all back, and forgets what was measured.
  void Release(ResourceAccount* account);
  // What a failed attempt took is with the system again.
  void ForgetMeasured(ResourceAccount* account);

  // Around each load and unload; see MemoryMeter::ReadSelf().
  void BeginLoad(ResourceAccount* account, const SelfMemory& self);
  void EndLoad(ResourceAccount* account, const SelfMemory& self);
  void BeginUnload(ResourceAccount* account, const SelfMemory& self);
  void EndUnload(ResourceAccount* account, const SelfMemory& self);
  // Main memory of this process was read.
  bool knows_self() const { return last_rss_.has_value(); }
  // A load has ended whose device memory is measured by the next Observe().
  bool wants_reading() const;
  // What loads really took of devices other than main memory, as the last
  // Observe() found; each once. Only of loads beside which no other had memory
  // of the device until it was read, and where the readings say what this
  // process has: else a neighbour's growth would be learned.
  std::vector<Footprint> TakeFootprints() {
    return std::exchange(footprints_, {});
  }

 private:
  struct Work {
    ResourceAccount* account;
    bool load;
    // It has ended, and the last mark by then: its device memory is measured by
    // a reading that began later.
    bool ended = false;
    uint64_t ended_at = 0;
    // Between the readings around it there was another one with memory of the
    // same device, or they do not tell this process from others.
    bool mixed = false;
  };

  // What is left by limit and device, were `freed` given back; `at_rest`: it is
  // all that is in transit.
  ResourceAllocation Available(const ResourceAllocation& freed,
                               bool at_rest = false) const;
  // The two that bound it, of one device, were `back` given back.
  static uint64_t LeftOfLimit(const Device& device, uint64_t back);
  uint64_t LeftInFact(const Device& device, uint64_t back) const;
  uint64_t CapacityOf(const Device& device) const;
  void AddPart(Device* device, const ResourceAccount& account, size_t index,
               int sign);
  ResourceAllocation Capacity() const;
  void BeginWork(ResourceAccount* account, bool load, const SelfMemory& self);
  void EndWork(ResourceAccount* account, bool keep, const SelfMemory& self);
  void Attribute(size_t device, int64_t delta);
  void AttributeReading(size_t device, const DeviceReading& now);
  void AttributeMain(const SelfMemory& self);
  void AttributeCharge(const std::optional<CgroupCharge>& now);
  // Of works_, in their order. `counted`: for an account, so far.
  template <typename Counted>
  std::vector<Claim> ClaimsOn(size_t device, Counted counted) const;
  void AddMeasured(ResourceAccount* account, size_t device, int64_t bytes);
  void AddReserved(const ResourceAccount& account, int sign);
  void AddNewcomer(const ResourceAccount& account, int sign);
  bool IsNewcomer(const ResourceAccount& account) const {
    return account.phase == ResourceAccount::Phase::kResident &&
           account.resident_since >= newcomers_since_;
  }
  bool HoldsDeviceMemory(const ResourceAccount& account) const;
  uint64_t ReservedOn(const ResourceAccount& account, size_t device) const;
  // What is reserved and not in use. Version by version that is too much: a
  // load beside an unload shows as less growth than it is. As a whole, what the
  // process grew by is known, where it is told from others.
  uint64_t Promised(const Device& device) const;
  bool ShareADevice(const ResourceAccount& a, const ResourceAccount& b) const;
  void RememberFootprints(const Work& work);

  ResourceUtil util_;
  std::vector<Device> devices_;
  std::optional<uint64_t> last_rss_;
  // By device, behind main memory: the last one that was OK.
  std::vector<std::optional<DeviceReading>> last_readings_;
  std::optional<CgroupCharge> last_charge_;
  std::vector<Work> works_;
  ResourceAllocation leaving_;
  std::vector<Footprint> footprints_;
  uint64_t last_mark_ = 0;
  uint64_t last_observed_ = 0;
  // By residency.
  std::set<std::pair<uint64_t, const ResourceAccount*>> residents_;
  uint64_t last_residency_ = 0;
  // Whom `Device::newcomers` counts.
  uint64_t newcomers_since_ = std::numeric_limits<uint64_t>::max();
};

}  // namespace aspired

#endif  // ASPIRED_CORE_RESOURCE_LEDGER_H_
