# The C++ sources: one per line, sorted, never globbed. binding.gyp holds the same
# list; scripts/check-sources.mjs keeps the two equal and complete, and with --fix
# writes both from the folders.

set(ASPIRED_CORE_SOURCES
  native/concurrency/thread.cc
  native/concurrency/thread_pool.cc
  native/concurrency/work_threads.cc
  native/core/aspired_versions_manager.cc
  native/core/basic_manager.cc
  native/core/load_and_unload.cc
  native/core/loader_harness.cc
  native/core/manage_state_loop.cc
  native/core/servable_state_monitor.cc
  native/core/status.cc
  native/engine/dynamic_library.cc
  native/engine/engine_activity.cc
  native/engine/engine_thread.cc
  native/engine/inference_pool.cc
  native/engine/inference_run.cc
  native/engine/model_loader.cc
  native/engine/onnx_session.cc
  native/engine/ort_api.cc
  native/engine/ort_api_check.cc
  native/engine/ort_runtime.cc
  native/engine/run_result.cc
  native/engine/session_options.cc
  native/engine/tensor_type.cc
  native/engine/value_info.cc
  native/policy/aspired_version_policy.cc
  native/policy/availability_preserving_policy.cc
  native/policy/resource_preserving_policy.cc
)

set(ASPIRED_BINDING_SOURCES
  native/binding/addon.cc
  native/binding/convert.cc
  native/binding/env_data.cc
  native/binding/executor_external.cc
  native/binding/js_link.cc
  native/binding/js_queue.cc
  native/binding/manager_wrap.cc
  native/binding/onnx_env.cc
  native/binding/onnx_exchange.cc
  native/binding/onnx_register.cc
  native/binding/onnx_run_sink.cc
  native/binding/onnx_session_wrap.cc
  native/binding/onnx_tensor.cc
)

set(ASPIRED_TEST_SOURCES
  test/conformance/loader_harness_conformance_test.cc
  test/conformance/policy_test.cc
  test/native/event_bus_test.cc
  test/native/harness_state_test.cc
  test/native/loader_harness_test.cc
  test/native/retry_options_test.cc
  test/native/serial_queue_test.cc
  test/native/status_test.cc
  test/native/test_util/event_recorder.cc
  test/native/test_util/fake_loader.cc
  test/native/test_util/fake_readers.cc
  test/native/test_util/test_manager.cc
  test/native/thread_pool_test.cc
  test/native/work_threads_test.cc
)
