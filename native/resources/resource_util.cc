#include "resources/resource_util.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace aspired {
namespace {

using Entry = ResourceAllocation::Entry;

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

Status Invalid(std::string message) {
  return Status(ErrorCode::kInvalidArgument, std::move(message));
}

Status Overflow(const Resource& resource, uint64_t left, const char* operation,
                uint64_t right) {
  return Invalid(resource.ToString() + ": " + std::to_string(left) + " " +
                 operation + " " + std::to_string(right) +
                 " is more than 64 bits hold");
}

std::string Shortage(uint64_t needed, uint64_t available,
                     std::string_view kind) {
  return "needs " + FormatQuantity(kind, needed) + ", has " +
         FormatQuantity(kind, available) + " (" +
         FormatQuantity(kind, needed - available) + " short)";
}

void Append(std::string* text, const std::string& clause) {
  if (!text->empty()) *text += "; ";
  *text += clause;
}

// The position of a resource among normalized entries, or their number.
size_t IndexOf(const ResourceAllocation& allocation, const Resource& resource) {
  const auto it =
      std::find_if(allocation.entries.begin(), allocation.entries.end(),
                   [&](const Entry& entry) {
                     return entry.resource.instance == resource.instance &&
                            entry.resource.kind == resource.kind &&
                            entry.resource.device == resource.device;
                   });
  return static_cast<size_t>(it - allocation.entries.begin());
}

// Adds to the entry of a normalized resource, or appends it.
Status AddTo(const Resource& resource, uint64_t quantity,
             ResourceAllocation* base) {
  const size_t index = IndexOf(*base, resource);
  if (index == base->entries.size()) {
    base->entries.push_back({resource, quantity});
    return Status::Ok();
  }
  uint64_t& sum = base->entries[index].quantity;
  if (quantity > kMax - sum) return Overflow(resource, sum, "+", quantity);
  sum += quantity;
  return Status::Ok();
}

}  // namespace

ResourceUtil::ResourceUtil(const std::map<std::string, uint32_t>& instances) {
  for (const auto& [name, count] : instances) {
    if (count > 0) devices_.push_back({name, count});
  }
}

const ResourceUtil::Device* ResourceUtil::Find(std::string_view device) const {
  for (const Device& known : devices_) {
    if (known.name == device) return &known;
  }
  return nullptr;
}

uint32_t ResourceUtil::InstancesOf(std::string_view device) const {
  const Device* known = Find(device);
  return known == nullptr ? 0 : known->instances;
}

std::optional<uint32_t> ResourceUtil::InstanceOf(
    const Resource& resource) const {
  if (resource.instance.has_value()) return resource.instance;
  if (InstancesOf(resource.device) == 1) return 0;
  return std::nullopt;
}

const Entry* ResourceUtil::FindEntry(const ResourceAllocation& allocation,
                                     std::string_view device,
                                     std::optional<uint32_t> instance,
                                     std::string_view kind) const {
  for (const Entry& entry : allocation.entries) {
    // The instance first: numbers tell more entries apart, and faster.
    if (InstanceOf(entry.resource) == instance &&
        entry.resource.device == device && entry.resource.kind == kind) {
      return &entry;
    }
  }
  return nullptr;
}

const Entry* ResourceUtil::FindEntry(const ResourceAllocation& allocation,
                                     const Resource& resource) const {
  return FindEntry(allocation, resource.device, InstanceOf(resource),
                   resource.kind);
}

Status ResourceUtil::VerifyResourceValidity(const Resource& resource) const {
  const Device* device = Find(resource.device);
  if (device == nullptr) {
    return Invalid("unknown device \"" + resource.device + "\" in " +
                   resource.ToString());
  }
  if (resource.instance.value_or(0) >= device->instances) {
    return Invalid(resource.ToString() + ": device " + device->name + " has " +
                   std::to_string(device->instances) +
                   (device->instances == 1 ? " instance" : " instances"));
  }
  return Status::Ok();
}

Status ResourceUtil::VerifyValidity(
    const ResourceAllocation& allocation) const {
  for (const Entry& entry : allocation.entries) {
    if (Status status = VerifyResourceValidity(entry.resource); !status.ok()) {
      return status;
    }
    // The first entry of a resource is this one, or there are two.
    const Entry* first = FindEntry(allocation, entry.resource);
    if (first != &entry) {
      return Invalid("duplicate resource: " + first->resource.ToString() +
                     " and " + entry.resource.ToString() + " are one");
    }
  }
  return Status::Ok();
}

