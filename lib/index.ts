/**
 * aspired: promotes and rolls back model versions inside a Node.js process without losing a request.
 * @packageDocumentation
 */
export { ERROR_CODES } from './error-codes.js';
export { AspiredError, type AspiredErrorCode, type CanonicalStatus } from './errors.js';
export { AttachedVersionsManager, type AttachOptions } from './manager/attached.js';
export type { BakeOptions } from './manager/bake-options.js';
export type { BakeFigures, BakeReport } from './manager/bakes.js';
export { ServableHandle } from './manager/handle.js';
export { AspiredVersionsManager, type CloseResult } from './manager/manager.js';
export type { AspiredVersionsManagerOptions } from './manager/manager-options.js';
export type { ThreadStats } from './manager/manager-view.js';
export { type LatencySummary, type MetricsSnapshot, mergeSnapshots, summarize } from './manager/metrics.js';
export type { ServableMetrics } from './manager/servable-reader.js';
export type { EventStream } from './monitor/event-stream.js';
export * from './onnx/index.js';
export { AvailabilityPreservingPolicy, ResourcePreservingPolicy } from './policies/built-in.js';
export type { Bytes } from './resources/bytes.js';
export {
  type CudaAbsence,
  type CudaDevice,
  type CudaInfo,
  type CudaOptions,
  getCudaDevices,
} from './resources/cuda.js';
export type * from './resources/types.js';
export * from './sources/index.js';
export type * from './types.js';
