#include "binding/manager_options.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "binding/convert.h"
#include "binding/resources_convert.h"
#include "cuda/cuda_devices.h"
#include "host/device_meters.h"

namespace aspired::binding {
namespace {

double NumberOf(const Napi::Object& options, const char* key) {
  return options.Get(key).As<Napi::Number>().DoubleValue();
}

std::chrono::milliseconds MillisOf(const Napi::Object& options,
                                   const char* key) {
  return std::chrono::milliseconds(
      static_cast<int64_t>(NumberOf(options, key)));
}

void PostBake(JsLink& link, const ServableId& id, uint64_t incarnation,
              int64_t previous) {
  link.Post(
      Message::kBake,
      [name = id.name](Napi::Env env) {
        return Napi::Value(Napi::String::New(env, name));
      },
      [version = id.version, incarnation, previous](Napi::Env env) {
        Napi::Array row = Napi::Array::New(env, 3);
        row.Set(0u, static_cast<double>(version));
        row.Set(1u, static_cast<double>(incarnation));
        row.Set(2u, static_cast<double>(previous));
        return Napi::Value(row);
      });
}

std::shared_ptr<MemoryMeter> MakeMeter(const Napi::Object& options) {
  std::vector<DeviceMeters::Reader> gpus;
  const auto uuids = options.Get("cuda").As<Napi::Array>();
  if (uuids.Length() > 0) {
    const std::shared_ptr<const CudaDevices> devices =
        CudaDevices::Open({StringFrom(options.Get("cudaPath")),
                           StringFrom(options.Get("nvmlPath"))});
    for (uint32_t i = 0; i < uuids.Length(); ++i) {
      const std::string uuid = StringFrom(uuids.Get(i));
      gpus.push_back([devices, uuid] {
        size_t index = 0;
        DeviceReading reading;
        reading.status = devices->Find(uuid, &index);
        return reading.status.ok() ? devices->Read(index) : reading;
      });
    }
  }
  return std::make_shared<DeviceMeters>(std::move(gpus));
}

}  // namespace

AspiredVersionsManager::Options OptionsFromJs(
    const Napi::Object& options, const std::shared_ptr<JsLink>& link,
    const std::shared_ptr<ReaderGroup>& group) {
  AspiredVersionsManager::Options out;
  out.policy = PolicyFromJs(options.Get("policy"));
  out.external_order = options.Get("externalOrder").As<Napi::Boolean>();
  out.manage_state_interval = MillisOf(options, "manageStateIntervalMs");
  out.num_load_threads = static_cast<int>(NumberOf(options, "numLoadThreads"));
  out.num_unload_threads =
      static_cast<int>(NumberOf(options, "numUnloadThreads"));
  out.retry.max_num_load_retries =
      static_cast<int>(NumberOf(options, "maxNumLoadRetries"));
  out.retry.quick = {MillisOf(options, "loadRetryIntervalMs"),
                     MillisOf(options, "maxLoadRetryIntervalMs")};
  out.retry.slow = {MillisOf(options, "slowRetryIntervalMs"),
                    MillisOf(options, "maxSlowRetryIntervalMs")};
  out.enable_reload_servables_with_error =
      options.Get("enableReloadServablesWithError").As<Napi::Boolean>();
  out.monitor.max_log_events =
      static_cast<size_t>(NumberOf(options, "maxLogEvents"));
  out.on_insufficient_memory = OnInsufficientFromJs(options.Get("freesOwn"));
  out.standby = StandbyFromJs(options.Get("standby"));
  out.bake = options.Get("bake").As<Napi::Boolean>();
  out.on_bake = [link](const ServableId& id, uint64_t incarnation,
                       int64_t previous) {
    PostBake(*link, id, incarnation, previous);
  };
  const Napi::Value limits = options.Get("limits");
  if (limits.IsArray()) {
    out.limits = AllocationFromJs(limits);
    out.meter = MakeMeter(options);
  }
  out.clock = std::make_shared<SystemClock>();
  out.readers = group;
  out.decide = [link](std::vector<std::string> names) {
    link->Post(Message::kDecide, [names = std::move(names)](Napi::Env env) {
      Napi::Array array = Napi::Array::New(env, names.size());
      for (uint32_t i = 0; i < names.size(); ++i) array.Set(i, names[i]);
      return Napi::Value(array);
    });
  };
  // For jitter only. std::random_device would need a newer C++ library than the
  // rest of the addon.
  out.random_seed = static_cast<uint64_t>(
      std::chrono::steady_clock::now().time_since_epoch().count());
  return out;
}

}  // namespace aspired::binding
