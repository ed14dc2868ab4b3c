// The exports of the addon, and nothing else.
#include "binding/env_data.h"
#include "binding/napi_setup.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  aspired::binding::EnvData::Install(env);
  return exports;
}

}  // namespace

NODE_API_MODULE(aspired, Init)
