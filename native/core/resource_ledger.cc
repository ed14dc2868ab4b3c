#include "core/resource_ledger.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <map>
#include <utility>

namespace aspired {
namespace {

using Phase = ResourceAccount::Phase;

std::map<std::string, uint32_t> InstancesIn(const ResourceAllocation& limits) {
  std::map<std::string, uint32_t> instances;
  for (const auto& entry : limits.entries) {
    uint32_t& count = instances[entry.resource.device];
    count = std::max(count, entry.resource.instance.value_or(0) + 1);
  }
  return instances;
}

uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  return a > std::numeric_limits<uint64_t>::max() - b
             ? std::numeric_limits<uint64_t>::max()
             : a + b;
}

uint64_t Minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

// The part of a reservation that is not known to be in use.
uint64_t Outstanding(uint64_t reserved, int64_t measured) {
  return Minus(reserved, static_cast<uint64_t>(std::max<int64_t>(measured, 0)));
}

// What is in use beyond a reservation.
uint64_t Excess(uint64_t reserved, int64_t measured) {
  return Minus(static_cast<uint64_t>(std::max<int64_t>(measured, 0)), reserved);
}

bool Covers(const Resource& asked, const Resource& bound) {
  return asked.device == bound.device && asked.kind == bound.kind &&
         (!asked.instance || asked.instance == bound.instance);
}

std::string Bytes(uint64_t quantity) { return FormatQuantity(kRam, quantity); }

}  // namespace

ResourceLedger::ResourceLedger(const ResourceAllocation& limits)
    : util_(InstancesIn(limits)) {
  for (const auto& entry : limits.entries) {
    assert(entry.resource.instance.has_value());
    Device device;
    device.resource = entry.resource;
    device.limit = entry.quantity;
    devices_.push_back(std::move(device));
  }
  last_readings_.resize(devices_.size());
}

std::optional<size_t> ResourceLedger::IndexOf(const Resource& bound) const {
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (devices_[i].resource == bound) return i;
  }
  return std::nullopt;
}

Status ResourceLedger::Verify(const ResourceAllocation& estimate) const {
  if (Status s = util_.VerifyValidity(estimate); !s.ok()) {
    return Status(ErrorCode::kInvalidEstimate,
                  "The estimate " + estimate.ToString() +
                      " cannot be accounted: " + std::string(s.message()));
  }
  for (const auto& entry : estimate.entries) {
    const bool known = std::any_of(
        devices_.begin(), devices_.end(), [&entry](const Device& device) {
          return device.resource.device == entry.resource.device &&
                 device.resource.kind == entry.resource.kind;
        });
    if (known) continue;
    return Status(ErrorCode::kInvalidEstimate,
                  "The estimate " + estimate.ToString() +
                      " cannot be accounted: " + entry.resource.ToString() +
                      " has no limit here");
  }
  return Status::Ok();
}

void ResourceLedger::SetLimits(const std::vector<uint64_t>& limits) {
  for (size_t i = 0; i < devices_.size() && i < limits.size(); ++i) {
    devices_[i].limit = limits[i];
  }
}

ResourceLedger::Mark ResourceLedger::BeginReading() {
  Mark mark;
  mark.number = ++last_mark_;
  for (const Device& device : devices_) mark.unseen.push_back(device.unseen);
  return mark;
}

bool ResourceLedger::Observe(const Mark& mark,
                             const std::vector<DeviceReading>& readings) {
  if (mark.number < last_observed_) return false;
  last_observed_ = mark.number;
  bool more = false;
  const ResourceAllocation before = Available({});
  for (size_t i = 0; i < devices_.size() && i < readings.size(); ++i) {
    Device& device = devices_[i];
    const DeviceReading& now = readings[i];
    more |= !device.reading || device.reading->total != now.total;
    device.reading = now;
    device.unseen = Minus(device.unseen, mark.unseen[i]);
    if (device.reserved == 0 && works_.empty()) device.base = now.self;
    // Main memory is attributed at the ends of loads, which is sharper.
    if (i > 0 && now.status.ok()) {
      const uint64_t unseen = device.unseen;
      AttributeReading(i, now);
      device.unseen = unseen;  // it was just seen
    }
  }
  std::erase_if(works_, [this, &mark](const Work& work) {
    // What was read while it was at it is not all that it took.
    if (!work.ended || work.ended_at >= mark.number) return false;
    if (work.load) RememberFootprints(work);
    return true;
  });
  const ResourceAllocation after = Available({});
  for (size_t i = 0; i < devices_.size(); ++i) {
    Device& device = devices_[i];
    device.roomiest =
        std::max(device.roomiest, LeftInFact(device, device.reserved));
    more |= after.entries[i].quantity > before.entries[i].quantity;
  }
  return more;
}

// ------------------------------------------------------------------ admission

ResourceAllocation ResourceLedger::Capacity() const {
  ResourceAllocation capacity;
  for (const Device& device : devices_) {
    capacity.entries.push_back({device.resource, CapacityOf(device)});
  }
  return capacity;
}

