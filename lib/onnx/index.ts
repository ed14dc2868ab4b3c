// The ONNX engine's part of the public API.
export { getInferenceStats, type InferenceStats, setNumInferenceThreads } from './engine.js';
export { onnxLoader } from './loader.js';
export type {
  OnnxExecutionProvider,
  OnnxFeeds,
  OnnxLoaderOptions,
  OnnxRunOptions,
  OnnxRunSyncOptions,
  OnnxServable,
  OnnxTensor,
  OnnxTensorData,
  OnnxTensorLike,
  OnnxTensorType,
  OnnxValueMetadata,
} from './types.js';
