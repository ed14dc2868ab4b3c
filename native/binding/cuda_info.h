// What this machine has of NVIDIA devices: `exports.readCudaDevices`.
#ifndef ASPIRED_BINDING_CUDA_INFO_H_
#define ASPIRED_BINDING_CUDA_INFO_H_

#include "binding/napi_setup.h"

namespace aspired::binding {

// readCudaDevices(cudaPath, nvmlPath): [absence, message, cudaVersion,
//   driverVersion, devices]; absence is "" when there are devices. A device is
//   [ordinal, uuid, name, totalBytes, isMig, parentUuid, usedBytes, selfBytes,
//   status]; what is unknown is undefined, and so are texts that are empty.
// Blocks for as long as the driver takes. JavaScript thread only.
void RegisterCudaInfo(Napi::Env env, Napi::Object exports);

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_CUDA_INFO_H_
