// What a servable needs of a host: quantities of kinds of a device, on a
// certain instance of the device or on any.
//
// A resource with an instance is bound; one without is unbound: the instance is
// still to be decided. Devices and kinds are open sets of names; those that the
// rest of the code means are below. All quantities of kRam are bytes.
//
// Thread-safety: plain values.
//
// Source: TensorFlow Serving's resources.proto. An allocation is a short list
// in the order in which it was made: one to four entries for a servable, one
// per device for a limit.
#ifndef ASPIRED_RESOURCES_RESOURCE_H_
#define ASPIRED_RESOURCES_RESOURCE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aspired {

// Devices.
inline constexpr char kMain[] = "main";  // the host; one instance
inline constexpr char kCuda[] = "cuda";  // GPUs; instance = the ledger's index
// Kinds. Memory of a GPU has the same kind as memory of the host.
inline constexpr char kRam[] = "ram_in_bytes";

struct Resource {
  std::string device;
  std::optional<uint32_t> instance;  // none: unbound
  std::string kind;

  friend bool operator==(const Resource&, const Resource&) = default;
  // "main:0 ram_in_bytes"; unbound "cuda ram_in_bytes".
  std::string ToString() const;
};

struct ResourceAllocation {
  struct Entry {
    Resource resource;
    uint64_t quantity = 0;

    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::vector<Entry> entries;

  bool empty() const { return entries.empty(); }
  // As written: order and spelling count. ResourceUtil::Equal compares meaning.
  friend bool operator==(const ResourceAllocation&,
                         const ResourceAllocation&) = default;
  // "main:0 ram_in_bytes 1.50 GiB (1610612736), cuda slots 2"; "nothing".
  std::string ToString() const;
};

// For messages: "1.50 GiB (1610612736)" when the kind ends in "_in_bytes" and
// the quantity is at least 1 KiB, else the number alone.
std::string FormatQuantity(std::string_view kind, uint64_t quantity);

}  // namespace aspired

#endif  // ASPIRED_RESOURCES_RESOURCE_H_
