// ResourceUtil: arithmetic on allocations, given which devices there are.
//
// All functions take their arguments as normalized: entries of quantity 0 do
// not count, and an unbound resource of a device with one instance is instance
// 0. What a function writes is normalized, SetQuantity excepted.
//
// An invalid allocation (VerifyValidity) is an error of every function that
// answers a Status; nothing is written then. Those that answer a value answer
// false, 0, nullopt or, for Normalize, their argument. Sums and products that
// do not fit 64 bits are errors (kInvalidArgument, with the arithmetic).
//
// Thread-safety: immutable; any thread. No function keeps a reference.
//
// Cost: linear searches, no maps and no copies but the result: allocations
// have a handful of entries.
//
// Source: TensorFlow Serving's resource_util.h, whose results it has with
// three exceptions. Overflow wraps there. "main" and "main:0" in one allocation
// are valid there although they are one resource; here they are a duplicate.
// And there an estimate fits when each unbound entry fits some instance, which
// LessThanOrEqual keeps; Place is what admission asks: all kinds of one device
// on one instance.
#ifndef ASPIRED_RESOURCES_RESOURCE_UTIL_H_
#define ASPIRED_RESOURCES_RESOURCE_UTIL_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "resources/resource.h"

namespace aspired {

class ResourceUtil {
 public:
  // Devices and how many instances each has. A device with 0 instances is as
  // one that is not there.
  explicit ResourceUtil(const std::map<std::string, uint32_t>& instances);

  // Instances of a device; 0 when unknown.
  uint32_t InstancesOf(std::string_view device) const;

  // kInvalidArgument: an unknown device, an instance that does not exist, or
  // two entries of one resource (a zero quantity counts as an entry here).
  Status VerifyValidity(const ResourceAllocation& allocation) const;
  Status VerifyResourceValidity(const Resource& resource) const;

  // Drops zero quantities and binds what has but one place to be. Keeps order.
  ResourceAllocation Normalize(ResourceAllocation allocation) const;
  Resource Normalize(Resource resource) const;
  bool IsNormalized(const ResourceAllocation& allocation) const;
  // Whether every entry has its instance, once normalized. Empty: true.
  bool IsBound(const ResourceAllocation& allocation) const;

  static Resource CreateBoundResource(std::string device, std::string kind,
                                      uint32_t instance = 0);

  // 0 when there is no such entry.
  uint64_t GetQuantity(const Resource& resource,
                       const ResourceAllocation& allocation) const;
  // Overwrites the entry in place, in its spelling, or appends `resource`.
  Status SetQuantity(const Resource& resource, uint64_t quantity,
                     ResourceAllocation* allocation) const;

  // base += addend. An unbound resource and its bound instances stay apart.
  Status Add(const ResourceAllocation& addend, ResourceAllocation* base) const;
  // base -= subtrahend, all or nothing: kResourceExhausted when an entry is
  // missing or smaller. Entries that reach 0 are dropped.
  Status Subtract(const ResourceAllocation& subtrahend,
                  ResourceAllocation* base) const;
  // base *= factor.
  Status Multiply(uint64_t factor, ResourceAllocation* base) const;

  // Same entries in any order.
  bool Equal(const ResourceAllocation& lhs,
             const ResourceAllocation& rhs) const;
  bool ResourcesEqual(const Resource& lhs, const Resource& rhs) const;

  // Whether lhs fits rhs, which must be bound (else false). Bound entries are
  // taken from rhs; then each unbound entry must fit some instance of what is
  // left, each on its own: two kinds may be satisfied by two instances. That
  // is TensorFlow Serving's relation; see Place().
  bool LessThanOrEqual(const ResourceAllocation& lhs,
                       const ResourceAllocation& rhs) const;

  // The worst case: an unbound entry is added to every instance.
  Status Overbind(const ResourceAllocation& allocation,
                  ResourceAllocation* out) const;

  // Per resource the larger quantity: rhs's entries, then those only lhs has.
  Status Max(const ResourceAllocation& lhs, const ResourceAllocation& rhs,
             ResourceAllocation* out) const;
  // Per resource that both have the smaller quantity, in rhs's order.
  Status Min(const ResourceAllocation& lhs, const ResourceAllocation& rhs,
             ResourceAllocation* out) const;

  // kInvalidArgument when a (device, kind) of `overrides` is not in `base`.
  Status VerifyOverrideDeviceValidity(
      const ResourceAllocation& base,
      const ResourceAllocation& overrides) const;

  // The request, bound, so that it fits `available`; nullopt when it does not
  // or is invalid. Bound entries are taken first; then all unbound kinds of a
  // device go together to one instance: of those on which all of them fit, the
  // one with the most kRam left, the lowest index on ties. Unbound entries of
  // `available` (of a device with several instances) offer nothing.
  std::optional<ResourceAllocation> Place(
      const ResourceAllocation& request,
      const ResourceAllocation& available) const;

  // Why Place() answers nullopt, with the arithmetic, for a message:
  // "main:0 ram_in_bytes: needs 12, has 10 (2 short)". Empty when it fits.
  std::string DescribeShortage(const ResourceAllocation& request,
                               const ResourceAllocation& available) const;

 private:
  struct Device {
    std::string name;
    uint32_t instances;
  };

  // Normalize() of what is known to be valid, in place.
  void NormalizeValid(ResourceAllocation* allocation) const;
  const Device* Find(std::string_view device) const;
  // The instance a resource is bound to, once normalized.
  std::optional<uint32_t> InstanceOf(const Resource& resource) const;
  // The entry of one resource, or null. `instance` as of InstanceOf().
  const ResourceAllocation::Entry* FindEntry(
      const ResourceAllocation& allocation, std::string_view device,
      std::optional<uint32_t> instance, std::string_view kind) const;
  const ResourceAllocation::Entry* FindEntry(
      const ResourceAllocation& allocation, const Resource& resource) const;
  // What `available` has left of an instance once the bound entries of
  // `request` are taken. 0 when they alone are more.
  uint64_t LeftOn(const ResourceAllocation& request,
                  const ResourceAllocation& available, std::string_view device,
                  uint32_t instance, std::string_view kind) const;
  // The instance for the unbound entries of one device of a request.
  std::optional<uint32_t> ChooseInstance(const ResourceAllocation& request,
                                         const ResourceAllocation& available,
                                         const Device& device) const;

  std::vector<Device> devices_;  // sorted by name
};

}  // namespace aspired

#endif  // ASPIRED_RESOURCES_RESOURCE_UTIL_H_
