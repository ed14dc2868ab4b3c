// What CudaDevices says, against allocations that are really made. Needs a
// device with 3 GiB free that nobody else uses meanwhile; skipped without one.
// ASPIRED_DEVICE_CUDA_PATH and ASPIRED_DEVICE_NVML_PATH name other libraries.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "cuda/cuda_devices.h"
#include "device/cuda_worker.h"

namespace aspired {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kStep = 512 * kMiB;
constexpr int kSteps = 4;
constexpr uint64_t kNeeded = (kSteps + 2) * kStep;
// The driver allocates in pages of 2 MiB and has things of its own to keep.
constexpr int64_t kTolerance = static_cast<int64_t>(32 * kMiB);

int64_t Difference(uint64_t a, uint64_t b) {
  return static_cast<int64_t>(a) - static_cast<int64_t>(b);
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

class CudaMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    devices_ = CudaDevices::Open(options_);
    const CudaAbsence absence = devices_->absence();
    if (absence == CudaAbsence::kNoDriver ||
        absence == CudaAbsence::kNoDevices) {
      GTEST_SKIP() << Name(absence) << ": " << devices_->message();
    }
    // A driver that is there and cannot be used is no reason to skip.
    ASSERT_EQ(absence, CudaAbsence::kNone) << devices_->message();
    ASSERT_EQ(devices_->devices()[0].ordinal, 0u);
    const DeviceReading reading = devices_->Read(0);
    ASSERT_TRUE(reading.status.ok()) << reading.status.ToString();
    if (reading.total - reading.used < kNeeded) {
      GTEST_SKIP() << "device 0 has only "
                   << (reading.total - reading.used) / kMiB << " MiB free";
    }
  }

  DeviceReading Read() {
    DeviceReading reading = devices_->Read(0);
    EXPECT_TRUE(reading.status.ok()) << reading.status.ToString();
    return reading;
  }
  std::unique_ptr<CudaWorker> MakeWorker() {
    return std::make_unique<CudaWorker>(options_.cuda_path, 0);
  }

  const CudaOptions options_{Environment("ASPIRED_DEVICE_CUDA_PATH"),
                             Environment("ASPIRED_DEVICE_NVML_PATH")};
  std::unique_ptr<const CudaDevices> devices_;
};

TEST_F(CudaMemoryTest, LookingMakesNoContextAndTakesNoMemory) {
  const DeviceReading before = Read();
  for (int i = 0; i < 3; ++i) {
    const auto again = CudaDevices::Open(options_);
    for (size_t d = 0; d < again->devices().size(); ++d) {
      const CudaDevice& device = again->devices()[d];
      const DeviceReading reading = again->Read(d);
      EXPECT_TRUE(reading.status.ok()) << reading.status.ToString();
      EXPECT_EQ(reading.total, device.total) << device.uuid;
      EXPECT_LE(reading.used, reading.total) << device.uuid;
      if (!device.ordinal) continue;
      EXPECT_FALSE(CudaWorker::HasContext(options_.cuda_path,
                                          static_cast<int>(*device.ordinal)));
    }
  }
  EXPECT_LE(std::abs(Difference(Read().used, before.used)), kTolerance);
  const CudaDevice& device = devices_->devices()[0];
  std::printf(
      "device 0: %s, %s, %llu MiB, driver %s, CUDA %s\n", device.name.c_str(),
      device.uuid.c_str(), static_cast<unsigned long long>(device.total / kMiB),
      devices_->DriverVersion().c_str(), devices_->CudaVersion().c_str());
}

TEST_F(CudaMemoryTest, EveryDeviceIsFoundByItsNames) {
  for (size_t d = 0; d < devices_->devices().size(); ++d) {
    const CudaDevice& device = devices_->devices()[d];
    size_t index = devices_->devices().size();
    EXPECT_TRUE(devices_->Find(device.uuid, &index).ok());
    EXPECT_EQ(index, d);
    if (!device.ordinal) continue;
    EXPECT_TRUE(devices_->Find(std::to_string(*device.ordinal), &index).ok());
    EXPECT_EQ(index, d);
  }
}

TEST_F(CudaMemoryTest, AgreesWithTheDriverOnWhatIsFree) {
  const auto worker = MakeWorker();
  worker->Allocate(kStep);
  const DeviceMemory driver = worker->Memory();
  const DeviceReading reading = Read();
  // CUDA leaves out of the total what it can never give.
  EXPECT_LE(std::abs(Difference(reading.total, driver.total)),
            static_cast<int64_t>(driver.total / 20));
  EXPECT_LE(std::abs(Difference(reading.total - reading.used, driver.free)),
            static_cast<int64_t>(driver.total / 50));
}

TEST_F(CudaMemoryTest, AllocationsAreSeenWhenTheyAreMadeAndWhenTheyAreFreed) {
  const auto worker = MakeWorker();
  worker->Allocate(kMiB);  // the first one takes more than it asks for
  const DeviceReading before = Read();
  for (int i = 1; i <= kSteps; ++i) {
    worker->Allocate(kStep);
    const auto expected = static_cast<int64_t>(kStep) * i;
    const DeviceReading after = Read();
    EXPECT_LE(std::abs(Difference(after.used, before.used) - expected),
              kTolerance)
        << i;
    ASSERT_EQ(after.self.has_value(), before.self.has_value());
    if (!after.self) continue;
    EXPECT_LE(std::abs(Difference(*after.self, *before.self) - expected),
              kTolerance)
        << i;
  }
  worker->FreeAll();
  EXPECT_LE(std::abs(Difference(Read().used, before.used)), kTolerance);
  if (!before.self) std::printf("NVML does not list this process\n");
}

TEST_F(CudaMemoryTest, AnotherProcessIsSeenAndIsNotTakenForThisOne) {
  const auto worker = MakeWorker();
  worker->Allocate(kMiB);
  const DeviceReading before = Read();
  HoldingProcess other(options_.cuda_path, 0, kStep);
  const DeviceReading during = Read();
  // Its context takes memory too.
  EXPECT_GE(Difference(during.used, before.used),
            static_cast<int64_t>(kStep) - kTolerance);
  ASSERT_EQ(during.self.has_value(), before.self.has_value());
  if (during.self) {
    EXPECT_LE(std::abs(Difference(*during.self, *before.self)), kTolerance);
  }
  EXPECT_TRUE(other.End());
  EXPECT_LE(std::abs(Difference(Read().used, before.used)), kTolerance);
}

}  // namespace
}  // namespace aspired

int main(int argc, char** argv) {
  if (argc == 5 &&
      std::strcmp(argv[1], aspired::HoldingProcess::kHoldFlag) == 0) {
    return aspired::HoldingProcess::Main(argv);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
