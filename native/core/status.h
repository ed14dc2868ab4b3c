// Status: the outcome of an operation that can fail.
//
// A Status is OK, or it carries an ErrorCode (the stable code users match on),
// the canonical status that follows from it, a message, and an opaque `cause`:
// a number that the layer which made the error can turn back into what it
// knows (the binding keeps JavaScript errors by it). 0 means "no cause".
//
// Thread-safety: immutable after construction; copies share one allocation and
// may be used from any thread. OK costs one null pointer.
//
// Source: the canonical codes are those of gRPC and Abseil, as TensorFlow
// Serving uses them; the table of codes is error_codes.def.
#ifndef ASPIRED_CORE_STATUS_H_
#define ASPIRED_CORE_STATUS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace aspired {

// Canonical status. The numbers are gRPC's.
enum class StatusCode : uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// The stable code of an error; one per row of error_codes.def.
enum class ErrorCode : uint16_t {
  kNone = 0,
#define ASPIRED_ERROR(name, code, status, text) k##name,
#include "core/error_codes.def"
#undef ASPIRED_ERROR
};

// "ERR_SERVABLE_NOT_FOUND"; "OK" for kNone.
std::string_view ErrorCodeName(ErrorCode code);
// The canonical status of a code; kOk for kNone.
StatusCode CanonicalStatus(ErrorCode code);
// "NOT_FOUND"; "OK" for kOk.
std::string_view StatusCodeName(StatusCode code);
// The code with this name, or kNone.
ErrorCode ErrorCodeFromName(std::string_view name);

class [[nodiscard]] Status {
 public:
  // OK.
  Status() = default;
  // REQUIRES: code != kNone.
  Status(ErrorCode code, std::string message, uint64_t cause = 0);

  static Status Ok() { return Status(); }

  bool ok() const { return rep_ == nullptr; }
  ErrorCode code() const { return ok() ? ErrorCode::kNone : rep_->code; }
  StatusCode canonical() const { return CanonicalStatus(code()); }
  uint64_t cause() const { return ok() ? 0 : rep_->cause; }
  std::string_view message() const {
    return ok() ? std::string_view() : std::string_view(rep_->message);
  }
  // "ERR_LOAD_FAILED: no such weights", or "OK".
  std::string ToString() const;

  // Two statuses are equal when code, message and cause are.
  friend bool operator==(const Status& a, const Status& b);

 private:
  struct Rep {
    ErrorCode code;
    uint64_t cause;
    std::string message;
  };
  std::shared_ptr<const Rep> rep_;
};

}  // namespace aspired

#endif  // ASPIRED_CORE_STATUS_H_
