#include "cuda/cuda_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "native/test_util/fake_nvidia.h"

namespace aspired {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr char kA[] = "aaaaaaaa-0000-0000-0000-000000000001";
constexpr char kB[] = "bbbbbbbb-0000-0000-0000-000000000002";
constexpr char kM1[] = "41b30000-0000-0000-0000-000000000011";
constexpr char kM2[] = "41b40000-0000-0000-0000-000000000012";
constexpr uint64_t kGiB = uint64_t{1} << 30;

std::string Gpu(const std::string& uuid, uint64_t total, uint64_t used) {
  return "gpu " + uuid + ' ' + std::to_string(total) + ' ' +
         std::to_string(used) + '\n';
}
std::string Mig(const std::string& uuid, uint64_t total, uint64_t used) {
  return "mig " + uuid + ' ' + std::to_string(total) + ' ' +
         std::to_string(used) + '\n';
}
std::string Process(uint32_t pid, int64_t bytes) {
  return "process " + std::to_string(pid) + ' ' + std::to_string(bytes) + '\n';
}
uint32_t Pid() { return static_cast<uint32_t>(getpid()); }

std::vector<std::string> Uuids(const CudaDevices& devices) {
  std::vector<std::string> uuids;
  for (const CudaDevice& device : devices.devices()) {
    uuids.push_back(device.uuid);
  }
  return uuids;
}

std::vector<int> Ordinals(const CudaDevices& devices) {
  std::vector<int> ordinals;
  for (const CudaDevice& device : devices.devices()) {
    ordinals.push_back(device.ordinal ? static_cast<int>(*device.ordinal) : -1);
  }
  return ordinals;
}

class CudaDevicesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const char* value = std::getenv("CUDA_VISIBLE_DEVICES")) outer_ = value;
    unsetenv("CUDA_VISIBLE_DEVICES");
    ASSERT_EQ(fake_.error(), "");
    ASSERT_EQ(old_.error(), "");
    ASSERT_EQ(broken_.error(), "");
  }
  void TearDown() override {
    unsetenv("CUDA_VISIBLE_DEVICES");
    if (outer_) setenv("CUDA_VISIBLE_DEVICES", outer_->c_str(), 1);
    EXPECT_EQ(fake_.contexts_made() + old_.contexts_made(), 0);
    EXPECT_EQ(fake_.nvml_users() + old_.nvml_users(), 0);
  }

  std::unique_ptr<const CudaDevices> Open(const FakeNvidia& fake) {
    return CudaDevices::Open(fake.options(), {{Pid()}, true});
  }

  const FakeNvidia fake_;
  const FakeNvidia old_{"old"};
  const FakeNvidia broken_{"broken"};
  std::optional<std::string> outer_;
};

TEST_F(CudaDevicesTest, NoDriverIsANormalAnswer) {
  const auto devices =
      CudaDevices::Open({FakeNvidia::Missing(), FakeNvidia::Missing()});
  EXPECT_EQ(devices->absence(), CudaAbsence::kNoDriver);
  EXPECT_THAT(devices->message(), HasSubstr("missing.so"));
  EXPECT_THAT(devices->devices(), IsEmpty());
  EXPECT_EQ(devices->CudaVersion(), "");
  EXPECT_EQ(devices->DriverVersion(), "");
}

TEST_F(CudaDevicesTest, AGivenPathIsTheOnlyOneTried) {
  fake_.Show(Gpu(kA, kGiB, 0));
  CudaOptions options = fake_.options();
  options.cuda_path = FakeNvidia::Missing();
  const auto devices = CudaDevices::Open(options);
  EXPECT_EQ(devices->absence(), CudaAbsence::kNoDriver);
  EXPECT_THAT(Uuids(*devices), ElementsAre(std::string("GPU-") + kA));
}

TEST_F(CudaDevicesTest, ADriverThatCannotNameItsDevicesIsTooOld) {
  fake_.Show("version 9010\n" + Gpu(kA, kGiB, 0));
  const auto devices = Open(fake_);
  EXPECT_EQ(devices->absence(), CudaAbsence::kDriverTooOld);
  EXPECT_THAT(devices->message(), HasSubstr("CUDA 9.1; at least 9.2"));
}

TEST_F(CudaDevicesTest, AMissingFunctionIsNamed) {
  broken_.Show(Gpu(kA, kGiB, 0));
  const auto devices = Open(broken_);
  EXPECT_EQ(devices->absence(), CudaAbsence::kMissingSymbol);
  EXPECT_THAT(devices->message(), HasSubstr("cuDeviceGetCount"));
}

