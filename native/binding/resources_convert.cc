#include "binding/resources_convert.h"

#include <cmath>
#include <limits>
#include <string>

#include "binding/convert.h"
#include "host/host_memory.h"

namespace aspired::binding {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

Napi::Value OptionalBytes(Napi::Env env, const std::optional<uint64_t>& bytes) {
  return bytes ? BytesToJs(env, *bytes) : env.Undefined();
}

// May be below zero.
Napi::Value OptionalDelta(Napi::Env env, const std::optional<int64_t>& bytes) {
  return bytes ? Napi::Number::New(env, static_cast<double>(*bytes))
               : env.Undefined();
}

// [device, instance, limit, estimated, reserved, measured, total, used,
//  usedByOthers, available, drift, status, measuredCgroup, aloneInCgroup]
Napi::Value DeviceToJs(Napi::Env env, const ResourcesReport::Device& d) {
  Napi::Array row = Napi::Array::New(env, 14);
  row.Set(0u, d.device);
  row.Set(1u, d.instance);
  row.Set(2u, BytesToJs(env, d.limit));
  row.Set(3u, BytesToJs(env, d.estimated));
  row.Set(4u, BytesToJs(env, d.reserved));
  row.Set(5u, static_cast<double>(d.measured));
  row.Set(6u, OptionalBytes(env, d.total));
  row.Set(7u, OptionalBytes(env, d.used));
  row.Set(8u, OptionalBytes(env, d.used_by_others));
  row.Set(9u, BytesToJs(env, d.available));
  row.Set(10u, static_cast<double>(d.drift));
  row.Set(11u, ToJs(env, d.status));
  row.Set(12u, OptionalDelta(env, d.measured_cgroup));
  row.Set(13u, d.alone_in_cgroup
                   ? Napi::Value(Napi::Boolean::New(env, *d.alone_in_cgroup))
                   : env.Undefined());
  return row;
}

// [name, version, state, standby, waiting | undefined,
//  [[device, estimated, reserved, measured, measuredCgroup], ...], givenUp]
Napi::Value VersionToJs(Napi::Env env, const ResourcesReport::Version& v) {
  Napi::Array shares = Napi::Array::New(env, v.shares.size());
  for (uint32_t i = 0; i < v.shares.size(); ++i) {
    const ResourcesReport::Share& share = v.shares[i];
    Napi::Array entry = Napi::Array::New(env, 5);
    entry.Set(0u, static_cast<double>(share.device));
    entry.Set(1u, BytesToJs(env, share.estimated));
    entry.Set(2u, BytesToJs(env, share.reserved));
    entry.Set(3u, static_cast<double>(share.measured));
    entry.Set(4u, OptionalDelta(env, share.measured_cgroup));
    shares.Set(i, entry);
  }
  Napi::Array row = Napi::Array::New(env, 7);
  row.Set(0u, v.id.name);
  row.Set(1u, static_cast<double>(v.id.version));
  row.Set(2u, static_cast<double>(v.state));
  row.Set(3u, v.standby);
  row.Set(4u, v.waiting.empty()
                  ? env.Undefined()
                  : Napi::Value(Napi::String::New(env, v.waiting)));
  row.Set(5u, shares);
  row.Set(6u, v.given_up);
  return row;
}

Napi::Value HostMemoryToJs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const HostMemory::Limits limits = HostMemory::Create()->ReadLimits();
  Napi::Object out = Napi::Object::New(env);
  out.Set("bytes", BytesToJs(env, limits.bytes));
  out.Set("machine", BytesToJs(env, limits.machine));
  out.Set("limit", limits.text);
  return out;
}

}  // namespace

uint64_t BytesFrom(const Napi::Value& value) {
  const double bytes = value.As<Napi::Number>().DoubleValue();
  if (!(bytes > 0)) return 0;
  return bytes >= 0x1p63 ? kNoLimit : static_cast<uint64_t>(std::ceil(bytes));
}

Napi::Value BytesToJs(Napi::Env env, uint64_t bytes) {
  return Napi::Number::New(env, bytes == kNoLimit
                                    ? std::numeric_limits<double>::infinity()
                                    : static_cast<double>(bytes));
}

ResourceAllocation AllocationFromJs(const Napi::Value& value) {
  ResourceAllocation allocation;
  const auto array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const auto entry = array.Get(i).As<Napi::Array>();
    Resource resource{StringFrom(entry.Get(0u)), std::nullopt, kRam};
    const Napi::Value instance = entry.Get(1u);
    if (instance.IsNumber()) {
      resource.instance = instance.As<Napi::Number>().Uint32Value();
    }
    allocation.entries.push_back(
        {std::move(resource), BytesFrom(entry.Get(2u))});
  }
  return allocation;
}

Napi::Value ToJs(Napi::Env env, const ResourceAllocation& allocation) {
  Napi::Array array = Napi::Array::New(env, allocation.entries.size());
  for (uint32_t i = 0; i < allocation.entries.size(); ++i) {
    const auto& [resource, quantity] = allocation.entries[i];
    Napi::Array entry = Napi::Array::New(env, 3);
    entry.Set(0u, resource.device);
    if (resource.instance) entry.Set(1u, *resource.instance);
    entry.Set(2u, BytesToJs(env, quantity));
    array.Set(i, entry);
  }
  return array;
}

Napi::Value ToJs(Napi::Env env, const ResourcesReport& report) {
  Napi::Array devices = Napi::Array::New(env, report.devices.size());
  for (uint32_t i = 0; i < report.devices.size(); ++i) {
    devices.Set(i, DeviceToJs(env, report.devices[i]));
  }
  Napi::Array versions = Napi::Array::New(env, report.versions.size());
  for (uint32_t i = 0; i < report.versions.size(); ++i) {
    versions.Set(i, VersionToJs(env, report.versions[i]));
  }
  Napi::Array pair = Napi::Array::New(env, 2);
  pair.Set(0u, devices);
  pair.Set(1u, versions);
  return pair;
}

Napi::Value ToJs(Napi::Env env, const std::vector<Footprint>& footprints) {
  Napi::Array array = Napi::Array::New(env, footprints.size());
  for (uint32_t i = 0; i < footprints.size(); ++i) {
    const Footprint& footprint = footprints[i];
    Napi::Array row = Napi::Array::New(env, 4);
    row.Set(0u, footprint.servable);
    row.Set(1u, footprint.device);
    row.Set(2u, BytesToJs(env, footprint.estimated));
    row.Set(3u, BytesToJs(env, footprint.measured));
    array.Set(i, row);
  }
  return array;
}

std::vector<Footprint> FootprintsFromJs(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<Footprint> footprints;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const auto row = array.Get(i).As<Napi::Array>();
    footprints.push_back({StringFrom(row.Get(0u)), StringFrom(row.Get(1u)),
                          BytesFrom(row.Get(2u)), BytesFrom(row.Get(3u))});
  }
  return footprints;
}

void RegisterResources(Napi::Env env, Napi::Object exports) {
  exports.Set("hostMemory",
              Napi::Function::New(env, HostMemoryToJs, "hostMemory"));
}

}  // namespace aspired::binding
