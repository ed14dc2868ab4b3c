// Conversions between the values of the resource model and JavaScript. Bytes
// are numbers; no limit is Infinity.
//
// JavaScript thread only.
#ifndef ASPIRED_BINDING_RESOURCES_CONVERT_H_
#define ASPIRED_BINDING_RESOURCES_CONVERT_H_

#include <vector>

#include "binding/napi_setup.h"
#include "core/footprints.h"
#include "core/resources_report.h"
#include "resources/resource.h"

namespace aspired::binding {

uint64_t BytesFrom(const Napi::Value& value);
Napi::Value BytesToJs(Napi::Env env, uint64_t bytes);

// [[device, instance | undefined, bytes], ...]: memory only.
ResourceAllocation AllocationFromJs(const Napi::Value& value);
Napi::Value ToJs(Napi::Env env, const ResourceAllocation& allocation);

// [devices, versions]; see lib/native/binding.ts.
Napi::Value ToJs(Napi::Env env, const ResourcesReport& report);

// [[servable, device, estimated, measured], ...]
Napi::Value ToJs(Napi::Env env, const std::vector<Footprint>& footprints);
std::vector<Footprint> FootprintsFromJs(const Napi::Value& value);

// hostMemory() -> {bytes, limit, machine}: what limits this process.
void RegisterResources(Napi::Env env, Napi::Object exports);

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_RESOURCES_CONVERT_H_