TEST_F(CudaDevicesTest, NvmlWithoutAFunctionLeavesTheDevicesUnreadable) {
  fake_.Show(Gpu(kA, kGiB, 0));
  const auto devices = CudaDevices::Open(
      {fake_.options().cuda_path, broken_.options().nvml_path});
  EXPECT_EQ(devices->absence(), CudaAbsence::kNone);
  ASSERT_THAT(devices->devices(), SizeIs(1));
  EXPECT_EQ(devices->devices()[0].total, kGiB);
  const DeviceReading reading = devices->Read(0);
  EXPECT_EQ(reading.status.code(), ErrorCode::kDeviceUnreadable);
  EXPECT_THAT(std::string(reading.status.message()), HasSubstr("nvmlShutdown"));
  EXPECT_EQ(reading.total, 0u);
}

TEST_F(CudaDevicesTest, AFailedInitNamesItsCodeAndListsWhatNvmlKnows) {
  fake_.Show("cuinit 999\n" + Gpu(kA, kGiB, 7) + Gpu(kB, 2 * kGiB, 8));
  const auto devices = Open(fake_);
  EXPECT_EQ(devices->absence(), CudaAbsence::kInitFailed);
  EXPECT_EQ(devices->message(),
            "cuInit failed with code 999 (CUDA_ERROR_UNKNOWN).");
  EXPECT_THAT(Ordinals(*devices), ElementsAre(0, 1));
  EXPECT_EQ(devices->devices()[1].total, 2 * kGiB);
  EXPECT_EQ(devices->Read(1).used, 8u);
}

TEST_F(CudaDevicesTest, AFailedInitNumbersByTheVariable) {
  fake_.Show("cuinit 999\n" + Gpu(kA, kGiB, 7) + Gpu(kB, 2 * kGiB, 8));
  setenv("CUDA_VISIBLE_DEVICES", "GPU-bbbb", 1);
  const auto devices = Open(fake_);
  EXPECT_THAT(Uuids(*devices),
              ElementsAre(std::string("GPU-") + kB, std::string("GPU-") + kA));
  EXPECT_THAT(Ordinals(*devices), ElementsAre(0, -1));
  EXPECT_EQ(devices->Read(0).used, 8u);
  EXPECT_EQ(devices->Read(1).used, 7u);
}

TEST_F(CudaDevicesTest, ADriverWithoutDevicesSaysSo) {
  fake_.Show("");
  EXPECT_EQ(Open(fake_)->absence(), CudaAbsence::kNoDevices);
  fake_.Show(Gpu(kA, kGiB, 0));
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  const auto hidden = Open(fake_);
  EXPECT_EQ(hidden->absence(), CudaAbsence::kNoDevices);
  EXPECT_THAT(Ordinals(*hidden), ElementsAre(-1));
}

TEST_F(CudaDevicesTest, ReadsWhatIsTakenAndByThisProcess) {
  fake_.Show(Gpu(kA, 8 * kGiB, 3 * kGiB) + Process(1, 5) + Process(Pid(), 700));
  const auto devices = Open(fake_);
  EXPECT_EQ(devices->absence(), CudaAbsence::kNone);
  EXPECT_EQ(devices->message(), "");
  EXPECT_EQ(devices->CudaVersion(), "12.2");
  EXPECT_EQ(devices->DriverVersion(), "550.54.15");
  EXPECT_EQ(devices->devices()[0].name, "Fake GPU 0");
  const DeviceReading reading = devices->Read(0);
  EXPECT_TRUE(reading.status.ok());
  EXPECT_EQ(reading.total, 8 * kGiB);
  EXPECT_EQ(reading.used, 3 * kGiB);
  EXPECT_EQ(reading.self, 700u);
}

TEST_F(CudaDevicesTest, OrdinalsGoByTheUuidWhateverTheOrderOfTheBus) {
  fake_.Show("reversed\n" + Gpu(kA, kGiB, 1) + Gpu(kB, 2 * kGiB, 2));
  const auto devices = Open(fake_);
  EXPECT_THAT(Uuids(*devices),
              ElementsAre(std::string("GPU-") + kB, std::string("GPU-") + kA));
  EXPECT_THAT(Ordinals(*devices), ElementsAre(0, 1));
  EXPECT_EQ(devices->Read(0).used, 2u);
  EXPECT_EQ(devices->Read(1).used, 1u);
}

