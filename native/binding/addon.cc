// The exports of the addon, and nothing else.
#include "binding/attachment_wrap.h"
#include "binding/convert.h"
#include "binding/cuda_info.h"
#include "binding/env_data.h"
#include "binding/manager_wrap.h"
#include "binding/napi_setup.h"
#include "binding/onnx_register.h"
#include "binding/resources_convert.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  aspired::binding::EnvData::Install(env);
  aspired::binding::RegisterPolicies(env, exports);
  aspired::binding::ManagerWrap::Register(env, exports);
  aspired::binding::AttachmentWrap::Register(env, exports);
  aspired::binding::RegisterOnnx(env, exports);
  aspired::binding::RegisterResources(env, exports);
  aspired::binding::RegisterCudaInfo(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(aspired, Init)
