// ResourcesReport: the whole ledger of a manager at one moment, for people.
#ifndef ASPIRED_CORE_RESOURCES_REPORT_H_
#define ASPIRED_CORE_RESOURCES_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/harness_state.h"
#include "core/servable_id.h"
#include "core/status.h"

namespace aspired {

// Everything in bytes.
struct ResourcesReport {
  struct Device {
    std::string device;  // "main", "cuda"
    uint32_t instance = 0;
    uint64_t limit = 0;  // UINT64_MAX: none
    uint64_t estimated = 0;
    uint64_t reserved = 0;
    int64_t measured = 0;
    // Of main memory, by the cgroup of this process, and whether that is its
    // alone; none where it is in none.
    std::optional<int64_t> measured_cgroup;
    std::optional<bool> alone_in_cgroup;
    // What the device has, and what everybody uses of it; none without a meter.
    std::optional<uint64_t> total;
    std::optional<uint64_t> used;
    // What is used and was not measured for any version: other processes, and
    // the rest of this one.
    std::optional<uint64_t> used_by_others;
    // What a load could get now.
    uint64_t available = 0;
    // Measured minus reserved, of versions that are loaded: above zero, their
    // loaders estimate too little.
    int64_t drift = 0;
    Status status;  // not OK: the device is lost
  };
  struct Share {
    size_t device = 0;  // index of devices
    uint64_t estimated = 0;
    uint64_t reserved = 0;
    int64_t measured = 0;
    // Of main memory; what other processes took meanwhile is in it, if there
    // are any.
    std::optional<int64_t> measured_cgroup;
  };
  struct Version {
    ServableId id;
    HarnessState state = HarnessState::kNew;
    bool standby = false;
    // Not the version, but a load of it that was given up and still runs.
    bool given_up = false;
    std::string waiting;  // why it waits for memory; empty when it does not
    std::vector<Share> shares;
  };
  std::vector<Device> devices;
  // Those with a share, or that wait.
  std::vector<Version> versions;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_RESOURCES_REPORT_H_
