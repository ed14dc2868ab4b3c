// Limits and usage of main memory, from trees of files as the kernel writes
// them, and from the machine that runs the test.
#include "host/host_memory.h"

#include <gtest/gtest.h>

#ifdef __linux__

#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace aspired {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr char kUnlimitedV1[] = "9223372036854771712\n";
constexpr char kMountV1[] =
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup "
    "rw,memory\n";
constexpr char kMountV2[] =
    "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";

class HostMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    root_ = testing::TempDir() + "aspired_" + info->name() + "_" +
            std::to_string(getpid());
    std::filesystem::remove_all(root_);
    // 1000 MiB, of which 600 are free: no cgroup is tighter by chance.
    Write("/proc/meminfo",
          "MemTotal:       1024000 kB\nMemFree:         1024 kB\n"
          "MemAvailable:    614400 kB\n");
    Write("/proc/self/statm", "5000 1000 300 5 0 123 0\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void WriteV1(const std::string& directory, const std::string& limit,
               uint64_t usage, uint64_t inactive) {
    Write(directory + "/memory.limit_in_bytes", limit);
    Write(directory + "/memory.usage_in_bytes", std::to_string(usage) + "\n");
    Write(directory + "/memory.stat",
          "cache 7\ninactive_file 1\nhierarchical_memory_limit 5\n"
          "total_inactive_file " +
              std::to_string(inactive) + "\ntotal_active_file 4\n");
  }
  void WriteV2(const std::string& directory, const std::string& limit,
               uint64_t usage, uint64_t inactive) {
    Write(directory + "/memory.max", limit + "\n");
    Write(directory + "/memory.current", std::to_string(usage) + "\n");
    Write(directory + "/memory.stat",
          "anon 7\nfile 9\ninactive_anon 3\ninactive_file " +
              std::to_string(inactive) + "\nactive_file 4\n");
  }
  static std::string Own() { return std::to_string(getpid()); }
  std::unique_ptr<HostMemory> Create() {
    return HostMemory::Create({root_, {}});
  }

  void ExpectReading(HostMemory& memory, uint64_t total, uint64_t used,
                     MemoryLimit binding) {
    const HostMemory::Reading reading = memory.Read();
    EXPECT_TRUE(reading.memory.status.ok());
    EXPECT_EQ(reading.memory.total, total);
    EXPECT_EQ(reading.memory.used, used);
    EXPECT_EQ(reading.binding, binding);
  }
  void ExpectMachine(HostMemory& memory) {
    ExpectReading(memory, 1000 * kMiB, 400 * kMiB, MemoryLimit::kMachine);
    EXPECT_EQ(memory.ReadLimits().cgroup, std::nullopt);
    EXPECT_EQ(memory.ReadLimits().bytes, 1000 * kMiB);
    EXPECT_EQ(memory.ReadLimits().text, "the memory of the machine");
  }

  std::string root_;
};

