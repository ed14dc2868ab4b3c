#include "binding/onnx_tensor.h"

#include <cstring>

#include "engine/tensor_type.h"

namespace aspired::binding {
namespace {

Status Invalid(const char* message) {
  return Status(ErrorCode::kInvalidInput, message);
}

size_t SizeOfElement(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return 1;
    case napi_int16_array:
    case napi_uint16_array:
      return 2;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array:
      return 4;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array:
      return 8;
    default:
      return 0;
  }
}

// A shared pointer to the bytes would not help: JavaScript may still write to
// them. So they are copied.
Status ReadOwnedTensor(Napi::Env env, int type, Napi::Array dims,
                       Napi::Value data, OwnedTensor* out) {
  out->type = type;
  for (uint32_t i = 0; i < dims.Length(); ++i) {
    out->dims.push_back(dims.Get(i).ToNumber().DoubleValue());
  }
  if (type == static_cast<int>(TensorType::kString)) {
    return ReadStrings(env, data, &out->strings);
  }
  const void* from = nullptr;
  Status status = ReadTypedArray(env, data, &from, &out->byte_length);
  if (!status.ok()) return status;
  out->words.resize((out->byte_length + 7) / 8);
  if (out->byte_length > 0) {
    std::memcpy(out->words.data(), from, out->byte_length);
  }
  return status;
}

}  // namespace

Status ReadTypedArray(napi_env env, napi_value value, const void** data,
                      size_t* byte_length) {
  napi_typedarray_type type{};
  size_t length = 0;
  void* memory = nullptr;
  // The array's buffer is not asked for: it would cost a handle.
  if (napi_get_typedarray_info(env, value, &type, &length, &memory, nullptr,
                               nullptr) != napi_ok ||
      SizeOfElement(type) == 0) {
    return Invalid("The data of a tensor is not a typed array.");
  }
  *data = memory;
  *byte_length = length * SizeOfElement(type);
  return Status::Ok();
}

Status ReadStrings(napi_env env, napi_value value,
                   std::vector<std::string>* out) {
  const Napi::Value given(env, value);
  if (!given.IsArray()) {
    return Invalid("The data of a string tensor is not an array of strings.");
  }
  const auto array = given.As<Napi::Array>();
  const uint32_t length = array.Length();
  out->reserve(length);
  for (uint32_t i = 0; i < length; ++i) {
    const Napi::Value item = array.Get(i);
    if (!item.IsString()) {
      return Invalid("The data of a string tensor is not an array of strings.");
    }
    out->push_back(item.As<Napi::String>().Utf8Value());
  }
  return Status::Ok();
}

Status ReadOwnedFeeds(Napi::Object feeds, OwnedFeeds* out) {
  const auto names = feeds.Get("names").As<Napi::Array>();
  const auto types = feeds.Get("types").As<Napi::Array>();
  const auto dims = feeds.Get("dims").As<Napi::Array>();
  const auto data = feeds.Get("data").As<Napi::Array>();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    out->names.push_back(names.Get(i).ToString().Utf8Value());
    out->tensors.emplace_back();
    const int type = types.Get(i).ToNumber().Int32Value();
    if (Status status =
            ReadOwnedTensor(feeds.Env(), type, dims.Get(i).As<Napi::Array>(),
                            data.Get(i), &out->tensors.back());
        !status.ok()) {
      return status;
    }
  }
  return Status::Ok();
}

Napi::Value MakeStrings(Napi::Env env, std::span<const std::string> strings) {
  auto array = Napi::Array::New(env, strings.size());
  for (uint32_t i = 0; i < strings.size(); ++i) {
    array.Set(i, Napi::String::New(env, strings[i]));
  }
  return array;
}

Napi::Value MakeArrayBuffer(Napi::Env env, const void* data,
                            size_t byte_length) {
  auto buffer = Napi::ArrayBuffer::New(env, byte_length);
  std::memcpy(buffer.Data(), data, byte_length);
  return buffer;
}

Napi::Array MakeValueInfos(Napi::Env env, std::span<const ValueInfo> infos) {
  auto array = Napi::Array::New(env, infos.size());
  for (uint32_t i = 0; i < infos.size(); ++i) {
    const ValueInfo& info = infos[i];
    auto dims = Napi::Array::New(env, info.dims.size());
    for (uint32_t d = 0; d < info.dims.size(); ++d) {
      if (info.dims[d] < 0 && !info.symbols[d].empty()) {
        dims.Set(d, Napi::String::New(env, info.symbols[d]));
      } else {
        dims.Set(d, Napi::Number::New(env, static_cast<double>(info.dims[d])));
      }
    }
    auto object = Napi::Object::New(env);
    object.Set("name", info.name);
    object.Set("isTensor", info.is_tensor);
    object.Set("typeCode", info.type);
    object.Set("type", std::string(TensorTypeName(info.type)));
    object.Set("dims", dims);
    array.Set(i, object);
  }
  return array;
}

Napi::Value MakeFailure(Napi::Env env, const Status& status) {
  auto failure = Napi::Object::New(env);
  failure.Set("code", std::string(ErrorCodeName(status.code())));
  failure.Set("message", std::string(status.message()));
  return failure;
}

}  // namespace aspired::binding
