#include "host/dynamic_library.h"

#if defined(_WIN32)
#include <windows.h>

#include <filesystem>
#else
#include <dlfcn.h>
#endif

namespace aspired {

#if defined(_WIN32)

DynamicLibrary::DynamicLibrary(const std::string& path, std::string* error) {
  const auto file = std::filesystem::u8path(path);
  // The search path of the library's own folder finds what it depends on; it
  // is refused for a bare name.
  handle_ = LoadLibraryExW(
      file.c_str(), nullptr,
      LOAD_LIBRARY_SEARCH_DEFAULT_DIRS |
          (file.is_absolute() ? LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR : 0));
  if (handle_ == nullptr) {
    *error = "LoadLibraryEx failed with error " +
             std::to_string(GetLastError()) + " for " + path;
  }
}

void* DynamicLibrary::Symbol(const char* name) const {
  return reinterpret_cast<void*>(
      GetProcAddress(static_cast<HMODULE>(handle_), name));
}

#else

DynamicLibrary::DynamicLibrary(const std::string& path, std::string* error) {
  handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    const char* text = dlerror();
    *error = text != nullptr ? text : "dlopen failed for " + path;
  }
}

void* DynamicLibrary::Symbol(const char* name) const {
  return dlsym(handle_, name);
}

#endif

}  // namespace aspired