TEST_F(HostMemoryTest, WithoutCgroupsTheMachineBinds) {
  const auto memory = Create();
  ExpectMachine(*memory);
  EXPECT_EQ(memory->Read().memory.self,
            1000u * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

TEST_F(HostMemoryTest, V1TakesTheInactiveCacheOfTheWholeTree) {
  Write("/proc/self/cgroup", "5:devices:/\n4:cpu,memory:/app\n0::/\n");
  Write("/proc/self/mountinfo", kMountV1);
  WriteV1("/sys/fs/cgroup/memory", kUnlimitedV1, 900 * kMiB, 0);
  WriteV1("/sys/fs/cgroup/memory/app", std::to_string(300 * kMiB) + "\n",
          120 * kMiB, 20 * kMiB);
  const auto memory = Create();
  ExpectReading(*memory, 300 * kMiB, 100 * kMiB, MemoryLimit::kCgroup);
  const HostMemory::Limits limits = memory->ReadLimits();
  EXPECT_EQ(limits.machine, 1000 * kMiB);
  EXPECT_EQ(limits.cgroup, 300 * kMiB);
  EXPECT_EQ(limits.bytes, 300 * kMiB);
  EXPECT_EQ(limits.binding, MemoryLimit::kCgroup);
  EXPECT_EQ(limits.text,
            "the limit of cgroup " + root_ + "/sys/fs/cgroup/memory/app");
}

TEST_F(HostMemoryTest, V1UnlimitedIsNoLimitWhateverThePageSize) {
  Write("/proc/self/cgroup", "4:memory:/app\n");
  Write("/proc/self/mountinfo", kMountV1);
  WriteV1("/sys/fs/cgroup/memory", "9223372036854710272\n", 1, 0);
  WriteV1("/sys/fs/cgroup/memory/app", kUnlimitedV1, 1, 0);
  const auto memory = Create();
  ExpectMachine(*memory);
}

TEST_F(HostMemoryTest, V1AncestorsThatDoNotCountTheirChildrenDoNotBind) {
  Write("/proc/self/cgroup", "4:memory:/old/app\n");
  Write("/proc/self/mountinfo", kMountV1);
  WriteV1("/sys/fs/cgroup/memory/old", "1048576\n", 5, 0);
  Write("/sys/fs/cgroup/memory/old/memory.use_hierarchy", "0\n");
  WriteV1("/sys/fs/cgroup/memory/old/app", kUnlimitedV1, 5, 0);
  const auto memory = Create();
  ExpectMachine(*memory);
}

TEST_F(HostMemoryTest, V2TheSmallestOfAllAncestorsIsTheLimit) {
  Write("/proc/self/cgroup", "0::/a/b/c\n");
  Write("/proc/self/mountinfo", kMountV2);
  WriteV2("/sys/fs/cgroup/a", std::to_string(200 * kMiB), 30 * kMiB, 10 * kMiB);
  WriteV2("/sys/fs/cgroup/a/b", "max", 20 * kMiB, 0);
  WriteV2("/sys/fs/cgroup/a/b/c", std::to_string(500 * kMiB), 10 * kMiB, 0);
  const auto memory = Create();
  ExpectReading(*memory, 200 * kMiB, 20 * kMiB, MemoryLimit::kCgroup);
  EXPECT_EQ(memory->ReadLimits().cgroup, 200 * kMiB);
}

TEST_F(HostMemoryTest, TheOneWithTheLeastLeftIsRead) {
  Write("/proc/self/cgroup", "0::/a/b\n");
  Write("/proc/self/mountinfo", kMountV2);
  WriteV2("/sys/fs/cgroup/a", std::to_string(500 * kMiB), 490 * kMiB, 0);
  WriteV2("/sys/fs/cgroup/a/b", std::to_string(200 * kMiB), 10 * kMiB, 0);
  const auto memory = Create();
  ExpectReading(*memory, 500 * kMiB, 490 * kMiB, MemoryLimit::kCgroup);
  EXPECT_EQ(memory->ReadLimits().bytes, 200 * kMiB);

  // The machine has less left than the cgroup allows.
  WriteV2("/sys/fs/cgroup/a", std::to_string(700 * kMiB), 10 * kMiB, 0);
  WriteV2("/sys/fs/cgroup/a/b", "max", 10 * kMiB, 0);
  ExpectReading(*memory, 1000 * kMiB, 400 * kMiB, MemoryLimit::kMachine);
}

TEST_F(HostMemoryTest, ChangesCountAtTheNextRead) {
  Write("/proc/self/cgroup", "0::/a\n");
  Write("/proc/self/mountinfo", kMountV2);
  WriteV2("/sys/fs/cgroup/a", "max", 10 * kMiB, 0);
  const auto memory = Create();
  ExpectMachine(*memory);
  WriteV2("/sys/fs/cgroup/a", std::to_string(100 * kMiB), 50 * kMiB, 5 * kMiB);
  ExpectReading(*memory, 100 * kMiB, 45 * kMiB, MemoryLimit::kCgroup);
  WriteV2("/sys/fs/cgroup/a", std::to_string(90 * kMiB), 95 * kMiB, 0);
  ExpectReading(*memory, 90 * kMiB, 95 * kMiB, MemoryLimit::kCgroup);

  // Moved to another cgroup.
  WriteV2("/sys/fs/cgroup/b", std::to_string(80 * kMiB), 8 * kMiB, 0);
  Write("/proc/self/cgroup", "0::/b\n");
  ExpectReading(*memory, 80 * kMiB, 8 * kMiB, MemoryLimit::kCgroup);
  EXPECT_EQ(memory->ReadLimits().cgroup, 80 * kMiB);
}

TEST_F(HostMemoryTest, HybridTheControllerOfV1CountsBesideAnEmptyV2) {
  Write("/proc/self/cgroup", "4:memory:/app\n0::/user.slice\n");
  Write("/proc/self/mountinfo",
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
            std::string(kMountV1) +
            "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  Write("/sys/fs/cgroup/unified/user.slice/cgroup.procs", "1\n");
  WriteV1("/sys/fs/cgroup/memory/app", std::to_string(64 * kMiB) + "\n",
          32 * kMiB, kMiB);
  const auto memory = Create();
  ExpectReading(*memory, 64 * kMiB, 31 * kMiB, MemoryLimit::kCgroup);
}

TEST_F(HostMemoryTest, AContainerSeesItsCgroupAsTheRootOfTheMount) {
  // Without a namespace: the mount's root is the path or above it.
  Write("/proc/self/cgroup", "0::/docker/abc/inner\n");
  Write("/proc/self/mountinfo",
        "41 31 0:38 /docker/abc /sys/fs/cgroup\\040x rw - cgroup2 cgroup rw\n");
  WriteV2("/sys/fs/cgroup x", std::to_string(70 * kMiB), 7 * kMiB, 0);
  WriteV2("/sys/fs/cgroup x/inner", std::to_string(60 * kMiB), 6 * kMiB, 0);
  const auto memory = Create();
  EXPECT_EQ(memory->ReadLimits().cgroup, 60 * kMiB);
}

TEST_F(HostMemoryTest, APathThatIsNotBelowTheMountFallsBackToItsRoot) {
  for (const std::string path :
       {"0::/docker/abc\n", "0::/../outside\n", "0::/\n"}) {
    Write("/proc/self/cgroup", path);
    Write("/proc/self/mountinfo", kMountV2);
    WriteV2("/sys/fs/cgroup", std::to_string(70 * kMiB), 7 * kMiB, 0);
    WriteV2("/sys/fs/outside", std::to_string(kMiB), 0, 0);
    const auto memory = Create();
    ExpectReading(*memory, 70 * kMiB, 7 * kMiB, MemoryLimit::kCgroup);
  }
}

TEST_F(HostMemoryTest, OfTwoMountsTheOneThatHoldsThePathCounts) {
  Write("/proc/self/cgroup", "4:memory:/app\n");
  Write("/proc/self/mountinfo",
        "30 31 0:32 /other /mnt/memory rw - cgroup cgroup rw,memory\n" +
            std::string(kMountV1));
  WriteV1("/mnt/memory", "1048576\n", 5, 0);
  WriteV1("/sys/fs/cgroup/memory/app", std::to_string(64 * kMiB) + "\n", 5, 0);
  const auto memory = Create();
  EXPECT_EQ(memory->ReadLimits().cgroup, 64 * kMiB);
}

TEST_F(HostMemoryTest, WhatCanNotBeReadIsLeftOut) {
  // No mountinfo: the usual places. No stat: all of the usage counts.
  Write("/proc/self/cgroup", "0::/app\n\nnonsense\n");
  Write("/sys/fs/cgroup/app/memory.max", std::to_string(64 * kMiB) + "\n");
  Write("/sys/fs/cgroup/app/memory.current", std::to_string(5 * kMiB) + "\n");
  std::filesystem::remove(root_ + "/proc/self/statm");
  const auto memory = Create();
  ExpectReading(*memory, 64 * kMiB, 5 * kMiB, MemoryLimit::kCgroup);
  EXPECT_EQ(memory->Read().memory.self, std::nullopt);

  Write("/proc/meminfo", "HugePages_Total: 0\n");
  const HostMemory::Reading reading = memory->Read();
  EXPECT_EQ(reading.memory.status.code(), ErrorCode::kInternal);
  EXPECT_EQ(reading.memory.total, 0u);
  EXPECT_EQ(memory->ReadLimits().machine, 0u);
  EXPECT_EQ(memory->ReadLimits().bytes, 64 * kMiB);
}

TEST_F(HostMemoryTest, TheLimitOfTheAddressSpaceCountsAddressSpace) {
  const uint64_t used = 5000 * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const auto memory = HostMemory::Create({root_, used + 10 * kMiB});
  ExpectReading(*memory, used + 10 * kMiB, used, MemoryLimit::kAddressSpace);
  const HostMemory::Limits limits = memory->ReadLimits();
  EXPECT_EQ(limits.address_space, used + 10 * kMiB);
  EXPECT_EQ(limits.binding, MemoryLimit::kAddressSpace);
  EXPECT_EQ(limits.text, "RLIMIT_AS (ulimit -v)");
}

// -------------------------------------------------- what the cgroup is charged

TEST_F(HostMemoryTest, V1TheCgroupIsChargedForTheWholeTreeWithoutTheCache) {
  Write("/proc/self/cgroup", "4:memory:/a/b\n0::/\n");
  Write("/proc/self/mountinfo", kMountV1);
  WriteV1("/sys/fs/cgroup/memory", kUnlimitedV1, 900 * kMiB, 0);
  WriteV1("/sys/fs/cgroup/memory/a", kUnlimitedV1, 500 * kMiB, 0);
  WriteV1("/sys/fs/cgroup/memory/a/b", kUnlimitedV1, 120 * kMiB, 20 * kMiB);
  Write("/sys/fs/cgroup/memory/a/b/cgroup.procs", Own() + "\n");
  const auto memory = Create();
  const SelfMemory self = memory->ReadSelf();
  EXPECT_EQ(self.rss, 1000u * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  ASSERT_TRUE(self.cgroup);
  EXPECT_EQ(self.cgroup->charged, 100 * kMiB) << "no limit is needed";
  EXPECT_EQ(self.cgroup->kept, 100 * kMiB - 4) << "nor the active cache";
  EXPECT_TRUE(self.cgroup->alone);
}

TEST_F(HostMemoryTest, V2ItIsTheInnermostCgroupThatHasTheController) {
  Write("/proc/self/cgroup", "0::/a/b\n");
  Write("/proc/self/mountinfo", kMountV2);
  WriteV2("/sys/fs/cgroup/a", "max", 30 * kMiB, 10 * kMiB);
  Write("/sys/fs/cgroup/a/memory.stat",
        "inactive_file 10485760\nactive_file 1048576\n"
        "slab_reclaimable 2097152\nslab_unreclaimable 9\n");
  Write("/sys/fs/cgroup/a/b/cgroup.procs", Own() + "\n");
  const auto memory = Create();
  const SelfMemory self = memory->ReadSelf();
  ASSERT_TRUE(self.cgroup);
  EXPECT_EQ(self.cgroup->charged, 20 * kMiB);
  EXPECT_EQ(self.cgroup->kept, 17 * kMiB);
  EXPECT_FALSE(self.cgroup->alone) << "others may be in others below it";
}

TEST_F(HostMemoryTest, WhoElseIsInTheCgroupIsSeenAtEachReading) {
  Write("/proc/self/cgroup", "0::/a\n");
  Write("/proc/self/mountinfo", kMountV2);
  WriteV2("/sys/fs/cgroup/a", "max", 30 * kMiB, 10 * kMiB);
  const auto memory = Create();
  const auto alone = [&memory] { return memory->ReadSelf().cgroup->alone; };
  EXPECT_FALSE(alone()) << "nobody says who is in it";
  Write("/sys/fs/cgroup/a/cgroup.procs", Own() + "\n");
  EXPECT_TRUE(alone());
  Write("/sys/fs/cgroup/a/cgroup.procs", "1\n" + Own() + "\n");
  EXPECT_FALSE(alone());
  Write("/sys/fs/cgroup/a/cgroup.procs", Own() + "\n999999\n");
  EXPECT_FALSE(alone());
  // Of another namespace of process ids.
  Write("/sys/fs/cgroup/a/cgroup.procs", "0\n");
  EXPECT_FALSE(alone());
  Write("/sys/fs/cgroup/a/cgroup.procs", Own() + "\n");
  Write("/sys/fs/cgroup/a/child/cgroup.procs", "");
  EXPECT_FALSE(alone());
}

TEST_F(HostMemoryTest, ACgroupThatTheProcessIsMovedToIsAnother) {
  Write("/proc/self/cgroup", "0::/a\n");
  Write("/proc/self/mountinfo", kMountV2);
  WriteV2("/sys/fs/cgroup/a", "max", 30 * kMiB, 0);
  WriteV2("/sys/fs/cgroup/b", "max", 50 * kMiB, 0);
  const auto memory = Create();
  const auto first = memory->ReadSelf().cgroup;
  EXPECT_EQ(first->cgroup, memory->ReadSelf().cgroup->cgroup);
  Write("/proc/self/cgroup", "0::/b\n");
  const auto second = memory->ReadSelf().cgroup;
  EXPECT_EQ(second->charged, 50 * kMiB);
  EXPECT_NE(first->cgroup, second->cgroup);
}

TEST_F(HostMemoryTest, TheRootAndWhatCanNotBeReadAreNoCgroup) {
  Write("/proc/self/mountinfo", kMountV1);
  EXPECT_FALSE(Create()->ReadSelf().cgroup);
  Write("/proc/self/cgroup", "4:memory:/\n0::/\n");
  WriteV1("/sys/fs/cgroup/memory", kUnlimitedV1, 900 * kMiB, 0);
  // In a container the root of the mount is its own cgroup.
  EXPECT_EQ(Create()->ReadSelf().cgroup->charged, 900 * kMiB);
  Write("/sys/fs/cgroup/memory/release_agent", "\n");
  EXPECT_FALSE(Create()->ReadSelf().cgroup);
  WriteV1("/sys/fs/cgroup/memory/app", kUnlimitedV1, 9 * kMiB, 0);
  Write("/proc/self/cgroup", "4:memory:/app\n");
  EXPECT_TRUE(Create()->ReadSelf().cgroup);
  for (const std::string file : {"memory.stat", "memory.usage_in_bytes"}) {
    WriteV1("/sys/fs/cgroup/memory/app", kUnlimitedV1, 9 * kMiB, 0);
    std::filesystem::remove(root_ + "/sys/fs/cgroup/memory/app/" + file);
    EXPECT_FALSE(Create()->ReadSelf().cgroup) << file;
  }
}

TEST_F(HostMemoryTest, ManyThreadsReadAtOnce) {
  Write("/proc/self/cgroup", "0::/a\n");
  Write("/proc/self/mountinfo", kMountV2);
  WriteV2("/sys/fs/cgroup/a", std::to_string(100 * kMiB), 50 * kMiB, 0);
  const auto memory = Create();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        ExpectReading(*memory, 100 * kMiB, 50 * kMiB, MemoryLimit::kCgroup);
        EXPECT_EQ(memory->ReadLimits().cgroup, 100 * kMiB);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(HostMemoryRealTest, TheMachineIsPlausibleAndTouchedMemoryIsResident) {
  const auto memory = HostMemory::Create();
  const HostMemory::Limits limits = memory->ReadLimits();
  EXPECT_EQ(limits.machine / kMiB,
            static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / kMiB);
  EXPECT_LE(limits.bytes, limits.machine);
  const HostMemory::Reading reading = memory->Read();
  ASSERT_TRUE(reading.memory.status.ok());
  EXPECT_GT(reading.memory.total, 0u);
  EXPECT_GT(reading.memory.used, 0u);
  ASSERT_TRUE(reading.memory.self.has_value());

  const uint64_t before = memory->ReadSelf().rss;
  ASSERT_GT(before, 0u);
  EXPECT_LT(before, limits.machine);
  constexpr size_t kSize = 64 * kMiB;
  const auto block = std::make_unique_for_overwrite<char[]>(kSize);
  std::memset(block.get(), 1, kSize);
  // Counters of old and of very parallel kernels lag a little.
  EXPECT_GE(memory->ReadSelf().rss, before + kSize - 4 * kMiB);
  EXPECT_GE(memory->Read().memory.self.value_or(0), before + kSize - 4 * kMiB);
  EXPECT_EQ(block[kSize - 1], 1);
}

}  // namespace
}  // namespace aspired

#endif  // __linux__