uint64_t ResourceLedger::CapacityOf(const Device& device) const {
  return device.reading && device.reading->status.ok()
             ? std::min(device.limit, device.reading->total)
             : device.limit;
}

uint64_t ResourceLedger::Promised(const Device& device) const {
  const uint64_t resident =
      Minus(device.outstanding, device.transit_outstanding);
  uint64_t most = resident;
  if (device.base && device.reading && device.reading->self) {
    const uint64_t grown = Minus(*device.reading->self, *device.base);
    // Of those that do not load: what they have is in the growth.
    const uint64_t loading =
        Minus(device.transit, util_.GetQuantity(device.resource, leaving_));
    most = Minus(Minus(device.reserved, loading), grown);
  }
  return device.transit_outstanding + std::min(resident, most);
}

ResourceAllocation ResourceLedger::Available(const ResourceAllocation& freed,
                                             bool at_rest) const {
  ResourceAllocation available;
  for (const Device& device : devices_) {
    const uint64_t back = util_.GetQuantity(device.resource, freed);
    const uint64_t excess =
        at_rest ? device.transit_excess + device.newcomers_excess : 0;
    available.entries.push_back(
        {device.resource,
         std::min(LeftOfLimit(device, back),
                  LeftInFact(device, SaturatingAdd(back, excess)))});
  }
  return available;
}

uint64_t ResourceLedger::LeftOfLimit(const Device& device, uint64_t back) {
  return Minus(SaturatingAdd(Minus(device.limit, device.reserved), back),
               Minus(device.reserved, device.limit));
}

uint64_t ResourceLedger::LeftInFact(const Device& device, uint64_t back) const {
  if (!device.reading) return std::numeric_limits<uint64_t>::max();
  const DeviceReading& r = *device.reading;
  if (!r.status.ok()) return 0;
  const uint64_t taken =
      SaturatingAdd(r.used, SaturatingAdd(Promised(device), device.unseen));
  return Minus(SaturatingAdd(r.total, back), taken);
}

void ResourceLedger::Bound(ResourceAccount* account,
                           const ResourceAllocation& own) const {
  account->requested = account->wanted;
  for (auto& entry : account->requested.entries) {
    const uint64_t estimated =
        util_.GetQuantity(entry.resource, account->estimated);
    if (entry.quantity <= estimated) continue;
    uint64_t most = 0;
    uint64_t alone = 0;
    bool is_alone = false;
    for (const Device& device : devices_) {
      if (!Covers(entry.resource, device.resource)) continue;
      const uint64_t capacity = CapacityOf(device);
      most = std::max(most, device.reading ? std::min(capacity, device.roomiest)
                                           : capacity);
      const uint64_t others =
          Minus(device.reserved, util_.GetQuantity(device.resource, own));
      const uint64_t room =
          std::min(LeftOfLimit(device, others), LeftInFact(device, others));
      // Where it is alone already, rather than where there is most.
      const bool now = others == 0 && room >= estimated;
      if (now < is_alone || (now == is_alone && room <= alone)) continue;
      alone = room;
      is_alone = now;
    }
    if (entry.quantity <= most) continue;
    entry.quantity = std::max(estimated, std::min(entry.quantity, alone));
  }
}

std::string ResourceLedger::NeverFits(const ResourceAllocation& request) const {
  return util_.DescribeShortage(request, Capacity());
}

std::string ResourceLedger::Shortage(const ResourceAllocation& request) const {
  std::string text = util_.DescribeShortage(request, Available({}));
  if (text.empty()) return text;
  for (const Device& device : devices_) {
    const bool asked = std::any_of(
        request.entries.begin(), request.entries.end(),
        [&device](const auto& entry) {
          return entry.resource.device == device.resource.device &&
                 (!entry.resource.instance ||
                  entry.resource.instance == device.resource.instance);
        });
    if (!asked) continue;
    text += "; " + device.resource.ToString() + ": limit " +
            Bytes(device.limit) + ", reserved " + Bytes(device.reserved);
    if (!device.reading) continue;
    const DeviceReading& r = *device.reading;
    text += r.status.ok()
                ? ", in use by all " + Bytes(r.used) + " of " + Bytes(r.total) +
                      ", promised and not used " + Bytes(Promised(device))
                : ", " + std::string(r.status.message());
  }
  return text;
}

uint64_t ResourceLedger::AvailableOn(size_t device) const {
  return Available({}).entries[device].quantity;
}

std::vector<uint64_t> ResourceLedger::AvailableBytes() const {
  std::vector<uint64_t> bytes;
  for (const auto& entry : Available({}).entries) {
    bytes.push_back(entry.quantity);
  }
  return bytes;
}

bool ResourceLedger::Fits(const ResourceAllocation& request,
                          const ResourceAllocation& freed) const {
  return util_.Place(request, Available(freed)).has_value();
}

