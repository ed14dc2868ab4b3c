// CgroupMemory: the cgroups that limit the memory of this process: its own and
// all those above it, of version 1, 2 or both.
//
// Where they are is looked up in /proc/self/cgroup and /proc/self/mountinfo. In
// a cgroup namespace the path of the former may not exist below the mount of
// the latter: then the mount's root is the best that can be seen. A process
// that is moved to another cgroup is followed.
//
// Limits and usage are read on each call: a limit that is changed counts at
// once. memory.high of version 2 slows a process down and is not a limit here.
//
// Thread-safety: none; HostMemory serialises.
//
// Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of
// the Linux kernel.
#ifndef ASPIRED_HOST_CGROUP_MEMORY_H_
#define ASPIRED_HOST_CGROUP_MEMORY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/kept_file.h"
#include "resources/memory_meter.h"

namespace aspired {

class CgroupMemory {
 public:
  // A limit, in bytes. `cgroup` is valid until the next call.
  struct Limit {
    uint64_t bytes;
    std::string_view cgroup;  // its directory
  };
  struct Usage {
    Limit limit;
    uint64_t used;  // not reclaimable: without the inactive page cache
  };

  // `root` is prefixed to /proc and to all mount points.
  explicit CgroupMemory(std::string root);

  // The smallest of all limits; nullopt when nothing is limited.
  std::optional<Limit> SmallestLimit();
  // Of the limits below `ceiling` the one with the least left; nullopt when
  // there is none. A limit above the machine's memory never binds, and is not
  // worth the reading.
  std::optional<Usage> Tightest(uint64_t ceiling);
  // Of the innermost cgroup that has the memory controller; nullopt when that
  // is the root, which is charged for the machine, or when it can't be read.
  std::optional<CgroupCharge> ReadOwn();

 private:
  struct Level {
    std::string directory;
    bool v2;
    KeptFile limit;
    KeptFile usage;
    KeptFile stat;
  };

  // Looks the cgroups up again when the process was moved.
  void Follow();
  // The levels of one hierarchy, from the process's cgroup up to the mount.
  void AddHierarchy(bool v2, std::string_view path,
                    const std::string& mountinfo);
  void AddLevel(bool v2, const std::string& directory, bool own);
  std::optional<uint64_t> ReadLimit(const Level& level);
  uint64_t ReadUsed(const Level& level);
  bool IsAlone(const std::string& directory);

  const std::string root_;
  KeptFile self_cgroup_;
  std::string seen_;  // the text of self_cgroup_ that levels_ are of
  uint64_t moves_ = 0;
  std::vector<Level> levels_;  // innermost first
  bool is_root_ = false;       // the first of them
  KeptFile::Buffer buffer_;
};

}  // namespace aspired

#endif  // ASPIRED_HOST_CGROUP_MEMORY_H_
