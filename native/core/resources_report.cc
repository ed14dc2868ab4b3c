// The ledger of BasicManager, as people see it.
#include "core/resources_report.h"

#include <algorithm>
#include <utility>

#include "core/basic_manager.h"
#include "core/managed_version.h"

namespace aspired {
namespace {

using Shares = std::vector<ResourcesReport::Share>;

Shares SharesOf(const ResourceLedger& ledger, const ResourceAccount& account) {
  Shares shares;
  const auto& devices = ledger.devices();
  for (size_t i = 0; i < devices.size(); ++i) {
    const Resource& resource = devices[i].resource;
    ResourcesReport::Share share;
    share.device = i;
    share.reserved = ledger.util().GetQuantity(resource, account.reserved);
    share.estimated = ledger.util().GetQuantity(resource, account.estimated);
    // An estimate for any instance belongs to the one it was placed on.
    if (share.estimated == 0 && share.reserved > 0) {
      share.estimated = ledger.util().GetQuantity(
          {resource.device, std::nullopt, resource.kind}, account.estimated);
    }
    if (i < account.measured.size()) share.measured = account.measured[i];
    if (i == 0 && account.charged) {
      share.measured_cgroup = account.charged->charged;
    }
    if (share.reserved > 0 || share.measured != 0 || share.estimated > 0 ||
        share.measured_cgroup.value_or(0) != 0) {
      shares.push_back(share);
    }
  }
  return shares;
}

ResourcesReport::Device DeviceOf(const ResourceLedger& ledger, size_t index) {
  const ResourceLedger::Device& d = ledger.devices()[index];
  ResourcesReport::Device row;
  row.device = d.resource.device;
  row.instance = d.resource.instance.value_or(0);
  row.limit = d.limit;
  row.reserved = d.reserved;
  row.measured = d.measured;
  row.available = ledger.AvailableOn(index);
  if (!d.reading) return row;
  row.status = d.reading->status;
  if (!row.status.ok()) return row;
  row.total = d.reading->total;
  row.used = d.reading->used;
  const uint64_t own = static_cast<uint64_t>(std::max<int64_t>(d.measured, 0));
  row.used_by_others = d.reading->used > own ? d.reading->used - own : 0;
  return row;
}

void AddRow(const ResourceLedger& ledger, const ResourceAccount& account,
            ResourcesReport::Version row, ResourcesReport* report) {
  row.shares = SharesOf(ledger, account);
  const bool resident = account.phase == ResourceAccount::Phase::kResident;
  for (const ResourcesReport::Share& share : row.shares) {
    ResourcesReport::Device& device = report->devices[share.device];
    device.estimated += share.estimated;
    if (device.measured_cgroup) {
      *device.measured_cgroup += share.measured_cgroup.value_or(0);
    }
    if (!resident) continue;
    device.drift += share.measured - static_cast<int64_t>(share.reserved);
  }
  report->versions.push_back(std::move(row));
}

}  // namespace

ResourcesReport BasicManager::GetResources() {
  std::vector<DeviceReading> readings;
  SelfMemory self;
  ResourceLedger::Mark mark;
  if (ledger_ && options_.meter) {
    {
      std::lock_guard<std::mutex> lock(mu_);
      mark = ledger_->BeginReading();
    }
    readings = options_.meter->Read();
    self = options_.meter->ReadSelf();
  }
  std::lock_guard<std::mutex> lock(mu_);
  ResourcesReport report;
  if (!ledger_) return report;
  if (!readings.empty()) ObserveLocked(mark, readings);
  for (size_t i = 0; i < ledger_->devices().size(); ++i) {
    report.devices.push_back(DeviceOf(*ledger_, i));
  }
  if (self.cgroup) {
    report.devices[0].measured_cgroup = 0;
    report.devices[0].alone_in_cgroup = self.cgroup->alone;
  }
  for (const auto& [name, versions] : streams_) {
    for (const auto& m : versions) {
      if (m->account == nullptr) continue;
      ResourcesReport::Version row;
      row.id = m->id();
      row.state = m->harness.state();
      row.standby = m->standby;
      if (m->waiting) row.waiting = ShortageLocked(*m);
      AddRow(*ledger_, *m->account, std::move(row), &report);
    }
  }
  for (const auto& [run, load] : given_up_) {
    ResourcesReport::Version row;
    row.id = load.first;
    row.state = HarnessState::kLoading;
    row.given_up = true;
    AddRow(*ledger_, *load.second, std::move(row), &report);
  }
  return report;
}

}  // namespace aspired
