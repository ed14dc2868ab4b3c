// Checks the options of onnxLoader and turns them into what the native side takes.

import { AspiredError } from '../errors.js';
import { checkBoolean, checkFunction, checkInteger, checkKeys, describe, invalidOption } from '../options.js';
import { elementTypes } from './element-types.js';
import type { NativeLoadRequest, NativeWarmup } from './native.js';
import type { OnnxLoaderOptions, OnnxTensorLike } from './types.js';

const KEYS = [
  'executionProviders',
  'intraOpNumThreads',
  'interOpNumThreads',
  'graphOptimizationLevel',
  'enableCpuMemArena',
  'sessionConfig',
  'warmupInputs',
  'warmup',
  'runtimePath',
  'maxQueue',
] as const;

/** GraphOptimizationLevel of the runtime. */
const LEVELS: Readonly<Record<string, number>> = { disabled: 0, basic: 1, extended: 2, all: 99 };

/** Names that the runtime spells in its own way. */
const PROVIDER_NAMES: Readonly<Record<string, string>> = {
  coreml: 'CoreML',
  cpu: 'cpu',
  cuda: 'cuda',
  dml: 'DML',
  openvino: 'OpenVINO',
  qnn: 'QNN',
  webgpu: 'WebGPU',
  xnnpack: 'XNNPACK',
};

const DEFAULT_MAX_QUEUE = 1024;
const MAX_THREADS = 1024;

/** Options that hold for every load of a loader. */
export interface CheckedOptions {
  readonly runtimePath: string | undefined;
  readonly warmup: OnnxLoaderOptions['warmup'];
  readonly request: Omit<NativeLoadRequest, 'runtimePath' | 'modelPath' | 'warmups'>;
  readonly warmupInputs: readonly Readonly<Record<string, OnnxTensorLike>>[];
}

function checkString(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw invalidOption(name, 'a non-empty string', value);
  return value;
}

function checkArray(name: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidOption(name, 'an array', value);
  return value;
}

function checkEntries(name: string, value: unknown): [string, string][] {
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidOption(name, 'an object of strings', value);
  }
  return Object.entries(value).map(([key, text]: [string, unknown]) => {
    if (typeof text !== 'string') throw invalidOption(`${name}.${key}`, 'a string', text);
    return [key, text];
  });
}

function checkProviders(value: unknown): NativeLoadRequest['executionProviders'] {
  if (value === undefined) return [];
  return checkArray('executionProviders', value).map((provider, i) => {
    const where = `executionProviders[${i}]`;
    if (typeof provider !== 'string') checkKeys(where, provider, ['name', 'options']);
    const { name, options } = typeof provider === 'string' ? { name: provider, options: undefined } : provider;
    const given = checkString(typeof provider === 'string' ? where : `${where}.name`, name);
    return {
      name: PROVIDER_NAMES[given.toLowerCase()] ?? given,
      options: checkEntries(`${where}.options`, options),
    };
  });
}

function checkLevel(value: unknown): number {
  if (value === undefined) return LEVELS.all as number;
  const level = typeof value === 'string' && Object.hasOwn(LEVELS, value) ? LEVELS[value] : undefined;
  if (level === undefined) {
    throw invalidOption('graphOptimizationLevel', `one of ${Object.keys(LEVELS).join(', ')}`, value);
  }
  return level;
}

function checkWarmupInputs(value: unknown): CheckedOptions['warmupInputs'] {
  if (value === undefined) return [];
  return checkArray('warmupInputs', value).map((feeds, i) => {
    if (typeof feeds !== 'object' || feeds === null || Array.isArray(feeds)) {
      throw invalidOption(`warmupInputs[${i}]`, 'an object of tensors', feeds);
    }
    return feeds as Readonly<Record<string, OnnxTensorLike>>;
  });
}

/**
 * @throws AspiredError ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION.
 */
export function checkLoaderOptions(options: OnnxLoaderOptions): CheckedOptions {
  checkKeys('options', options, KEYS);
  const given: OnnxLoaderOptions = options;
  return {
    runtimePath: given.runtimePath === undefined ? undefined : checkString('runtimePath', given.runtimePath),
    warmup: checkFunction('warmup', given.warmup),
    warmupInputs: checkWarmupInputs(given.warmupInputs),
    request: {
      intraOpNumThreads: checkInteger('intraOpNumThreads', given.intraOpNumThreads, 1, 1, MAX_THREADS),
      interOpNumThreads: checkInteger('interOpNumThreads', given.interOpNumThreads, 1, 1, MAX_THREADS),
      graphOptimizationLevel: checkLevel(given.graphOptimizationLevel),
      enableCpuMemArena: checkBoolean('enableCpuMemArena', given.enableCpuMemArena, true),
      sessionConfig: checkEntries('sessionConfig', given.sessionConfig),
      executionProviders: checkProviders(given.executionProviders),
      maxQueue: checkInteger('maxQueue', given.maxQueue, DEFAULT_MAX_QUEUE, 1, 2 ** 30),
    },
  };
}

/** Warm-up feeds for the native side, which copies their data. Names and shapes are checked there, against the model. */
export function toWarmup(feeds: Readonly<Record<string, OnnxTensorLike>>, index: number): NativeWarmup {
  const entries = Object.entries(feeds);
  const bad = (name: string, problem: string): AspiredError =>
    new AspiredError('ERR_WARMUP_FAILED', `warmupInputs[${index}] failed: Input "${name}" ${problem}`);
  return {
    names: entries.map(([name]) => name),
    types: entries.map(([name, tensor]) => {
      const code = elementTypes.get(tensor?.type)?.code;
      if (code === undefined) throw bad(name, `is not a tensor but ${describe(tensor)}.`);
      return code;
    }),
    dims: entries.map(([name, { dims }]) => {
      if (!Array.isArray(dims)) throw bad(name, `has dims ${describe(dims)}; dims are an array of sizes.`);
      return dims.map(Number);
    }),
    data: entries.map(([name, { type, data }]) => {
      const accepts = elementTypes.get(type)?.accepts ?? [];
      const tag = Array.isArray(data) ? 'Array' : Object.prototype.toString.call(data).slice('[object '.length, -1);
      if (!accepts.includes(tag)) throw bad(name, `has data ${describe(data)}; ${type} takes ${accepts.join(' or ')}.`);
      if (tag !== 'Float16Array') return data;
      const { buffer, byteOffset, byteLength } = data as ArrayBufferView;
      return new Uint16Array(buffer, byteOffset, byteLength / Uint16Array.BYTES_PER_ELEMENT);
    }),
  };
}
