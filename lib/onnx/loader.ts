// onnxLoader: versions of ONNX models for a manager.
import { AspiredError } from '../errors.js';
import { invalidOption } from '../options.js';
import type { ResourceAllocation } from '../resources/types.js';
import type { LoadContext, Loader } from '../types.js';
import { arenaLimit, withCudaReservation } from './cuda-provider.js';
import { loadSession } from './engine.js';
import { estimateMemory } from './model-memory.js';
import { modelBytes, resolveModel } from './model-path.js';
import { type CheckedOptions, checkLoaderOptions, toWarmup } from './options.js';
import { findRuntime } from './runtime.js';
import { NativeOnnxServable } from './servable.js';
import type { OnnxLoaderOptions, OnnxServable } from './types.js';

/** Where a manager puts its threads, as opaque native values: into the load context, into the second argument of unload. */
const LOAD_THREADS = Symbol.for('aspired.loadThreads');
const UNLOAD_THREADS = Symbol.for('aspired.unloadThreads');
/** How many GPUs the manager accounts: in the argument of estimateResources. */
const NUM_GPUS = Symbol.for('aspired.numGpus');

/**
 * Device memory of the CUDA execution provider: the weights, and what its context and libraries take. NOT measured: no GPU
 * was at hand. The reservation without the latter also limits the provider's arena, and what was really taken corrects the next
 * estimate.
 */
const DEVICE_MEMORY_PER_BYTE = 1.2;
const DEVICE_MEMORY_BASE = 512 * 2 ** 20;

function threadsIn(context: unknown, key: symbol): unknown {
  return (context as Record<symbol, unknown> | undefined)?.[key];
}

async function deviceMemoryOfWeights(path: string): Promise<number> {
  return Math.ceil((await modelBytes(path)) * DEVICE_MEMORY_PER_BYTE);
}

// What the user has set it to.
function deviceOf(cuda: CheckedOptions['request']['executionProviders'][number]): number | undefined {
  const given = cuda.options.find(([key]) => key === 'device_id')?.[1];
  return given === undefined ? undefined : Number(given);
}

// The CUDA provider goes to the device that was reserved, and no further than that. A reservation that was not made from our
// estimate may be of several devices.
async function providersFor(
  providers: CheckedOptions['request']['executionProviders'],
  context: LoadContext | undefined,
  path: string,
): Promise<CheckedOptions['request']['executionProviders']> {
  const cuda = providers.find(({ name }) => name === 'cuda');
  const gpus = context?.reservation?.cuda ?? [];
  const gpu = gpus.find(({ ordinal }) => cuda && ordinal === deviceOf(cuda)) ?? gpus[0];
  if (!gpu || !cuda) return providers;
  const bytes = arenaLimit(gpu.memory, DEVICE_MEMORY_BASE, await deviceMemoryOfWeights(path));
  return withCudaReservation(providers, { device: gpu.ordinal, bytes });
}

/**
 * A loader for one version of an ONNX model: made on the load threads of the manager, given back to the system on its
 * unload threads; called by hand it uses a thread of the engine. Needs the library that onnxruntime-node brings, and looks
 * for it only when a model is loaded.
 *
 * `load` rejects with ERR_MODEL_NOT_FOUND, ERR_MODEL_UNREADABLE, ERR_MODEL_INVALID, ERR_ONNX_RUNTIME_NOT_FOUND,
 * ERR_ONNX_RUNTIME_UNSUPPORTED, ERR_WARMUP_FAILED, ERR_INVALID_ARGUMENT (an option that the runtime refuses), or, when its
 * signal fires, with the signal's reason as soon as the runtime has let go of the model.
 *
 * @param path A .onnx file, or a directory that holds `model.onnx` or exactly one .onnx file.
 * @throws AspiredError ERR_INVALID_ARGUMENT or ERR_UNKNOWN_OPTION, at once.
 */
export function onnxLoader(path: string, options: OnnxLoaderOptions = {}): Loader<OnnxServable> {
  if (typeof path !== 'string' || path === '') throw invalidOption('path', 'a non-empty string', path);
  const { warmup, ...checked } = checkLoaderOptions(options);

  async function load(context: LoadContext): Promise<OnnxServable> {
    const signal = (context as LoadContext | undefined)?.signal;
    signal?.throwIfAborted();
    const runtimePath = findRuntime(checked.runtimePath);
    const modelPath = await resolveModel(path);
    const warmups = checked.warmupInputs.map(toWarmup);
    const executionProviders = await providersFor(checked.request.executionProviders, context, path);
    signal?.throwIfAborted();
    try {
      const request = { ...checked.request, executionProviders, runtimePath, modelPath, warmups };
      const session = await loadSession(request, threadsIn(context, LOAD_THREADS), signal);
      return new NativeOnnxServable(session, modelPath);
    } catch (error) {
      if (signal?.aborted && error instanceof AspiredError && error.code === 'ERR_LOAD_CANCELLED') throw signal.reason;
      throw error;
    }
  }

  async function estimateResources(context?: unknown): Promise<ResourceAllocation> {
    const ram = await estimateMemory(path);
    const cuda = checked.request.executionProviders.find(({ name }) => name === 'cuda');
    // Where no GPU is accounted there is nothing to reserve.
    if (!cuda || !(Number(threadsIn(context, NUM_GPUS)) > 0)) return { ram };
    const device = deviceOf(cuda);
    const memory = (await deviceMemoryOfWeights(path)) + DEVICE_MEMORY_BASE;
    return { ram, cuda: [device === undefined ? { memory } : { device, memory }] };
  }

  async function unload(servable: OnnxServable, context?: unknown): Promise<void> {
    if (!(servable instanceof NativeOnnxServable)) throw invalidOption('servable', 'what load() answered', servable);
    await servable.unload(threadsIn(context, UNLOAD_THREADS));
  }

  return { estimateResources, load, unload, ...(warmup === undefined ? {} : { warmup }) };
}
