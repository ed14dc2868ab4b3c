# The fake NVIDIA driver, see fake_driver.h: one library under the two names in
# fake_cuda/driver, and with fewer functions in fake_cuda/old, fake_cuda/broken.
function(aspired_fake_driver variant)
  set(folder ${CMAKE_BINARY_DIR}/fake_cuda/${variant})
  set(target aspired_fake_${variant})
  add_library(${target} SHARED
    test/native/fake_cuda/fake_cuda.cc
    test/native/fake_cuda/fake_driver.cc
    test/native/fake_cuda/fake_nvml.cc)
  set_target_properties(${target} PROPERTIES
    PREFIX "" OUTPUT_NAME libcuda SUFFIX .so.1 NO_SONAME ON
    LIBRARY_OUTPUT_DIRECTORY ${folder})
  target_include_directories(${target} PRIVATE test)
  target_compile_definitions(${target} PRIVATE ${ARGN})
  target_link_libraries(${target} PRIVATE Threads::Threads)
  aspired_own_target(${target})
  add_custom_command(TARGET ${target} POST_BUILD COMMAND
    ${CMAKE_COMMAND} -E create_symlink libcuda.so.1 ${folder}/libnvidia-ml.so.1)
endfunction()

if(UNIX)
  aspired_fake_driver(driver)
  aspired_fake_driver(old ASPIRED_FAKE_OLD)
  aspired_fake_driver(broken ASPIRED_FAKE_BROKEN)
  if(TARGET aspired_tests)
    add_dependencies(aspired_tests
      aspired_fake_driver aspired_fake_old aspired_fake_broken)
  endif()
endif()
