// ServableId: the identity of one version of one servable stream.
//
// Source: TensorFlow Serving, core/servable_id.h.
#ifndef ASPIRED_CORE_SERVABLE_ID_H_
#define ASPIRED_CORE_SERVABLE_ID_H_

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace aspired {

// `name` is the servable stream; `version` is >= 0 and, for JavaScript's sake,
// at most 2^53 - 1. Ordered by name, then numerically by version.
struct ServableId {
  std::string name;
  int64_t version = 0;

  friend auto operator<=>(const ServableId&, const ServableId&) = default;

  // "mnist/42": the form used in messages and as a map key in JavaScript.
  std::string ToString() const { return name + "/" + std::to_string(version); }
};

struct ServableIdHash {
  size_t operator()(const ServableId& id) const {
    size_t h = std::hash<std::string>()(id.name);
    return h ^ (std::hash<int64_t>()(id.version) + 0x9e3779b97f4a7c15ull +
                (h << 6) + (h >> 2));
  }
};

}  // namespace aspired

#endif  // ASPIRED_CORE_SERVABLE_ID_H_