bool ResourceLedger::FitsAtRest(const ResourceAllocation& request,
                                uint64_t since) {
  if (newcomers_since_ != since) {
    newcomers_since_ = since;
    for (Device& d : devices_) d.newcomers = d.newcomers_excess = 0;
    for (auto it = residents_.lower_bound({since, nullptr});
         it != residents_.end(); ++it) {
      AddNewcomer(*it->second, +1);
    }
  }
  ResourceAllocation gone;
  for (const Device& device : devices_) {
    gone.entries.push_back(
        {device.resource, SaturatingAdd(device.transit, device.newcomers)});
  }
  return util_.Place(request, Available(gone, /*at_rest=*/true)).has_value();
}

void ResourceLedger::AddNewcomer(const ResourceAccount& account, int sign) {
  const auto apply = [sign](uint64_t* sum, uint64_t quantity) {
    *sum = sign > 0 ? *sum + quantity : Minus(*sum, quantity);
  };
  for (size_t i = 0; i < devices_.size(); ++i) {
    const uint64_t reserved = ReservedOn(account, i);
    if (reserved == 0) continue;
    apply(&devices_[i].newcomers, reserved);
    apply(&devices_[i].newcomers_excess,
          Excess(reserved,
                 i < account.measured.size() ? account.measured[i] : 0));
  }
}

bool ResourceLedger::Reserve(ResourceAccount* account) {
  assert(account->reserved.empty());
  auto placed = util_.Place(account->requested, Available({}));
  if (!placed) return false;
  account->reserved = std::move(*placed);
  account->phase = Phase::kLoading;
  AddReserved(*account, +1);
  return true;
}

// The sums of one device that depend on what was measured.
void ResourceLedger::AddPart(Device* device, const ResourceAccount& account,
                             size_t index, int sign) {
  const auto apply = [sign](uint64_t* sum, uint64_t quantity) {
    *sum = sign > 0 ? *sum + quantity : Minus(*sum, quantity);
  };
  const uint64_t reserved = ReservedOn(account, index);
  if (reserved == 0) return;
  const int64_t measured =
      index < account.measured.size() ? account.measured[index] : 0;
  apply(&device->outstanding, Outstanding(reserved, measured));
  if (account.phase == Phase::kResident) return;
  apply(&device->transit_outstanding, Outstanding(reserved, measured));
  apply(&device->transit_excess, Excess(reserved, measured));
}

void ResourceLedger::AddReserved(const ResourceAccount& account, int sign) {
  for (const auto& entry : account.reserved.entries) {
    const auto index = IndexOf(entry.resource);
    if (!index) continue;
    Device& device = devices_[*index];
    const auto apply = [sign, &entry](uint64_t* sum) {
      *sum = sign > 0 ? *sum + entry.quantity : Minus(*sum, entry.quantity);
    };
    apply(&device.reserved);
    if (account.phase != Phase::kResident) apply(&device.transit);
    AddPart(&device, account, *index, sign);
  }
  if (IsNewcomer(account)) AddNewcomer(account, sign);
  if (account.phase != Phase::kLeaving) return;
  Status s = sign > 0 ? util_.Add(account.reserved, &leaving_)
                      : util_.Subtract(account.reserved, &leaving_);
  assert(s.ok());
  (void)s;
}

void ResourceLedger::TrimCut(ResourceAccount* account) {
  const Resource& main = devices_[0].resource;
  const bool cut = util_.GetQuantity(main, account->requested) <
                   util_.GetQuantity(main, account->wanted);
  // Nobody knows what it took without a reading of this process, or beside
  // others.
  if (!cut || !last_rss_ || !account->exclusive) return;
  const uint64_t estimated = util_.GetQuantity(main, account->estimated);
  const uint64_t enough = std::max(
      estimated,
      static_cast<uint64_t>(std::max<int64_t>(account->MainMemoryTaken(), 0)));
  AddReserved(*account, -1);
  for (auto& entry : account->reserved.entries) {
    if (entry.resource == main) {
      entry.quantity = std::min(entry.quantity, enough);
    }
  }
  account->reserved = util_.Normalize(std::move(account->reserved));
  AddReserved(*account, +1);
}

void ResourceLedger::SetPhase(ResourceAccount* account, Phase phase) {
  if (account->phase == phase) return;
  AddReserved(*account, -1);
  residents_.erase({account->resident_since, account});
  account->phase = phase;
  if (phase == Phase::kResident) {
    residents_.insert({account->resident_since, account});
  }
  AddReserved(*account, +1);
}

void ResourceLedger::Release(ResourceAccount* account) {
  std::erase_if(
      works_, [account](const Work& work) { return work.account == account; });
  ForgetMeasured(account);
  AddReserved(*account, -1);
  residents_.erase({account->resident_since, account});
  account->reserved.entries.clear();
  account->phase = Phase::kIdle;
}

void ResourceLedger::ForgetMeasured(ResourceAccount* account) {
  AddReserved(*account, -1);
  for (size_t i = 0; i < account->measured.size(); ++i) {
    devices_[i].measured -= account->measured[i];
  }
  account->measured.clear();
  account->charged.reset();
  AddReserved(*account, +1);
}

}  // namespace aspired
