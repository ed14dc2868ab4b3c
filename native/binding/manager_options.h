// The options of a manager, out of NativeManagerOptions of
// lib/native/binding.ts, which TypeScript has checked.
#ifndef ASPIRED_BINDING_MANAGER_OPTIONS_H_
#define ASPIRED_BINDING_MANAGER_OPTIONS_H_

#include <napi.h>

#include <memory>

#include "binding/js_link.h"
#include "core/aspired_versions_manager.h"
#include "core/reader_group.h"

namespace aspired::binding {

// What the manager asks and tells goes through the link, to the thread of its
// environment; its readers are the group. Opens the CUDA libraries when there
// are GPUs to be metered. JavaScript thread only.
AspiredVersionsManager::Options OptionsFromJs(
    const Napi::Object& options, const std::shared_ptr<JsLink>& link,
    const std::shared_ptr<ReaderGroup>& group);

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_MANAGER_OPTIONS_H_
