#include "host/cgroup_memory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "host/system_memory.h"

namespace aspired {
namespace {

// Version 1 says "unlimited" as the most pages that a counter holds, in bytes:
// 2^63 less a page, whose size differs. Nothing real is near.
constexpr uint64_t kUnlimited = uint64_t{1} << 62;

struct Mount {
  std::string root;  // the cgroup that is mounted
  std::string point;
};

bool HasWord(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    if (TakeUntil(list, ',') == word) return true;
  }
  return false;
}

// mountinfo writes blanks and backslashes as "\040".
std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 +
                                 (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// Where the hierarchy with the memory controller is mounted; several places in
// some containers. Lines read
// "36 35 98:0 /root /mount/point rw,noatime shared:1 - cgroup cgroup
// rw,memory".
std::vector<Mount> FindMounts(bool v2, std::string_view mountinfo) {
  std::vector<Mount> mounts;
  while (!mountinfo.empty()) {
    std::string_view line = TakeUntil(mountinfo, '\n');
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    std::string_view tail = line.substr(dash + 3);
    const std::string_view type = TakeUntil(tail, ' ');
    TakeUntil(tail, ' ');  // source
    const bool matches =
        v2 ? type == "cgroup2" : type == "cgroup" && HasWord(tail, "memory");
    if (!matches) continue;
    for (int skipped = 0; skipped < 3; ++skipped) TakeUntil(line, ' ');
    const std::string_view root = TakeUntil(line, ' ');
    mounts.push_back({Unescape(root), Unescape(TakeUntil(line, ' '))});
  }
  if (mounts.empty()) {
    mounts.push_back({"/", v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"});
  }
  return mounts;
}

// The path of a cgroup below a mount: "" is the mount itself; nullopt when it
// can't be seen there.
std::optional<std::string> PathBelow(const Mount& mount,
                                     std::string_view path) {
  if (path.find("/..") != std::string_view::npos) return std::nullopt;
  if (mount.root != "/") {
    if (!path.starts_with(mount.root)) return std::nullopt;
    path.remove_prefix(mount.root.size());
    if (!path.empty() && path[0] != '/') return std::nullopt;
  }
  return path == "/" ? std::string() : std::string(path);
}

}  // namespace

CgroupMemory::CgroupMemory(std::string root)
    : root_(std::move(root)), self_cgroup_(root_ + "/proc/self/cgroup") {}

void CgroupMemory::Follow() {
  const std::string_view now =
      self_cgroup_.Read(buffer_).value_or(std::string_view());
  if (now == seen_) return;
  seen_ = now;
  levels_.clear();
  ++moves_;
  std::ifstream file(root_ + "/proc/self/mountinfo", std::ios::binary);
  const std::string mountinfo{std::istreambuf_iterator<char>(file), {}};
  // Lines read "4:memory:/path", and "0::/path" for version 2. In a hybrid
  // system the controller is in one of them; the other has no files of it.
  std::string_view rest = seen_;
  while (!rest.empty()) {
    std::string_view line = TakeUntil(rest, '\n');
    const std::string_view id = TakeUntil(line, ':');
    const std::string_view controllers = TakeUntil(line, ':');
    if (HasWord(controllers, "memory")) {
      AddHierarchy(false, line, mountinfo);
    } else if (id == "0" && controllers.empty()) {
      AddHierarchy(true, line, mountinfo);
    }
  }
  // Of version 1 only the root has this file. That of version 2 has none of
  // those that make a level.
  std::error_code error;
  is_root_ = !levels_.empty() &&
             std::filesystem::exists(
                 levels_.front().directory + "/release_agent", error);
}

void CgroupMemory::AddHierarchy(bool v2, std::string_view path,
                                const std::string& mountinfo) {
  const std::vector<Mount> mounts = FindMounts(v2, mountinfo);
  std::string top = root_ + mounts.front().point;
  std::string below;
  for (const Mount& mount : mounts) {
    const std::string point = root_ + mount.point;
    const std::optional<std::string> found = PathBelow(mount, path);
    std::error_code error;
    if (found.has_value() &&
        std::filesystem::is_directory(point + *found, error)) {
      top = point;
      below = *found;
      break;
    }
  }
  AddLevel(v2, top + below, true);
  while (!below.empty()) {
    below.resize(below.rfind('/'));
    AddLevel(v2, top + below, false);
  }
}

void CgroupMemory::AddLevel(bool v2, const std::string& directory, bool own) {
  Level level{directory, v2, {}, {}, {}};
  const std::string prefix = directory + "/memory.";
  level.limit = KeptFile(prefix + (v2 ? "max" : "limit_in_bytes"));
  // The root of version 2 has none, nor has a hierarchy without controller.
  if (!level.limit.is_open()) return;
  // Version 1 of old kernels: a cgroup may not count what is below it.
  const KeptFile hierarchy(prefix + "use_hierarchy");
  if (!v2 && !own &&
      ParseNumber(hierarchy.Read(buffer_).value_or("1")) == uint64_t{0}) {
    return;
  }
  level.usage = KeptFile(prefix + (v2 ? "current" : "usage_in_bytes"));
  level.stat = KeptFile(prefix + "stat");
  levels_.push_back(std::move(level));
}

std::optional<uint64_t> CgroupMemory::ReadLimit(const Level& level) {
  const auto text = level.limit.Read(buffer_);
  if (!text.has_value()) return std::nullopt;
  const std::optional<uint64_t> bytes = ParseNumber(*text);
  if (!bytes.has_value() || *bytes >= kUnlimited) return std::nullopt;
  return bytes;
}

uint64_t CgroupMemory::ReadUsed(const Level& level) {
  const auto usage = level.usage.Read(buffer_);
  const uint64_t bytes = ParseNumber(usage.value_or("")).value_or(0);
  const auto stat = level.stat.Read(buffer_);
  const uint64_t reclaimable =
      FindNumber(stat.value_or(""),
                 level.v2 ? "inactive_file" : "total_inactive_file")
          .value_or(0);
  // Two reads, two moments: the second may be more.
  return bytes < reclaimable ? 0 : bytes - reclaimable;
}

bool CgroupMemory::IsAlone(const std::string& directory) {
  // The number of links counts the folders in it. Where they are not counted,
  // there are no cgroups.
  std::error_code error;
  const auto links = std::filesystem::hard_link_count(directory, error);
  if (error || links > 2) return false;
  // Opened each time: of version 1 a file that stays open shows the processes
  // of its first reading, as long as it is read more often than once a second.
  const KeptFile file(directory + "/cgroup.procs");
  std::string_view rest = file.Read(buffer_).value_or(std::string_view());
  return ParseNumber(TakeUntil(rest, '\n')) == SystemProcessId() &&
         rest.empty();
}

std::optional<CgroupCharge> CgroupMemory::ReadOwn() {
  Follow();
  if (levels_.empty() || is_root_) return std::nullopt;
  const Level& own = levels_.front();
  const auto usage = ParseNumber(own.usage.Read(buffer_).value_or(""));
  const auto text = own.stat.Read(buffer_);
  if (!usage || !text) return std::nullopt;
  const auto find = [&text](std::string_view key) {
    return FindNumber(*text, key).value_or(0);
  };
  // Several reads, several moments: what is taken off may be more.
  const auto without = [](uint64_t bytes, uint64_t less) {
    return bytes < less ? 0 : bytes - less;
  };
  CgroupCharge charge;
  charge.cgroup = moves_;
  charge.charged =
      without(*usage, find(own.v2 ? "inactive_file" : "total_inactive_file"));
  // Version 1 does not say what of its slabs is reclaimable.
  charge.kept = without(charge.charged,
                        find(own.v2 ? "active_file" : "total_active_file") +
                            find("slab_reclaimable"));
  charge.alone = IsAlone(own.directory);
  return charge;
}

std::optional<CgroupMemory::Limit> CgroupMemory::SmallestLimit() {
  Follow();
  std::optional<Limit> smallest;
  for (const Level& level : levels_) {
    const std::optional<uint64_t> bytes = ReadLimit(level);
    if (!bytes.has_value()) continue;
    if (smallest.has_value() && *bytes >= smallest->bytes) continue;
    smallest = Limit{*bytes, level.directory};
  }
  return smallest;
}

std::optional<CgroupMemory::Usage> CgroupMemory::Tightest(uint64_t ceiling) {
  Follow();
  const auto left = [](const Usage& usage) {
    return usage.limit.bytes - std::min(usage.limit.bytes, usage.used);
  };
  std::optional<Usage> tightest;
  for (const Level& level : levels_) {
    const std::optional<uint64_t> bytes = ReadLimit(level);
    if (!bytes.has_value() || *bytes >= ceiling) continue;
    const Usage usage{{*bytes, level.directory}, ReadUsed(level)};
    if (tightest.has_value() && left(usage) >= left(*tightest)) continue;
    tightest = usage;
  }
  return tightest;
}

}  // namespace aspired