Resource ResourceUtil::Normalize(Resource resource) const {
  resource.instance = InstanceOf(resource);
  return resource;
}

ResourceAllocation ResourceUtil::Normalize(
    ResourceAllocation allocation) const {
  if (VerifyValidity(allocation).ok()) NormalizeValid(&allocation);
  return allocation;
}

void ResourceUtil::NormalizeValid(ResourceAllocation* allocation) const {
  std::erase_if(allocation->entries,
                [](const Entry& entry) { return entry.quantity == 0; });
  for (Entry& entry : allocation->entries) {
    entry.resource.instance = InstanceOf(entry.resource);
  }
}

bool ResourceUtil::IsNormalized(const ResourceAllocation& allocation) const {
  if (!VerifyValidity(allocation).ok()) return false;
  return std::none_of(allocation.entries.begin(), allocation.entries.end(),
                      [this](const Entry& entry) {
                        return entry.quantity == 0 ||
                               InstanceOf(entry.resource) !=
                                   entry.resource.instance;
                      });
}

bool ResourceUtil::IsBound(const ResourceAllocation& allocation) const {
  if (!VerifyValidity(allocation).ok()) return false;
  return std::all_of(allocation.entries.begin(), allocation.entries.end(),
                     [this](const Entry& entry) {
                       return entry.quantity == 0 ||
                              InstanceOf(entry.resource).has_value();
                     });
}

Resource ResourceUtil::CreateBoundResource(std::string device, std::string kind,
                                           uint32_t instance) {
  return {std::move(device), instance, std::move(kind)};
}

uint64_t ResourceUtil::GetQuantity(const Resource& resource,
                                   const ResourceAllocation& allocation) const {
  const Entry* entry = FindEntry(allocation, resource);
  return entry == nullptr ? 0 : entry->quantity;
}

Status ResourceUtil::SetQuantity(const Resource& resource, uint64_t quantity,
                                 ResourceAllocation* allocation) const {
  if (Status status = VerifyResourceValidity(resource); !status.ok()) {
    return status;
  }
  const Entry* entry = FindEntry(*allocation, resource);
  if (entry == nullptr) {
    allocation->entries.push_back({resource, quantity});
  } else {
    allocation->entries[static_cast<size_t>(entry - allocation->entries.data())]
        .quantity = quantity;
  }
  return Status::Ok();
}

Status ResourceUtil::Add(const ResourceAllocation& addend,
                         ResourceAllocation* base) const {
  if (Status status = VerifyValidity(addend); !status.ok()) return status;
  if (&addend == base) return Multiply(2, base);
  if (Status status = VerifyValidity(*base); !status.ok()) return status;
  for (const Entry& entry : addend.entries) {
    const uint64_t sum = GetQuantity(entry.resource, *base);
    if (entry.quantity > kMax - sum) {
      return Overflow(Normalize(entry.resource), sum, "+", entry.quantity);
    }
  }
  NormalizeValid(base);
  for (const Entry& entry : addend.entries) {
    if (entry.quantity == 0) continue;
    // Can't overflow: it was looked at above, for all of them.
    if (Status status = AddTo(Normalize(entry.resource), entry.quantity, base);
        !status.ok()) {
      return status;
    }
  }
  return Status::Ok();
}

Status ResourceUtil::Subtract(const ResourceAllocation& subtrahend,
                              ResourceAllocation* base) const {
  if (Status status = VerifyValidity(subtrahend); !status.ok()) return status;
  if (Status status = VerifyValidity(*base); !status.ok()) return status;
  for (const Entry& entry : subtrahend.entries) {
    const uint64_t there = GetQuantity(entry.resource, *base);
    if (there < entry.quantity) {
      return Status(ErrorCode::kResourceExhausted,
                    Normalize(entry.resource).ToString() + ": " +
                        Shortage(entry.quantity, there, entry.resource.kind));
    }
  }
  // By base's entries, so that subtrahend may be *base: each is read before it
  // is written, once.
  for (Entry& entry : base->entries) {
    entry.quantity -= GetQuantity(entry.resource, subtrahend);
  }
  NormalizeValid(base);
  return Status::Ok();
}

