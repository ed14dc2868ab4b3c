#include "binding/onnx_exchange.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "binding/onnx_tensor.h"
#include "engine/tensor_type.h"

namespace aspired::binding {
namespace {

constexpr size_t kFirstWords = 4096;
constexpr size_t kNumBytes = 128 * 1024;
// Words before the first feed, and of a feed or a result without its dims.
constexpr size_t kRunWords = 2;
constexpr size_t kFeedWords = 6;
constexpr size_t kResultWords = 5;
// More dims than any model has.
constexpr size_t kMaxRank = 256;

Status Malformed(const char* what) {
  return Status(ErrorCode::kInternal,
                std::string("The exchange holds a bad ") + what + ".");
}

// The word as a number below `limit`; false for anything else.
bool ToIndex(double word, size_t limit, size_t* out) {
  if (!(word >= 0) || word >= static_cast<double>(limit)) return false;
  *out = static_cast<size_t>(word);
  return true;
}

}  // namespace

OnnxExchange::OnnxExchange(Napi::Env env, Napi::Function adopt)
    : adopt_(Napi::Persistent(adopt)) {
  Reserve(env, kFirstWords);
}

void OnnxExchange::Reserve(Napi::Env env, size_t words) {
  if (words <= num_words_) return;
  const size_t num_words = std::max(words, 2 * num_words_);
  auto buffer =
      Napi::ArrayBuffer::New(env, num_words * sizeof(double) + kNumBytes);
  uint8_t* data = static_cast<uint8_t*>(buffer.Data());
  if (num_words_ > 0) {
    std::memcpy(data, words_, num_words_ * sizeof(double));
    std::memcpy(data + num_words * sizeof(double), bytes_, kNumBytes);
  }
  buffer_ = Napi::Persistent(buffer);
  words_ = reinterpret_cast<double*>(data);
  bytes_ = data + num_words * sizeof(double);
  num_words_ = num_words;
  adopt_.Call({buffer, Napi::Number::New(env, static_cast<double>(num_words))});
}

void OnnxExchange::Release() {
  adopt_.Reset();
  buffer_.Reset();
}

Status OnnxExchange::ReadRun(napi_env env, const OnnxSession& session,
                             const napi_value* args, size_t num_args, Copy copy,
                             InferenceRun* run) const {
  size_t num_inputs = 0;
  size_t num_outputs = 0;
  if (!ToIndex(words_[0], num_words_, &num_inputs) ||
      !ToIndex(words_[1], num_words_, &num_outputs)) {
    return Malformed("count");
  }
  run->feeds.resize(num_inputs);
  run->strings.reserve(num_inputs);  // feeds point into it
  size_t at = kRunWords;
  for (size_t i = 0; i < num_inputs; ++i) {
    if (Status status = ReadFeed(env, session, at, args, num_args, i, run);
        !status.ok()) {
      return status;
    }
    at += kFeedWords + run->feeds[i].dims.size();
  }
  if (copy == Copy::kAll) CopyFeeds(at, run);
  return ReadOutputs(session, at, num_outputs, run);
}

Status OnnxExchange::ReadFeed(napi_env env, const OnnxSession& session,
                              size_t at, const napi_value* args,
                              size_t num_args, size_t index,
                              InferenceRun* run) const {
  size_t input = 0;
  size_t rank = 0;
  if (at + kFeedWords > num_words_ ||
      !ToIndex(words_[at], session.inputs().size(), &input) ||
      !ToIndex(words_[at + 5], kMaxRank, &rank) ||
      at + kFeedWords + rank > num_words_) {
    return Malformed("feed");
  }
  const double where = words_[at + 2];
  Feed& feed = run->feeds[index];
  feed.input = static_cast<uint32_t>(input);
  feed.type = static_cast<int>(words_[at + 1]);
  feed.dims = {words_ + at + kFeedWords, rank};
  size_t place = 0;
  if (where >= 0) {
    if (!ToIndex(where, kNumBytes, &place) ||
        !ToIndex(words_[at + 3], kNumBytes - place + 1, &feed.byte_length)) {
      return Malformed("place");
    }
    feed.data = bytes_ + place;
    return Status::Ok();
  }
  if (!ToIndex(-1 - where, num_args, &place)) return Malformed("argument");
  if (feed.type == static_cast<int>(TensorType::kString)) {
    run->strings.emplace_back();
    feed.strings = &run->strings.back();
    return ReadStrings(env, args[place], &run->strings.back());
  }
  feed.borrowed = words_[at + 4] != 0;
  return ReadTypedArray(env, args[place], &feed.data, &feed.byte_length);
}

// The exchange and the arguments are JavaScript's: what is read later must be
// the run's own.
void OnnxExchange::CopyFeeds(size_t end, InferenceRun* run) const {
  run->dims.assign(words_, words_ + end);
  size_t num_words = 0;
  for (const Feed& feed : run->feeds) {
    if (!feed.borrowed) num_words += (feed.byte_length + 7) / 8;
  }
  run->words.resize(num_words);
  uint64_t* to = run->words.data();
  for (Feed& feed : run->feeds) {
    feed.dims = {run->dims.data() + (feed.dims.data() - words_),
                 feed.dims.size()};
    if (feed.borrowed) {
      run->borrows = true;
    } else if (feed.byte_length > 0) {
      std::memcpy(to, feed.data, feed.byte_length);
      feed.data = to;
      to += (feed.byte_length + 7) / 8;
    }
  }
}

Status OnnxExchange::ReadOutputs(const OnnxSession& session, size_t at,
                                 size_t count, InferenceRun* run) const {
  if (count == 0) {
    run->outputs = session.tensor_outputs();
    return Status::Ok();
  }
  for (size_t i = 0; i < count; ++i) {
    size_t output = 0;
    if (at + i >= num_words_ ||
        !ToIndex(words_[at + i], session.outputs().size(), &output)) {
      return Malformed("output");
    }
    run->outputs.push_back(static_cast<uint32_t>(output));
  }
  return Status::Ok();
}

void OnnxExchange::BeginWrite() {
  words_written_ = 0;
  bytes_written_ = 0;
}

bool OnnxExchange::WriteWords(const double* values, size_t count) {
  if (words_written_ + count > num_words_) return false;
  std::copy(values, values + count, words_ + words_written_);
  words_written_ += count;
  return true;
}

size_t OnnxExchange::WordsOf(const RunResult& result) {
  size_t words = 1;
  for (size_t i = 0; i < result.size(); ++i) {
    words += kResultWords + result.tensor(i).dims.size();
  }
  return words;
}

bool OnnxExchange::WriteResult(Napi::Env env, const RunResult& result,
                               Napi::Array* array) {
  if (words_written_ + WordsOf(result) > num_words_) return false;
  double* to = words_ + words_written_;
  *to++ = static_cast<double>(result.size());
  for (size_t i = 0; i < result.size(); ++i) {
    const RunResult::Tensor tensor = result.tensor(i);
    const bool strings = tensor.type == static_cast<int>(TensorType::kString);
    *to++ = tensor.output;
    *to++ = tensor.type;
    *to++ = WriteData(env, tensor, array);
    *to++ = static_cast<double>(strings ? tensor.strings.size()
                                        : tensor.byte_length);
    *to++ = static_cast<double>(tensor.dims.size());
    for (int64_t dim : tensor.dims) *to++ = static_cast<double>(dim);
  }
  words_written_ = static_cast<size_t>(to - words_);
  return true;
}

double OnnxExchange::WriteData(Napi::Env env, const RunResult::Tensor& tensor,
                               Napi::Array* array) {
  const bool strings = tensor.type == static_cast<int>(TensorType::kString);
  if (!strings && tensor.byte_length <= kInlineBytes &&
      bytes_written_ + tensor.byte_length <= kNumBytes) {
    const size_t where = bytes_written_;
    if (tensor.byte_length > 0) {
      std::memcpy(bytes_ + where, tensor.data, tensor.byte_length);
    }
    bytes_written_ += (tensor.byte_length + 7) & ~size_t{7};
    return static_cast<double>(where);
  }
  if (array->IsEmpty()) *array = Napi::Array::New(env);
  const uint32_t index = array->Length();
  array->Set(index,
             strings ? MakeStrings(env, tensor.strings)
                     : MakeArrayBuffer(env, tensor.data, tensor.byte_length));
  return -1 - static_cast<double>(index);
}

}  // namespace aspired::binding
