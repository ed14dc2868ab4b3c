// What readers that want intent are told of it.
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <utility>

#include "core/aspired_versions_manager.h"
#include "core/managed_version.h"

namespace aspired {
namespace {

// A turn in the order of effects that somebody waits for, or did.
enum class Turn { kAhead, kHere, kGivenUp };

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

bool AspiredVersionsManager::CatchUpReaders(std::function<void()> late,
                                            Duration patience) {
  auto turn = std::make_shared<std::atomic<Turn>>(Turn::kAhead);
  auto here = std::make_shared<std::promise<void>>();
  const std::future<void> wait = here->get_future();
  // Its turn comes when all that was pushed before has run, whoever runs it.
  basic_->PushEffect([turn, here = std::move(here), late = std::move(late)] {
    const bool is_late = turn->exchange(Turn::kHere) == Turn::kGivenUp;
    here->set_value();
    if (is_late) late();
  });
  basic_->Flush();
  (void)wait.wait_for(patience);
  return turn->exchange(Turn::kGivenUp) == Turn::kHere;
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
