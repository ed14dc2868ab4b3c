// What readers that want intent are told of it.
#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "core/aspired_versions_manager.h"
#include "core/managed_version.h"

namespace aspired {
namespace {

constexpr std::chrono::seconds kCatchUpPatience{1};

}  // namespace

void BasicManager::RemindReaders() {
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& [name, versions] : streams_) {
    for (const ManagedPtr& m : versions) {
      // Its Open() was queued when it became Ready, and its Close() will be
      // queued when it is Ready no more: this comes in between.
      if (m->harness.state() != HarnessState::kReady) continue;
      effects_.Push([readers = options_.readers, m] {
        readers->Remind(m->id(), *m->harness.loader());
      });
    }
  }
}

void AspiredVersionsManager::ShareReaders() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (closing_) return;
    for (const auto& [name, stream] : streams_)
      PushIntentLocked(*stream, nullptr);
    basic_->RemindReaders();
  }
  basic_->Flush();
}

void AspiredVersionsManager::CatchUpReaders() {
  // Its turn comes when all that was pushed before has run, whoever runs it.
  auto ran = std::make_shared<std::promise<void>>();
  const std::future<void> turn = ran->get_future();
  basic_->PushEffect([ran = std::move(ran)] { ran->set_value(); });
  basic_->Flush();
  (void)turn.wait_for(kCatchUpPatience);
}

void AspiredVersionsManager::PushIntentLocked(
    const Stream& stream, const std::set<int64_t>* aspired) {
  if (options_.readers == nullptr || !options_.readers->WantsIntent()) return;
  ReaderIntent intent;
  if (aspired != nullptr) {
    intent.aspired.assign(aspired->begin(), aspired->end());
  } else {
    for (const auto& [version, record] : stream.records) {
      if (record.aspired) intent.aspired.push_back(version);
    }
  }
  if (stream.intent != nullptr) {
    if (stream.intent->labels) intent.labels = *stream.intent->labels;
    intent.primary = stream.intent->primary.value_or(std::nullopt);
  }
  basic_->PushEffect(
      [readers = options_.readers, name = stream.name,
       intent = std::move(intent)] { readers->SetIntent(name, intent); });
}

}  // namespace aspired
