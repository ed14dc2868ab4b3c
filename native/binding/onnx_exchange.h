// OnnxExchange: one ArrayBuffer per environment through which TypeScript and
// the engine pass the numbers of a run: what goes in, what comes out.
//
// Why: a Node-API call costs tens of nanoseconds, and so does every array,
// element and property read through it; a small model runs in three
// microseconds. Both sides write plain doubles and bytes here instead, and one
// call carries a run. lib/onnx/exchange.ts is the other side.
//
// Layout: num_words() doubles, then num_bytes() bytes of tensor data.
//   A run:     inputs, outputs,
//              per input: input, type, where, bytes, borrow (0/1), rank,
//              dims... the outputs asked for (none: every tensor)
//   A result:  tensors, per tensor: output, type, where, length, rank, dims...
//   `where`:   >= 0 an offset into the bytes; -1 - k the k-th argument of the
//              call, or the k-th element of the array that is answered.
//   `length`:  bytes, or the number of strings.
//
// Everything read from it is checked: a bug in TypeScript ends in an error.
//
// Thread-safety: JavaScript thread only.
#ifndef ASPIRED_BINDING_ONNX_EXCHANGE_H_
#define ASPIRED_BINDING_ONNX_EXCHANGE_H_

#include <cstddef>
#include <cstdint>

#include "binding/napi_setup.h"
#include "core/status.h"
#include "engine/inference_run.h"
#include "engine/onnx_session.h"

namespace aspired::binding {

class OnnxExchange {
 public:
  // Tensors up to this size go through the bytes of the exchange.
  static constexpr size_t kInlineBytes = RunResult::kInlineBytes;

  // `adopt(buffer, numWords)` tells TypeScript of the buffer, now and whenever
  // it is replaced by a larger one.
  OnnxExchange(Napi::Env env, Napi::Function adopt);

  // Makes room for so many words.
  void Reserve(Napi::Env env, size_t words);

  // Gives its references back; no other call may follow.
  void Release();

  enum class Copy { kNone, kAll };
  // Fills `run` (feeds, outputs, borrows) from the request in the exchange and
  // the arguments it refers to. kNone leaves all data where it is, for a run
  // that ends before the call does. kAll copies what may not be borrowed.
  Status ReadRun(napi_env env, const OnnxSession& session,
                 const napi_value* args, size_t num_args, Copy copy,
                 InferenceRun* run) const;

  // Writing of results begins anew, at the start.
  void BeginWrite();
  // Appends words; false (and nothing written) when they do not fit.
  bool WriteWords(const double* values, size_t count);
  // Appends a result; false (and nothing written) when its words do not fit.
  // Data that does not fit goes to *array, which is made when needed.
  bool WriteResult(Napi::Env env, const RunResult& result, Napi::Array* array);
  // Words that a result takes.
  static size_t WordsOf(const RunResult& result);
  void SetWord(size_t index, double value) { words_[index] = value; }
  size_t words_written() const { return words_written_; }
  size_t num_words() const { return num_words_; }

 private:
  Status ReadFeed(napi_env env, const OnnxSession& session, size_t at,
                  const napi_value* args, size_t num_args, size_t index,
                  InferenceRun* run) const;
  Status ReadOutputs(const OnnxSession& session, size_t at, size_t count,
                     InferenceRun* run) const;
  void CopyFeeds(size_t end, InferenceRun* run) const;
  // Where the data of the tensor is from now on.
  double WriteData(Napi::Env env, const RunResult::Tensor& tensor,
                   Napi::Array* array);

  Napi::FunctionReference adopt_;
  Napi::Reference<Napi::ArrayBuffer> buffer_;
  double* words_ = nullptr;
  uint8_t* bytes_ = nullptr;
  size_t num_words_ = 0;
  size_t words_written_ = 0;
  size_t bytes_written_ = 0;
};

}  // namespace aspired::binding

#endif  // ASPIRED_BINDING_ONNX_EXCHANGE_H_
