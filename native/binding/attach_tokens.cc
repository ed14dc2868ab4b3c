#include "binding/attach_tokens.h"

#include <utility>

namespace aspired::binding {

AttachTokens& AttachTokens::Instance() {
  static AttachTokens* tokens = new AttachTokens();
  return *tokens;
}

void AttachTokens::Publish(const std::string& token,
                           std::weak_ptr<ReaderGroup> group) {
  std::lock_guard<std::mutex> lock(mu_);
  groups_[token] = std::move(group);
}

void AttachTokens::Withdraw(const std::string& token) {
  std::lock_guard<std::mutex> lock(mu_);
  groups_.erase(token);
}

std::shared_ptr<ReaderGroup> AttachTokens::Find(
    const std::string& token) const {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = groups_.find(token);
  return it == groups_.end() ? nullptr : it->second.lock();
}

}  // namespace aspired::binding
