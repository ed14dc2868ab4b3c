// What loads and unloads are measured to take, of ResourceLedger.
#include <algorithm>
#include <utility>

#include "core/resource_ledger.h"

namespace aspired {
namespace {

int64_t Difference(uint64_t before, uint64_t after) {
  return static_cast<int64_t>(after) - static_cast<int64_t>(before);
}

}  // namespace

int64_t ResourceAccount::MainMemoryTaken() const {
  const int64_t resident = measured.empty() ? 0 : measured[0];
  return charged && charged->alone ? std::max(resident, charged->kept)
                                   : resident;
}

uint64_t ResourceLedger::ReservedOn(const ResourceAccount& account,
                                    size_t device) const {
  return util_.GetQuantity(devices_[device].resource, account.reserved);
}

bool ResourceLedger::HoldsDeviceMemory(const ResourceAccount& account) const {
  for (size_t i = 1; i < devices_.size(); ++i) {
    if (ReservedOn(account, i) > 0) return true;
  }
  return false;
}

void ResourceLedger::AddMeasured(ResourceAccount* account, size_t device,
                                 int64_t bytes) {
  if (bytes == 0) return;
  if (account->measured.empty()) account->measured.resize(devices_.size());
  Device& d = devices_[device];
  const uint64_t before = d.outstanding;
  const bool newcomer = IsNewcomer(*account);
  AddPart(&d, *account, device, -1);
  if (newcomer) AddNewcomer(*account, -1);
  account->measured[device] += bytes;
  d.measured += bytes;
  AddPart(&d, *account, device, +1);
  if (newcomer) AddNewcomer(*account, +1);
  d.unseen += before - std::min(before, d.outstanding);
}

template <typename Counted>
std::vector<Claim> ResourceLedger::ClaimsOn(size_t device,
                                            Counted counted) const {
  std::vector<Claim> claims;
  claims.reserve(works_.size());
  for (const Work& work : works_) {
    const uint64_t reserved = ReservedOn(*work.account, device);
    const bool none = device == 0 ? work.ended : reserved == 0;
    const auto kind = none        ? Claim::Kind::kNone
                      : work.load ? Claim::Kind::kLoad
                                  : Claim::Kind::kUnload;
    claims.push_back({kind, reserved, counted(*work.account)});
  }
  return claims;
}

void ResourceLedger::Attribute(size_t device, int64_t delta) {
  if (delta == 0) return;
  const auto counted = [device](const ResourceAccount& account) {
    return account.measured.empty() ? 0 : account.measured[device];
  };
  const auto shares = ShareOut(delta, ClaimsOn(device, counted));
  for (size_t i = 0; i < shares.size(); ++i) {
    AddMeasured(works_[i].account, device, shares[i]);
  }
}

// The part of this process may come to be known between two readings: a driver
// does not list a process before its first context. Then it is known by how
// much all have more, and not by how much this process has: that is counted,
// and teaches nothing, because what a neighbour took meanwhile is in it.
void ResourceLedger::AttributeReading(size_t device, const DeviceReading& now) {
  const auto last = std::exchange(last_readings_[device], now);
  const bool own = last && last->self && now.self;
  if (!own) {
    for (Work& work : works_) {
      if (ReservedOn(*work.account, device) > 0) work.mixed = true;
    }
  }
  if (!last) return;
  Attribute(device, own ? Difference(*last->self, *now.self)
                        : Difference(last->used, now.used));
}

void ResourceLedger::AttributeCharge(const std::optional<CgroupCharge>& now) {
  using Charged = ResourceAccount::Charged;
  const auto last = std::exchange(last_charge_, now);
  if (!last || !now || last->cgroup != now->cgroup) return;
  const auto attribute = [this](uint64_t before, uint64_t after,
                                int64_t Charged::*sum) {
    if (before == after) return;
    const auto counted = [sum](const ResourceAccount& account) {
      return account.charged ? *account.charged.*sum : 0;
    };
    const auto shares =
        ShareOut(Difference(before, after), ClaimsOn(0, counted));
    for (size_t i = 0; i < shares.size(); ++i) {
      auto& charged = works_[i].account->charged;
      if (charged) *charged.*sum += shares[i];
    }
  };
  attribute(last->charged, now->charged, &Charged::charged);
  attribute(last->kept, now->kept, &Charged::kept);
}

void ResourceLedger::AttributeMain(const SelfMemory& self) {
  if (self.rss != 0) {
    const auto last = std::exchange(last_rss_, self.rss);
    if (last) Attribute(0, Difference(*last, self.rss));
  }
  AttributeCharge(self.cgroup);
}

void ResourceLedger::BeginWork(ResourceAccount* account, bool load,
                               const SelfMemory& self) {
  AttributeMain(self);
  bool alone = true;
  Work added{account, load};
  for (Work& work : works_) {
    if (ShareADevice(*work.account, *account)) work.mixed = added.mixed = true;
    if (work.ended) continue;
    work.account->exclusive = alone = false;
  }
  if (load) {
    account->exclusive = alone;
    account->charged.reset();
    if (const auto& now = self.cgroup) {
      account->charged.emplace().cgroup = now->cgroup;
      account->charged->alone = now->alone;
    }
  }
  works_.push_back(added);
}

// `keep`: its device memory is still to be measured.
void ResourceLedger::EndWork(ResourceAccount* account, bool keep,
                             const SelfMemory& self) {
  AttributeMain(self);
  for (Work& work : works_) {
    if (work.account != account) continue;
    work.ended = true;
    work.ended_at = last_mark_;
  }
  if (auto& charged = account->charged) {
    const auto& now = self.cgroup;
    if (!now || now->cgroup != charged->cgroup) {
      charged.reset();
    } else {
      charged->alone &= now->alone;
    }
  }
  if (keep) return;
  std::erase_if(
      works_, [account](const Work& work) { return work.account == account; });
}

void ResourceLedger::BeginLoad(ResourceAccount* account,
                               const SelfMemory& self) {
  BeginWork(account, /*load=*/true, self);
}

void ResourceLedger::EndLoad(ResourceAccount* account, const SelfMemory& self) {
  EndWork(account, HoldsDeviceMemory(*account), self);
}

void ResourceLedger::BeginUnload(ResourceAccount* account,
                                 const SelfMemory& self) {
  BeginWork(account, /*load=*/false, self);
}

void ResourceLedger::EndUnload(ResourceAccount* account,
                               const SelfMemory& self) {
  EndWork(account, /*keep=*/false, self);
}

bool ResourceLedger::ShareADevice(const ResourceAccount& a,
                                  const ResourceAccount& b) const {
  for (size_t i = 1; i < devices_.size(); ++i) {
    if (ReservedOn(a, i) > 0 && ReservedOn(b, i) > 0) return true;
  }
  return false;
}

void ResourceLedger::RememberFootprints(const Work& work) {
  const ResourceAccount& account = *work.account;
  if (!account.exclusive || work.mixed) return;
  for (size_t i = 1; i < devices_.size(); ++i) {
    if (ReservedOn(account, i) == 0) continue;
    const auto& reading = devices_[i].reading;
    if (!reading || !reading->self) continue;
    const int64_t taken = account.measured.empty() ? 0 : account.measured[i];
    const Resource& resource = devices_[i].resource;
    uint64_t estimated = util_.GetQuantity(resource, account.estimated);
    if (estimated == 0) {
      estimated = util_.GetQuantity(
          {resource.device, std::nullopt, resource.kind}, account.estimated);
    }
    footprints_.push_back({account.servable, resource.device, estimated,
                           static_cast<uint64_t>(std::max<int64_t>(taken, 0))});
  }
}

bool ResourceLedger::wants_reading() const {
  return std::any_of(works_.begin(), works_.end(),
                     [](const Work& work) { return work.ended; });
}

}  // namespace aspired
