#include "cuda/visible_devices.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace aspired {
namespace {

bool StartsWith(std::string_view text, std::string_view prefix) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [&](char a, char b) { return lower(a) == lower(b); });
}

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string_view> Split(std::string_view text) {
  std::vector<std::string_view> items;
  for (;;) {
    const size_t comma = text.find(',');
    items.push_back(Trim(text.substr(0, comma)));
    if (comma == std::string_view::npos) return items;
    text.remove_prefix(comma + 1);
  }
}

// Digits at the start, whatever follows them; the driver uses strtol.
std::optional<size_t> ParseIndex(std::string_view item) {
  if (item.starts_with('+')) item.remove_prefix(1);
  size_t index = 0;
  const auto [end, error] =
      std::from_chars(item.data(), item.data() + item.size(), index);
  if (error != std::errc()) return std::nullopt;
  return index;
}

const std::string* DeviceOf(const VisibleGpu& gpu) {
  return gpu.instances.empty() ? &gpu.uuid : &gpu.instances.front();
}

// Null when the item names nothing.
const std::string* FindItem(std::string_view item, bool by_uuid,
                            const std::vector<VisibleGpu>& gpus) {
  if (!by_uuid) {
    const auto index = ParseIndex(item);
    return index && *index < gpus.size() ? DeviceOf(gpus[*index]) : nullptr;
  }
  if (!StartsWith(item, "GPU-") && !StartsWith(item, "MIG-")) return nullptr;
  std::vector<std::string> uuids;
  std::vector<const std::string*> devices;
  for (const VisibleGpu& gpu : gpus) {
    uuids.push_back(gpu.uuid);
    devices.push_back(DeviceOf(gpu));
    for (const std::string& instance : gpu.instances) {
      uuids.push_back(instance);
      devices.push_back(&instance);
    }
  }
  const UuidMatch match = MatchUuid(item, uuids);
  return match.kind == UuidMatch::Kind::kOne ? devices[match.index] : nullptr;
}

}  // namespace

UuidMatch MatchUuid(std::string_view wanted,
                    const std::vector<std::string>& uuids) {
  UuidMatch match;
  for (size_t i = 0; i < uuids.size(); ++i) {
    if (!StartsWith(uuids[i], wanted)) continue;
    if (uuids[i].size() == wanted.size()) return {UuidMatch::Kind::kOne, i};
    match.kind = match.kind == UuidMatch::Kind::kNone
                     ? UuidMatch::Kind::kOne
                     : UuidMatch::Kind::kAmbiguous;
    match.index = i;
  }
  return match;
}

std::vector<std::string> ResolveVisibleDevices(
    const char* value, const std::vector<VisibleGpu>& gpus) {
  std::vector<std::string> visible;
  if (value == nullptr) {
    for (const VisibleGpu& gpu : gpus) visible.push_back(*DeviceOf(gpu));
    return visible;
  }
  const std::vector<std::string_view> items = Split(value);
  const bool by_uuid =
      StartsWith(items.front(), "GPU-") || StartsWith(items.front(), "MIG-");
  for (const std::string_view item : items) {
    const std::string* uuid = FindItem(item, by_uuid, gpus);
    if (uuid == nullptr) break;
    if (std::find(visible.begin(), visible.end(), *uuid) != visible.end()) {
      return {};
    }
    visible.push_back(*uuid);
  }
  return visible;
}

}  // namespace aspired