TEST_F(CudaDevicesTest, HiddenDevicesAreListedWithoutAnOrdinal) {
  fake_.Show(Gpu(kA, kGiB, 1) + Gpu(kB, 2 * kGiB, 2));
  setenv("CUDA_VISIBLE_DEVICES", "1", 1);
  const auto devices = Open(fake_);
  EXPECT_THAT(Uuids(*devices),
              ElementsAre(std::string("GPU-") + kB, std::string("GPU-") + kA));
  EXPECT_THAT(Ordinals(*devices), ElementsAre(0, -1));
  EXPECT_EQ(devices->Read(0).used, 2u);
}

TEST_F(CudaDevicesTest, AnInstanceIsADeviceAndItsGpuIsNot) {
  fake_.Show(Gpu(kA, 8 * kGiB, 5 * kGiB) + Mig(kM1, kGiB, 11) +
             Process(Pid(), 4) + Mig(kM2, 2 * kGiB, 12) + Gpu(kB, kGiB, 2));
  const auto devices = Open(fake_);
  EXPECT_THAT(Uuids(*devices),
              ElementsAre(std::string("MIG-") + kM1, std::string("GPU-") + kB,
                          std::string("MIG-") + kM2));
  EXPECT_THAT(Ordinals(*devices), ElementsAre(0, 1, -1));
  for (const size_t i : {size_t{0}, size_t{2}}) {
    EXPECT_TRUE(devices->devices()[i].is_mig);
    EXPECT_EQ(devices->devices()[i].parent_uuid, std::string("GPU-") + kA);
  }
  EXPECT_FALSE(devices->devices()[1].is_mig);
  EXPECT_EQ(devices->Read(0).used, 11u);
  EXPECT_EQ(devices->Read(0).self, 4u);
  EXPECT_EQ(devices->Read(2).used, 12u);
}

TEST_F(CudaDevicesTest, ADestroyedInstanceIsLostEvenWhenItsHandleIsReused) {
  fake_.Show(Gpu(kA, 8 * kGiB, 0) + Mig(kM1, kGiB, 11));
  const auto devices = Open(fake_);
  EXPECT_EQ(devices->Read(0).used, 11u);
  fake_.Change(Gpu(kA, 8 * kGiB, 0) + Mig(kM2, kGiB, 12));
  EXPECT_EQ(devices->Read(0).status.code(), ErrorCode::kDeviceLost);
  fake_.Change(Gpu(kA, 8 * kGiB, 0) + Mig(kM2, kGiB, 12) + Mig(kM1, kGiB, 13));
  EXPECT_EQ(devices->Read(0).used, 13u);
}

TEST_F(CudaDevicesTest, ALostDeviceIsSaidAndTheOthersAreReadOn) {
  fake_.Show(Gpu(kA, kGiB, 1) + Gpu(kB, kGiB, 2));
  const auto devices = Open(fake_);
  EXPECT_TRUE(devices->Read(0).status.ok());
  for (const int code : {15, 16, 6, 9}) {
    fake_.Change(Gpu(kA, kGiB, 1) + "error " + std::to_string(code) + "\n" +
                 Gpu(kB, kGiB, 3));
    const DeviceReading lost = devices->Read(0);
    EXPECT_EQ(lost.status.code(), ErrorCode::kDeviceLost) << code;
    EXPECT_THAT(std::string(lost.status.message()), HasSubstr(kA));
    EXPECT_THAT(std::string(lost.status.message()),
                HasSubstr("code " + std::to_string(code)));
    EXPECT_EQ(lost.total, 0u);
    EXPECT_EQ(lost.used, 0u);
    EXPECT_EQ(devices->Read(1).used, 3u);
  }
  fake_.Change(Gpu(kA, kGiB, 4) + Gpu(kB, kGiB, 2));
  EXPECT_EQ(devices->Read(0).used, 4u);
}

TEST_F(CudaDevicesTest, AnErrorThatPassesIsNoLoss) {
  fake_.Show(Gpu(kA, kGiB, 1));
  const auto devices = Open(fake_);
  fake_.Change(Gpu(kA, kGiB, 1) + "error 10\n");
  EXPECT_EQ(devices->Read(0).status.code(), ErrorCode::kDeviceUnreadable);
}

