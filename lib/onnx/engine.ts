// The engine of one isolate: the runs, loads and unloads that are on, by number, and how their ends come back.
import { isMainThread } from 'node:worker_threads';
import type { AspiredErrorCode } from '../error-codes.js';
import { AspiredError } from '../errors.js';
import { checkInteger } from '../options.js';
import { adopt, beginAnswers, readAnswer, readWord, setReserve } from './exchange.js';
import {
  type NativeEngine,
  type NativeFailure,
  type NativeLoadRequest,
  type NativeSession,
  nativeOnnx,
} from './native.js';
import type { TensorConstructor } from './tensor.js';
import type { OnnxTensor } from './types.js';

/** How long an exiting process waits for runs and loads that were told to stop. */
const EXIT_WAIT_MS = 2000;

/** A failure of the native side as an error with the stack of here. */
export function toError(failure: NativeFailure): AspiredError {
  const options = failure.cause ? { cause: toError(failure.cause) } : {};
  return new AspiredError(failure.code as AspiredErrorCode, failure.message, options);
}

/** A run that is on. */
export interface PendingRun {
  readonly outputNames: readonly string[];
  readonly tensorClass: TensorConstructor;
  readonly resolve: (answer: Record<string, OnnxTensor>) => void;
  readonly reject: (reason: unknown) => void;
  /** Memory that the run may read where it is; kept from the collector until the run is over. */
  readonly keep: readonly unknown[] | undefined;
  /** Called once when the run is over, before its promise settles. */
  readonly done: (() => void) | undefined;
}

interface PendingLoad {
  readonly resolve: (session: NativeSession) => void;
  readonly reject: (error: AspiredError) => void;
}

const runs: (PendingRun | undefined)[] = [];
const freeIds: number[] = [];
const loads = new Map<number, PendingLoad>();
const unloads = new Map<number, () => void>();
let nextId = 1;
let flushing = false;
let attached: NativeEngine | undefined;

function engine(): NativeEngine {
  if (attached) return attached;
  attached = nativeOnnx.attach({ adopt, onRuns, onLoad, onUnload });
  setReserve(attached.reserve);
  // Code of the runtime must not be running when the process takes its memory down. A worker's end is seen to by the
  // addon.
  if (isMainThread) process.once('exit', () => nativeOnnx.shutdown(EXIT_WAIT_MS));
  return attached;
}

/** A number for a run that is about to be submitted; {@link addRun} or {@link returnRunId} must follow. */
export function takeRunId(): number {
  return freeIds.pop() ?? runs.push(undefined) - 1;
}

export function returnRunId(id: number): void {
  freeIds.push(id);
}

/** A run that the native side took. Runs of one turn go to the threads together. */
export function addRun(id: number, run: PendingRun): void {
  runs[id] = run;
  if (flushing) return;
  flushing = true;
  queueMicrotask(flush);
}

function flush(): void {
  flushing = false;
  engine().flush();
}

export function cancelRun(id: number): void {
  engine().cancelRun(id);
}

function onRuns(data: readonly unknown[] | undefined): void {
  beginAnswers();
  for (let count = readWord(); count > 0; count--) {
    const id = readWord();
    const run = runs[id] as PendingRun;
    runs[id] = undefined;
    freeIds.push(id);
    if (run.done) run.done();
    const tensors = readWord();
    if (tensors < 0) run.reject(toError(data?.[readWord()] as NativeFailure));
    else resolveRun(run, tensors, data);
  }
}

function resolveRun(run: PendingRun, tensors: number, data: readonly unknown[] | undefined): void {
  try {
    run.resolve(readAnswer(tensors, run.outputNames, run.tensorClass, data));
  } catch (error) {
    run.reject(error);
  }
}

/**
 * Loads a model on a thread of `executor`, or on the engine's own when that is undefined. Settles when the thread is done
 * with the load, also after `signal` fired: then it rejects with ERR_LOAD_CANCELLED and the memory is free again.
 */
export function loadSession(
  request: NativeLoadRequest,
  executor: unknown,
  signal: AbortSignal | undefined,
): Promise<NativeSession> {
  const id = nextId++;
  const cancel = (): void => engine().cancelLoad(id);
  return new Promise<NativeSession>((resolve, reject) => {
    const refused = engine().load(id, request, executor);
    if (refused) {
      reject(toError(refused));
      return;
    }
    loads.set(id, { resolve, reject });
    signal?.addEventListener('abort', cancel, { once: true });
  }).finally(() => signal?.removeEventListener('abort', cancel));
}

/** A session that another thread loaded; undefined when `shared` is not of a session. */
export function adoptSession(shared: unknown): (NativeSession & { readonly path: string }) | undefined {
  return engine().adoptSession(shared);
}

function onLoad(id: number, session: NativeSession | undefined, failure: NativeFailure | undefined): void {
  const load = loads.get(id) as PendingLoad;
  loads.delete(id);
  if (session) load.resolve(session);
  else load.reject(toError(failure as NativeFailure));
}

/** Resolves when the runs that are on have ended and the memory of the model was given back to the system. */
export function unloadSession(session: NativeSession, executor: unknown): Promise<void> {
  return new Promise((resolve) => {
    const id = nextId++;
    unloads.set(id, resolve);
    session.unload(id, executor);
  });
}

function onUnload(id: number): void {
  const resolve = unloads.get(id);
  unloads.delete(id);
  resolve?.();
}

/**
 * Sets how many threads run models with {@link OnnxServable.run}, for the whole process.
 *
 * @param count Minimum: 1. The default is the number of cores.
 * @throws AspiredError ERR_INVALID_ARGUMENT.
 */
export function setNumInferenceThreads(count: number): void {
  nativeOnnx.setNumInferenceThreads(checkInteger('count', count, 1, 1, 1024));
}

/** What the inference threads of the process are doing. */
export interface InferenceStats {
  readonly numThreads: number;
  /** Runs that wait for a thread. */
  readonly queued: number;
  /** Runs that are on. */
  readonly running: number;
  /** Runs that have ended since the process began. */
  readonly completed: number;
}

/** The inference threads of the process, as they are now. */
export function getInferenceStats(): InferenceStats {
  return nativeOnnx.inferenceStats();
}
