#include "resources/resource.h"

#include <array>
#include <cstddef>
#include <cstdio>

namespace aspired {

std::string FormatQuantity(std::string_view kind, uint64_t quantity) {
  constexpr std::string_view kBytes = "_in_bytes";
  constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB",
                                                 "TiB", "PiB", "EiB"};
  const std::string number = std::to_string(quantity);
  if (quantity < 1024 || !kind.ends_with(kBytes)) return number;
  double value = static_cast<double>(quantity) / 1024;
  size_t unit = 0;
  // From 1023.995 two decimals would read 1024.00.
  while (value >= 1023.995 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f %s", value, kUnits[unit]);
  return std::string(text.data()) + " (" + number + ")";
}

std::string Resource::ToString() const {
  std::string text = device;
  if (instance.has_value()) text += ":" + std::to_string(*instance);
  return text + " " + kind;
}

std::string ResourceAllocation::ToString() const {
  if (entries.empty()) return "nothing";
  std::string text;
  for (const Entry& entry : entries) {
    if (!text.empty()) text += ", ";
    text += entry.resource.ToString() + " " +
            FormatQuantity(entry.resource.kind, entry.quantity);
  }
  return text;
}

}  // namespace aspired