TEST_F(CudaDevicesTest, AForeignProcessThatGrowsIsSeenAndIsNotOurs) {
  fake_.Show(Gpu(kA, 8 * kGiB, kGiB) + Process(Pid(), 600) + Process(1, 1));
  const auto devices = Open(fake_);
  EXPECT_EQ(devices->Read(0).used, kGiB);
  fake_.Change(Gpu(kA, 8 * kGiB, 3 * kGiB) + Process(Pid(), 600) +
               Process(1, static_cast<int64_t>(2 * kGiB)));
  EXPECT_EQ(devices->Read(0).used, 3 * kGiB);
  EXPECT_EQ(devices->Read(0).self, 600u);
}

TEST_F(CudaDevicesTest, WhatThisProcessUsesIsUnknownRatherThanZero) {
  fake_.Show(Gpu(kA, kGiB, 9) + Process(1, 9));
  EXPECT_EQ(Open(fake_)->Read(0).self, std::nullopt) << "not in the list";
  fake_.Show(Gpu(kA, kGiB, 9) + Process(Pid(), -1));
  EXPECT_EQ(Open(fake_)->Read(0).self, std::nullopt) << "NVML does not know";
}

TEST_F(CudaDevicesTest, NumbersOfAnotherNamespaceAreNotTakenForOurs) {
  constexpr uint32_t kNobody = 0x7ffffff0;
  const std::vector<NvmlProcess> list = {{Pid(), 5}, {kNobody, 6}};
  EXPECT_EQ(SelfUsage(list, {{Pid()}, true}), 5u);
  EXPECT_EQ(SelfUsage(list, {{Pid()}, false}), std::nullopt);
  EXPECT_EQ(SelfUsage({{Pid(), 5}, {1, 6}}, {{Pid()}, false}), 5u);
  EXPECT_EQ(SelfUsage({{44, 5}, {Pid(), 6}}, {{Pid(), 44}, true}), 11u)
      << "both numbers are this process";
}

TEST_F(CudaDevicesTest, AListThatDoesNotFitIsAskedForAgain) {
  std::string text = Gpu(kA, kGiB, 1);
  for (int i = 0; i < 300; ++i) text += Process(1, 1);
  fake_.Show(text + Process(Pid(), 77));
  EXPECT_EQ(Open(fake_)->Read(0).self, 77u);
}

TEST_F(CudaDevicesTest, EntriesOfEverySizeAreUnderstood) {
  for (const char* size : {"16", "24", "32"}) {
    std::string text = std::string("entry ") + size + "\n" + Gpu(kA, kGiB, 1);
    for (int i = 0; i < 64; ++i) text += Process(1, 1);
    fake_.Show(text + Process(Pid(), 78) + Process(1, 3));
    EXPECT_EQ(Open(fake_)->Read(0).self, 78u) << size;
    fake_.Show(std::string("entry ") + size + "\n" + Gpu(kA, kGiB, 1) +
               Process(Pid(), 79));
    EXPECT_EQ(Open(fake_)->Read(0).self, 79u) << size;
  }
}

TEST_F(CudaDevicesTest, AnOldDriverIsReadThroughItsOldFunctions) {
  old_.Show("version 11000\nreversed\n" + Gpu(kA, kGiB, 1) + Process(Pid(), 5) +
            Gpu(kB, 2 * kGiB, 2));
  const auto devices = Open(old_);
  EXPECT_EQ(devices->absence(), CudaAbsence::kNone);
  EXPECT_EQ(devices->CudaVersion(), "11.0");
  EXPECT_THAT(Uuids(*devices),
              ElementsAre(std::string("GPU-") + kB, std::string("GPU-") + kA));
  EXPECT_EQ(devices->Read(1).used, 1u);
  EXPECT_EQ(devices->Read(1).self, 5u);
}

TEST_F(CudaDevicesTest, AnOldDriverDoesNotPassAGpuOffAsItsInstance) {
  old_.Show(Gpu(kA, 8 * kGiB, 5 * kGiB) + Mig(kM1, kGiB, 11));
  const auto devices = Open(old_);
  EXPECT_TRUE(devices->devices()[0].is_mig);
  EXPECT_EQ(devices->devices()[0].total, kGiB);
  EXPECT_EQ(devices->Read(0).status.code(), ErrorCode::kDeviceUnreadable);
}

TEST_F(CudaDevicesTest, AKernelThatRefusesTheNewFormIsAskedInTheOldOne) {
  fake_.Show("refuse-v2\n" + Gpu(kA, kGiB, 33));
  EXPECT_EQ(Open(fake_)->Read(0).used, 33u);
}

