// What the two NVIDIA libraries have in common: how they are opened and bound.
#ifndef ASPIRED_CUDA_DRIVER_SYMBOLS_H_
#define ASPIRED_CUDA_DRIVER_SYMBOLS_H_

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "host/dynamic_library.h"

namespace aspired {

// Opens `path`, or the first of `names` that can be opened when it is empty: a
// path is an instruction, and another library instead would be a surprise. On
// failure `error` is what the system said of the first one tried.
inline std::optional<DynamicLibrary> OpenDriverLibrary(
    const std::string& path, std::initializer_list<const char*> names,
    std::string* error) {
  if (!path.empty()) {
    DynamicLibrary library(path, error);
    if (library.is_open()) return library;
    return std::nullopt;
  }
  for (const char* name : names) {
    std::string why;
    DynamicLibrary library(name, &why);
    if (library.is_open()) return library;
    if (error->empty()) *error = std::move(why);
  }
  if (names.size() == 0) *error = "there is none for this system";
  return std::nullopt;
}

// Sets *function to the first of the symbols that the library has, or null.
template <typename Function>
bool BindSymbol(const DynamicLibrary& library, Function** function,
                std::initializer_list<const char*> symbols) {
  for (const char* symbol : symbols) {
    *function = reinterpret_cast<Function*>(library.Symbol(symbol));
    if (*function != nullptr) return true;
  }
  return false;
}

// Binds functions and remembers the first one that had to be there and was not.
class SymbolBinder {
 public:
  explicit SymbolBinder(const DynamicLibrary& library) : library_(library) {}

  template <typename Function>
  void Require(Function** function,
               std::initializer_list<const char*> symbols) {
    if (!BindSymbol(library_, function, symbols) && missing_ == nullptr) {
      missing_ = *symbols.begin();
    }
  }
  template <typename Function>
  void Allow(Function** function, std::initializer_list<const char*> symbols) {
    BindSymbol(library_, function, symbols);
  }

  // Null when nothing is missing.
  const char* missing() const { return missing_; }

 private:
  const DynamicLibrary& library_;
  const char* missing_ = nullptr;
};

}  // namespace aspired

#endif  // ASPIRED_CUDA_DRIVER_SYMBOLS_H_