Status ResourceUtil::Multiply(uint64_t factor, ResourceAllocation* base) const {
  if (Status status = VerifyValidity(*base); !status.ok()) return status;
  for (const Entry& entry : base->entries) {
    if (factor != 0 && entry.quantity > kMax / factor) {
      return Overflow(Normalize(entry.resource), entry.quantity, "*", factor);
    }
  }
  for (Entry& entry : base->entries) entry.quantity *= factor;
  NormalizeValid(base);
  return Status::Ok();
}

bool ResourceUtil::ResourcesEqual(const Resource& lhs,
                                  const Resource& rhs) const {
  return lhs.kind == rhs.kind && lhs.device == rhs.device &&
         InstanceOf(lhs) == InstanceOf(rhs);
}

bool ResourceUtil::Equal(const ResourceAllocation& lhs,
                         const ResourceAllocation& rhs) const {
  if (!VerifyValidity(lhs).ok() || !VerifyValidity(rhs).ok()) return false;
  // Each has a resource once, so two inclusions are an equality.
  const auto included = [this](const ResourceAllocation& left,
                               const ResourceAllocation& right) {
    return std::all_of(
        left.entries.begin(), left.entries.end(), [&](const Entry& entry) {
          return GetQuantity(entry.resource, right) == entry.quantity;
        });
  };
  return included(lhs, rhs) && included(rhs, lhs);
}

uint64_t ResourceUtil::LeftOn(const ResourceAllocation& request,
                              const ResourceAllocation& available,
                              std::string_view device, uint32_t instance,
                              std::string_view kind) const {
  const Entry* there = FindEntry(available, device, instance, kind);
  if (there == nullptr) return 0;
  const Entry* bound = FindEntry(request, device, instance, kind);
  const uint64_t taken = bound == nullptr ? 0 : bound->quantity;
  return there->quantity < taken ? 0 : there->quantity - taken;
}

bool ResourceUtil::LessThanOrEqual(const ResourceAllocation& lhs,
                                   const ResourceAllocation& rhs) const {
  if (!VerifyValidity(lhs).ok() || !IsBound(rhs)) return false;
  for (const Entry& entry : lhs.entries) {
    const Resource& resource = entry.resource;
    if (entry.quantity == 0) continue;
    if (InstanceOf(resource).has_value()) {
      if (GetQuantity(resource, rhs) < entry.quantity) return false;
      continue;
    }
    bool fits = false;
    for (uint32_t i = 0; i < InstancesOf(resource.device) && !fits; ++i) {
      fits =
          LeftOn(lhs, rhs, resource.device, i, resource.kind) >= entry.quantity;
    }
    if (!fits) return false;
  }
  return true;
}

Status ResourceUtil::Overbind(const ResourceAllocation& allocation,
                              ResourceAllocation* out) const {
  if (Status status = VerifyValidity(allocation); !status.ok()) return status;
  ResourceAllocation result;
  for (const Entry& entry : allocation.entries) {
    if (entry.quantity == 0) continue;
    Resource resource = Normalize(entry.resource);
    const bool bound = resource.instance.has_value();
    const uint32_t first = resource.instance.value_or(0);
    const uint32_t end = bound ? first + 1 : InstancesOf(resource.device);
    for (uint32_t i = first; i < end; ++i) {
      resource.instance = i;
      if (Status status = AddTo(resource, entry.quantity, &result);
          !status.ok()) {
        return status;
      }
    }
  }
  *out = std::move(result);
  return Status::Ok();
}

Status ResourceUtil::Max(const ResourceAllocation& lhs,
                         const ResourceAllocation& rhs,
                         ResourceAllocation* out) const {
  if (Status status = VerifyValidity(lhs); !status.ok()) return status;
  if (Status status = VerifyValidity(rhs); !status.ok()) return status;
  ResourceAllocation result = Normalize(rhs);
  for (Entry& entry : result.entries) {
    entry.quantity = std::max(entry.quantity, GetQuantity(entry.resource, lhs));
  }
  for (const Entry& entry : lhs.entries) {
    if (entry.quantity == 0 || GetQuantity(entry.resource, rhs) != 0) continue;
    result.entries.push_back({Normalize(entry.resource), entry.quantity});
  }
  *out = std::move(result);
  return Status::Ok();
}

