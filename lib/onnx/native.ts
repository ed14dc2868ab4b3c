// What the native engine exports (native/binding/onnx_register.h, onnx_session_wrap.h).
import { native } from '../native/binding.js';
import type { OnnxValueMetadata } from './types.js';

/** An error on its way to TypeScript. */
export interface NativeFailure {
  readonly code: string;
  readonly message: string;
  readonly cause?: NativeFailure;
}

export interface NativeValueInfo extends OnnxValueMetadata {
  readonly typeCode: number;
}

/** The functions of one session. Requests and answers go through the exchange. */
export interface NativeSession {
  readonly inputs: readonly NativeValueInfo[];
  readonly outputs: readonly NativeValueInfo[];
  /** Nothing, the data that did not go into the exchange, or a failure. */
  runSync(...args: unknown[]): undefined | readonly unknown[] | NativeFailure;
  submit(id: number, ...args: unknown[]): undefined | NativeFailure;
  checkNames(names: readonly string[]): undefined | NativeFailure;
  unknownOutput(name: string): NativeFailure;
  /** The end comes as onUnload(id). */
  unload(id: number, executor: unknown): void;
  /** An opaque value of which another thread makes the same session: see adoptSession. */
  share(path: string): unknown;
}

export interface NativeWarmup {
  readonly names: readonly string[];
  readonly types: readonly number[];
  readonly dims: readonly (readonly number[])[];
  readonly data: readonly unknown[];
}

export interface NativeLoadRequest {
  readonly runtimePath: string;
  readonly modelPath: string;
  readonly intraOpNumThreads: number;
  readonly interOpNumThreads: number;
  readonly graphOptimizationLevel: number;
  readonly enableCpuMemArena: boolean;
  readonly sessionConfig: readonly (readonly [string, string])[];
  readonly executionProviders: readonly {
    readonly name: string;
    readonly options: readonly (readonly [string, string])[];
  }[];
  readonly warmups: readonly NativeWarmup[];
  readonly maxQueue: number;
}

export interface NativeCallbacks {
  adopt(buffer: ArrayBuffer, numWords: number): void;
  onRuns(data: readonly unknown[] | undefined): void;
  onLoad(id: number, session: NativeSession | undefined, failure: NativeFailure | undefined): void;
  onUnload(id: number): void;
}

export interface NativeInferenceStats {
  readonly numThreads: number;
  readonly queued: number;
  readonly running: number;
  readonly completed: number;
}

export interface NativeEngine {
  load(id: number, request: NativeLoadRequest, executor: unknown): undefined | NativeFailure;
  cancelLoad(id: number): void;
  flush(): void;
  cancelRun(id: number): void;
  /** A session that another thread loaded and shared; undefined when the value is none. */
  adoptSession(shared: unknown): (NativeSession & { readonly path: string }) | undefined;
  /** Makes room for so many words in the exchange; calls adopt() when it must be a new one. */
  reserve(words: number): void;
}

export interface NativeOnnx {
  attach(callbacks: NativeCallbacks): NativeEngine;
  setNumInferenceThreads(count: number): void;
  inferenceStats(): NativeInferenceStats;
  shutdown(waitMs: number): boolean;
}

/** The engine's part of the addon. */
export const nativeOnnx: NativeOnnx = (native as unknown as { readonly onnx: NativeOnnx }).onnx;