TEST_F(CudaDevicesTest, WithoutNvmlOnlyAnActiveContextTells) {
  const CudaOptions options{fake_.options().cuda_path, FakeNvidia::Missing()};
  fake_.Show(Gpu(kA, kGiB, 21));
  const auto devices = CudaDevices::Open(options);
  const DeviceReading inactive = devices->Read(0);
  EXPECT_EQ(inactive.status.code(), ErrorCode::kDeviceUnreadable);
  EXPECT_THAT(std::string(inactive.status.message()), HasSubstr("missing.so"));
  fake_.Change(Gpu(kA, kGiB, 21) + "context\n");
  const DeviceReading active = devices->Read(0);
  EXPECT_TRUE(active.status.ok());
  EXPECT_EQ(active.total, kGiB);
  EXPECT_EQ(active.used, 21u);
  EXPECT_EQ(active.self, std::nullopt);
}

TEST_F(CudaDevicesTest, ADeviceThatNvmlDoesNotKnowIsReadThroughTheDriver) {
  fake_.Show(Gpu(kA, kGiB, 22) + "nvml-unknown\ncontext\n");
  const auto devices = Open(fake_);
  ASSERT_THAT(devices->devices(), SizeIs(1));
  EXPECT_EQ(devices->Read(0).used, 22u);
}

TEST_F(CudaDevicesTest, NvmlThatDoesNotStartIsNoReasonToHideTheDevices) {
  fake_.Show("nvmlinit 9\n" + Gpu(kA, kGiB, 1));
  const auto devices = Open(fake_);
  EXPECT_EQ(devices->absence(), CudaAbsence::kNone);
  EXPECT_EQ(devices->DriverVersion(), "");
  EXPECT_THAT(std::string(devices->Read(0).status.message()),
              HasSubstr("nvmlInit failed with code 9"));
}

TEST_F(CudaDevicesTest, FindsByOrdinalUuidAndUniqueBeginning) {
  fake_.Show(Gpu(kA, kGiB, 1) + Gpu(kB, kGiB, 2));
  setenv("CUDA_VISIBLE_DEVICES", "1", 1);
  const auto devices = Open(fake_);
  const auto find = [&](const std::string& text) {
    size_t index = 99;
    const Status status = devices->Find(text, &index);
    return status.ok() ? std::to_string(index)
                       : std::string(ErrorCodeName(status.code()));
  };
  EXPECT_EQ(find("0"), "0");
  EXPECT_EQ(find("1"), "ERR_DEVICE_NOT_FOUND");
  EXPECT_EQ(find(std::string("GPU-") + kA), "1");
  EXPECT_EQ(find("GPU-bbbb"), "0");
  EXPECT_EQ(find("gpu-AAAA"), "1");
  EXPECT_EQ(find("GPU-"), "ERR_INVALID_ARGUMENT");
  EXPECT_EQ(find("GPU-cc"), "ERR_DEVICE_NOT_FOUND");
  EXPECT_EQ(find("MIG-aaaa"), "ERR_DEVICE_NOT_FOUND");
  EXPECT_EQ(find(""), "ERR_DEVICE_NOT_FOUND");
  EXPECT_EQ(find("-1"), "ERR_DEVICE_NOT_FOUND");
  EXPECT_EQ(find("99999999999999999999"), "ERR_DEVICE_NOT_FOUND");
  size_t index = 0;
  EXPECT_THAT(std::string(devices->Find("7", &index).message()),
              StartsWith("No CUDA device \"7\"; there are GPU-bbbb"));
}

TEST_F(CudaDevicesTest, ThreadsReadWhileTheDeviceIsLostAndComesBack) {
  const std::string good = Gpu(kA, kGiB, 1) + Process(Pid(), 5);
  fake_.Show(good);
  const auto devices = Open(fake_);
  std::atomic<int> ready{0};
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (bool first = true; !stop; first = false) {
        const DeviceReading reading = devices->Read(0);
        const bool lost = reading.status.code() == ErrorCode::kDeviceLost;
        if (!lost && reading.used != 1) ++wrong;
        if (first) ++ready;
      }
    });
  }
  while (ready < 3) std::this_thread::yield();
  for (int i = 0; i < 200; ++i) {
    fake_.Change(good + "error 15\n");
    fake_.Change(good);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(devices->Read(0).self, 5u);
}

}  // namespace
}  // namespace aspired
