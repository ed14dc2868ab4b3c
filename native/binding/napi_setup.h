// The only include of <napi.h>. The build defines NAPI_VERSION and the
// NODE_ADDON_API_* switches, the same in CMakeLists.txt and binding.gyp.
#ifndef ASPIRED_BINDING_NAPI_SETUP_H_
#define ASPIRED_BINDING_NAPI_SETUP_H_

#ifndef NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#error "build with the switches of CMakeLists.txt"
#endif

#include <napi.h>

#endif  // ASPIRED_BINDING_NAPI_SETUP_H_
