# The tests that need a real device; one program without any other part of ours.
#   node scripts/test-device.mjs, or build the target and run it by hand
if(UNIX)
  add_executable(aspired_device_tests
    test/device/cuda_memory_test.cc
    test/device/cuda_worker.cc)
  target_include_directories(aspired_device_tests PRIVATE test)
  target_link_libraries(aspired_device_tests PRIVATE
    aspired_core aspired_gmock)
  aspired_own_target(aspired_device_tests)
endif()
