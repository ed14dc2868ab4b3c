#include "core/status.h"

#include <array>
#include <cassert>

namespace aspired {
namespace {

struct CodeRow {
  std::string_view name;
  StatusCode status;
};

constexpr CodeRow kCodes[] = {
    {"OK", StatusCode::kOk},
#define ASPIRED_ERROR(name, code, status, text) {code, StatusCode::status},
#include "core/error_codes.def"
#undef ASPIRED_ERROR
};

constexpr std::string_view kStatusNames[] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

}  // namespace

std::string_view ErrorCodeName(ErrorCode code) {
  return kCodes[static_cast<size_t>(code)].name;
}

StatusCode CanonicalStatus(ErrorCode code) {
  return kCodes[static_cast<size_t>(code)].status;
}

std::string_view StatusCodeName(StatusCode code) {
  return kStatusNames[static_cast<size_t>(code)];
}

ErrorCode ErrorCodeFromName(std::string_view name) {
  for (size_t i = 1; i < std::size(kCodes); ++i) {
    if (kCodes[i].name == name) return static_cast<ErrorCode>(i);
  }
  return ErrorCode::kNone;
}

Status::Status(ErrorCode code, std::string message, uint64_t cause)
    : rep_(std::make_shared<const Rep>(Rep{code, cause, std::move(message)})) {
  assert(code != ErrorCode::kNone);
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  std::string text(ErrorCodeName(code()));
  text += ": ";
  text += rep_->message;
  return text;
}

bool operator==(const Status& a, const Status& b) {
  if (a.rep_ == b.rep_) return true;
  if (a.ok() || b.ok()) return false;
  return a.rep_->code == b.rep_->code && a.rep_->cause == b.rep_->cause &&
         a.rep_->message == b.rep_->message;
}

}  // namespace aspired
