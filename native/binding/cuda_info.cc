#include "binding/cuda_info.h"

#include <initializer_list>
#include <optional>
#include <string_view>

#include "binding/convert.h"
#include "cuda/cuda_devices.h"

namespace aspired::binding {
namespace {

Napi::Value Text(Napi::Env env, std::string_view text) {
  return Napi::String::New(env, text.data(), text.size());
}
Napi::Value TextOrUndefined(Napi::Env env, std::string_view text) {
  return text.empty() ? env.Undefined() : Text(env, text);
}

// Bytes of memory are exact in a double.
template <typename T>
Napi::Value NumberOrUndefined(Napi::Env env, const std::optional<T>& value) {
  if (!value) return env.Undefined();
  return Napi::Number::New(env, static_cast<double>(*value));
}

Napi::Array Tuple(Napi::Env env, std::initializer_list<Napi::Value> values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  uint32_t i = 0;
  for (const Napi::Value& value : values) array.Set(i++, value);
  return array;
}

Napi::Value ToJs(Napi::Env env, const CudaDevice& device,
                 const DeviceReading& reading) {
  std::optional<uint64_t> used;
  if (reading.status.ok()) used = reading.used;
  return Tuple(
      env, {NumberOrUndefined(env, device.ordinal), Text(env, device.uuid),
            Text(env, device.name),
            Napi::Number::New(env, static_cast<double>(device.total)),
            Napi::Boolean::New(env, device.is_mig),
            TextOrUndefined(env, device.parent_uuid),
            NumberOrUndefined(env, used), NumberOrUndefined(env, reading.self),
            binding::ToJs(env, reading.status)});
}

Napi::Value ReadCudaDevices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto cuda =
      CudaDevices::Open({StringFrom(info[0]), StringFrom(info[1])});
  Napi::Array devices = Napi::Array::New(env, cuda->devices().size());
  for (uint32_t i = 0; i < cuda->devices().size(); ++i) {
    devices.Set(i, ToJs(env, cuda->devices()[i], cuda->Read(i)));
  }
  return Tuple(env,
               {Text(env, Name(cuda->absence())), Text(env, cuda->message()),
                TextOrUndefined(env, cuda->CudaVersion()),
                TextOrUndefined(env, cuda->DriverVersion()), devices});
}

}  // namespace

void RegisterCudaInfo(Napi::Env env, Napi::Object exports) {
  exports.Set("readCudaDevices",
              Napi::Function::New(env, ReadCudaDevices, "readCudaDevices"));
}

}  // namespace aspired::binding