Status ResourceUtil::Min(const ResourceAllocation& lhs,
                         const ResourceAllocation& rhs,
                         ResourceAllocation* out) const {
  if (Status status = VerifyValidity(lhs); !status.ok()) return status;
  if (Status status = VerifyValidity(rhs); !status.ok()) return status;
  ResourceAllocation result = rhs;
  for (Entry& entry : result.entries) {
    entry.quantity = std::min(entry.quantity, GetQuantity(entry.resource, lhs));
  }
  *out = Normalize(std::move(result));
  return Status::Ok();
}

Status ResourceUtil::VerifyOverrideDeviceValidity(
    const ResourceAllocation& base, const ResourceAllocation& overrides) const {
  for (const Entry& entry : overrides.entries) {
    const bool known = std::any_of(
        base.entries.begin(), base.entries.end(), [&](const Entry& other) {
          return other.resource.device == entry.resource.device &&
                 other.resource.kind == entry.resource.kind;
        });
    if (!known) {
      return Invalid("override of " + entry.resource.ToString() +
                     ", which the base does not have: " + base.ToString());
    }
  }
  return Status::Ok();
}

std::optional<uint32_t> ResourceUtil::ChooseInstance(
    const ResourceAllocation& request, const ResourceAllocation& available,
    const Device& device) const {
  std::optional<uint32_t> best;
  uint64_t best_ram = 0;
  for (uint32_t i = 0; i < device.instances; ++i) {
    const bool fits =
        std::all_of(request.entries.begin(), request.entries.end(),
                    [&](const Entry& entry) {
                      const Resource& resource = entry.resource;
                      return resource.instance.has_value() ||
                             resource.device != device.name ||
                             LeftOn(request, available, device.name, i,
                                    resource.kind) >= entry.quantity;
                    });
    if (!fits) continue;
    const uint64_t ram = LeftOn(request, available, device.name, i, kRam);
    if (best.has_value() && ram <= best_ram) continue;
    best = i;
    best_ram = ram;
  }
  return best;
}

std::optional<ResourceAllocation> ResourceUtil::Place(
    const ResourceAllocation& request,
    const ResourceAllocation& available) const {
  if (!VerifyValidity(request).ok()) return std::nullopt;
  ResourceAllocation placed;
  placed.entries.reserve(request.entries.size());
  const Device* chosen_for = nullptr;
  std::optional<uint32_t> chosen;
  for (const Entry& entry : request.entries) {
    if (entry.quantity == 0) continue;
    Resource resource = Normalize(entry.resource);
    if (resource.instance.has_value()) {
      if (GetQuantity(resource, available) < entry.quantity) {
        return std::nullopt;
      }
    } else {
      const Device* device = Find(resource.device);
      // The choice depends on the device alone: once per run of its entries.
      if (device != chosen_for) {
        chosen = ChooseInstance(request, available, *device);
        chosen_for = device;
      }
      if (!chosen.has_value()) return std::nullopt;
      resource.instance = chosen;
    }
    if (Status status = AddTo(resource, entry.quantity, &placed);
        !status.ok()) {
      return std::nullopt;
    }
  }
  return placed;
}

std::string ResourceUtil::DescribeShortage(
    const ResourceAllocation& request,
    const ResourceAllocation& available) const {
  if (Status status = VerifyValidity(request); !status.ok()) {
    return std::string(status.message());
  }
  std::string text;
  for (const Entry& entry : request.entries) {
    const Resource resource = Normalize(entry.resource);
    if (resource.instance.has_value()) {
      const uint64_t has = GetQuantity(resource, available);
      if (has >= entry.quantity) continue;
      Append(&text, resource.ToString() + ": " +
                        Shortage(entry.quantity, has, resource.kind));
      continue;
    }
    const Device& device = *Find(resource.device);
    if (entry.quantity == 0 ||
        ChooseInstance(request, available, device).has_value()) {
      continue;
    }
    std::string clause = resource.ToString() + ": needs " +
                         FormatQuantity(resource.kind, entry.quantity) +
                         " on one instance;";
    for (uint32_t i = 0; i < device.instances; ++i) {
      const uint64_t has =
          LeftOn(request, available, device.name, i, resource.kind);
      clause += (i == 0 ? " " : ", ") + device.name + ":" + std::to_string(i) +
                " has " + FormatQuantity(resource.kind, has);
    }
    Append(&text, clause);
  }
  return text;
}

}  // namespace aspired
