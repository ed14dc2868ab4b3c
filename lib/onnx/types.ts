// The public types of the ONNX engine.
import type { LoadContext } from '../types.js';

/** Element types that tensors may have, spelled as onnxruntime-common spells them. */
export type OnnxTensorType =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'int8'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'uint8'
  | 'uint16'
  | 'uint32'
  | 'uint64'
  | 'bool'
  | 'string';

/**
 * What a tensor holds: the typed array of its type (`Uint8Array` for bool; for float16 `Float16Array` where JavaScript
 * has it and `Uint16Array` elsewhere), or an array of strings.
 */
export type OnnxTensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | readonly string[];

/** What a run takes: a `Tensor` of onnxruntime-common, or any object with these fields. */
export interface OnnxTensorLike {
  /** An {@link OnnxTensorType}. */
  readonly type: string;
  readonly data: unknown;
  /** Sizes, outermost first; empty for a scalar. */
  readonly dims: readonly number[];
}

/** What a run answers: a `Tensor` of onnxruntime-common where that package is installed. */
export interface OnnxTensor extends OnnxTensorLike {
  readonly type: OnnxTensorType;
  readonly data: OnnxTensorData;
  /** Number of elements. */
  readonly size: number;
}

/** Feeds of a run: one tensor for each input, by its name. */
export type OnnxFeeds = Readonly<Record<string, OnnxTensorLike>>;

/** What a model says of one input or output. */
export interface OnnxValueMetadata {
  readonly name: string;
  /** False for sequences, maps and the like: they cannot be fed and are not answered. */
  readonly isTensor: boolean;
  /** Element type; `undefined` (the word) when it is no tensor. Types that cannot be fed keep their ONNX name. */
  readonly type: string;
  /** Sizes; a free one is its symbol, or -1 when it has none. Empty for scalars and where the model gives no shape. */
  readonly dims: readonly (number | string)[];
}

/** Options of {@link OnnxServable.runSync}. */
export interface OnnxRunSyncOptions {
  /** Names of the outputs to compute. @default every output that is a tensor */
  readonly outputs?: readonly string[] | undefined;
}

/** Options of {@link OnnxServable.run}. */
export interface OnnxRunOptions extends OnnxRunSyncOptions {
  /** Stops the run. The promise rejects with its reason at once; the runtime stops at its next operator. */
  readonly signal?: AbortSignal | undefined;
  /**
   * The run may read the data of the feeds where it is, while it runs, instead of copying it when it is called. You
   * promise that until the promise settles nobody writes to, transfers, shrinks or detaches the buffers: a buffer that is
   * transferred away can be freed under the run. Saves the copy of large inputs. Data in a SharedArrayBuffer, which
   * cannot go away, is always read where it is; data in a resizable ArrayBuffer is always copied.
   * @default false
   */
  readonly borrow?: boolean | undefined;
}

/** A loaded model. */
export interface OnnxServable {
  /** What the model takes, in its own order. */
  readonly inputs: readonly OnnxValueMetadata[];
  /** What the model gives, in its own order. */
  readonly outputs: readonly OnnxValueMetadata[];
  /** Path of the model file. */
  readonly path: string;
  /**
   * Runs the model on the inference threads. Costs the event loop a few microseconds, whatever the model costs. The feeds
   * are read before it returns (see `borrow`), so they may be changed right after.
   *
   * Rejects with ERR_INVALID_INPUT (a wrong name, type or shape; nothing ran), ERR_OVERLOADED (`maxQueue` runs wait),
   * ERR_RUN_FAILED, ERR_SERVABLE_UNLOADED, or the reason of `signal`.
   */
  run(feeds: OnnxFeeds, options?: OnnxRunOptions): Promise<Record<string, OnnxTensor>>;
  /**
   * Runs the model on the calling thread and blocks it. For models that take less than about 50 microseconds this is
   * faster than a trip to another thread. Inputs are never copied when they are large.
   *
   * @throws AspiredError ERR_INVALID_INPUT, ERR_RUN_FAILED, ERR_SERVABLE_UNLOADED.
   */
  runSync(feeds: OnnxFeeds, options?: OnnxRunSyncOptions): Record<string, OnnxTensor>;
}

/** An execution provider by its name, or with options for it. */
export type OnnxExecutionProvider =
  | string
  | {
      /** `cpu`, `cuda`, `webgpu`, `coreml`, `dml`, `xnnpack`, or another name that the runtime knows. */
      readonly name: string;
      /**
       * Passed to the provider as they are. `cuda` on a GPU that the manager accounts also gets `device_id` and
       * `gpu_mem_limit` of what is reserved for the model, where they are not given here.
       */
      readonly options?: Readonly<Record<string, string>>;
    };

/** Options of `onnxLoader`. */
export interface OnnxLoaderOptions {
  /** In order of preference; what none of them can do runs on the CPU. @default ['cpu'] */
  readonly executionProviders?: readonly OnnxExecutionProvider[];
  /**
   * Threads inside one run. With 1 a model has no thread of its own; more than 1 gives each model a pool, which never
   * spins. Minimum: 1. @default 1
   */
  readonly intraOpNumThreads?: number;
  /** Threads across the operators of one run. Minimum: 1. @default 1 */
  readonly interOpNumThreads?: number;
  /** How much the runtime rewrites the model while it loads. @default 'all' */
  readonly graphOptimizationLevel?: 'disabled' | 'basic' | 'extended' | 'all';
  /** Keep freed memory of runs for later runs of the model. @default true */
  readonly enableCpuMemArena?: boolean;
  /** Further session settings of ONNX Runtime, by its own keys. */
  readonly sessionConfig?: Readonly<Record<string, string>>;
  /**
   * Runs that the engine makes on the load thread before the load is over, so that the first request is not the first
   * run. A run that fails makes the load fail with ERR_WARMUP_FAILED. Data is copied when the load begins.
   */
  readonly warmupInputs?: readonly OnnxFeeds[];
  /** A warm-up or validation of your own: it runs in JavaScript, before the version becomes Available. */
  readonly warmup?: (servable: OnnxServable, context: LoadContext) => void | Promise<void>;
  /**
   * Path of the ONNX Runtime library (libonnxruntime.so.1, libonnxruntime.dylib, onnxruntime.dll), 1.17 or later.
   * @default the one that onnxruntime-node brings
   */
  readonly runtimePath?: string;
  /** How many runs of this model may wait or be on; one more is refused with ERR_OVERLOADED. Minimum: 1. @default 1024 */
  readonly maxQueue?: number;
}
