// Opening a shared library at run time.
#ifndef ASPIRED_HOST_DYNAMIC_LIBRARY_H_
#define ASPIRED_HOST_DYNAMIC_LIBRARY_H_

#include <string>

namespace aspired {

// A library that stays mapped until the process ends: what came from it may be
// on the stack of any thread, so there is no close. Thread-safe.
class DynamicLibrary {
 public:
  // Symbols stay local to the library. On failure handle() is null and `error`
  // holds the system's own words.
  DynamicLibrary(const std::string& path, std::string* error);

  bool is_open() const { return handle_ != nullptr; }
  // Null when there is no such symbol.
  void* Symbol(const char* name) const;

 private:
  void* handle_ = nullptr;
};

}  // namespace aspired

#endif  // ASPIRED_HOST_DYNAMIC_LIBRARY_H_
