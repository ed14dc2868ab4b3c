// AttachTokens: the managers of this process that other threads may attach to,
// by token.
//
// Thread-safe.
#ifndef ASPIRED_BINDING_ATTACH_TOKENS_H_
#define ASPIRED_BINDING_ATTACH_TOKENS_H_

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "core/reader_group.h"

namespace aspired::binding {

class AttachTokens {
 public:
  // The one of this process; never destroyed.
  static AttachTokens& Instance();

  AttachTokens(const AttachTokens&) = delete;
  AttachTokens& operator=(const AttachTokens&) = delete;

  void Publish(const std::string& token, std::weak_ptr<ReaderGroup> group);
  void Withdraw(const std::string& token);
  // Null for a token that is unknown, or of a manager that is gone.
  std::shared_ptr<ReaderGroup> Find(const std::string& token) const;

 private:
  AttachTokens() = default;

  mutable std::mutex mu_;
  // Guarded by mu_.
  std::unordered_map<std::string, std::weak_ptr<ReaderGroup>> groups_;
};

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_ATTACH_TOKENS_H_
