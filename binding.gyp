# For users of node-gyp; npm run build uses CMakeLists.txt. The sources of both are the same
# (scripts/check-sources.mjs). This file is not in the published package.
{
  "targets": [
    {
      "target_name": "aspired",
      "sources": [
        "native/binding/addon.cc",
        "native/binding/env_data.cc",
        "native/binding/js_queue.cc",
        "native/concurrency/thread.cc",
        "native/concurrency/thread_pool.cc",
        "native/concurrency/work_threads.cc",
        "native/core/aspired_versions_manager.cc",
        "native/core/basic_manager.cc",
        "native/core/loader_harness.cc",
        "native/core/manage_state_loop.cc",
        "native/core/servable_state_monitor.cc",
        "native/core/status.cc",
        "native/engine/dynamic_library.cc",
        "native/engine/engine_activity.cc",
        "native/engine/inference_pool.cc",
        "native/engine/inference_run.cc",
        "native/engine/model_loader.cc",
        "native/engine/onnx_session.cc",
        "native/engine/ort_api.cc",
        "native/engine/ort_api_check.cc",
        "native/engine/ort_runtime.cc",
        "native/engine/run_result.cc",
        "native/engine/session_options.cc",
        "native/engine/tensor_type.cc",
        "native/engine/value_info.cc",
        "native/policy/aspired_version_policy.cc",
        "native/policy/availability_preserving_policy.cc",
        "native/policy/resource_preserving_policy.cc",
      ],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=9",
        "NODE_ADDON_API_CPP_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS",
        "NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
      ],
      "cflags!": ["-fno-exceptions", "-O3"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20", "-O3"],
      "cflags_cc": ["-std=c++20", "-O2", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-Wall", "-Wextra"],
      "conditions": [
        ["OS=='linux'", {
          "ldflags": ["-Wl,-z,nodelete", "-Wl,--gc-sections", "-Wl,--version-script=<(module_root_dir)/native/binding/exports.map", "-static-libstdc++", "-static-libgcc"],
          "libraries": ["-ldl", "-lpthread"],
        }],
        ["OS=='mac'", {
          "xcode_settings": {
            "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
            "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
            "GCC_ENABLE_CPP_RTTI": "YES",
            "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
            "MACOSX_DEPLOYMENT_TARGET": "12.0",
          },
        }],
        ["OS=='win'", {
          "msvs_settings": {
            "VCCLCompilerTool": {"ExceptionHandling": 1, "RuntimeTypeInfo": "true", "AdditionalOptions": ["/std:c++20"]},
          },
        }],
      ],
    },
  ],
}
