// A loaded model.
import { AspiredError } from '../errors.js';
import { checkBoolean, checkKeys, checkSignal, describe } from '../options.js';
import { type ElementType, elementTypes } from './element-types.js';
import { addRun, cancelRun, returnRunId, takeRunId, toError, unloadSession } from './engine.js';
import { type Borrow, beginAnswers, beginRequest, readAnswer, readWord, writeFeed, writeOutput } from './exchange.js';
import type { NativeFailure, NativeSession } from './native.js';
import { defaultTensorClass, type TensorConstructor, tensorClassFor } from './tensor.js';
import type {
  OnnxFeeds,
  OnnxRunOptions,
  OnnxRunSyncOptions,
  OnnxServable,
  OnnxTensor,
  OnnxTensorLike,
  OnnxValueMetadata,
} from './types.js';

interface Input {
  readonly name: string;
  readonly type: ElementType | undefined;
}

/** Under this symbol a servable gives away what another thread makes its own of; see lib/manager/shareable.ts. */
const SHARED: unique symbol = Symbol.for('aspired.shared') as never;

type Settle = (value: unknown) => void;

function metadataOf({ name, isTensor, type, dims }: OnnxValueMetadata): OnnxValueMetadata {
  return Object.freeze({ name, isTensor, type, dims: Object.freeze([...dims]) });
}

/** The one implementation of {@link OnnxServable}. */
export class NativeOnnxServable implements OnnxServable {
  readonly inputs: readonly OnnxValueMetadata[];
  readonly outputs: readonly OnnxValueMetadata[];
  readonly path: string;
  readonly #session: NativeSession;
  readonly #expected: readonly Input[];
  readonly #outputNames: readonly string[];
  readonly #outputIndexes: ReadonlyMap<string, number>;
  readonly #defaultTensorClass: TensorConstructor;
  readonly #isOwner: boolean;
  #unloaded: Promise<void> | undefined;

  /** `isOwner`: false when another thread loaded the session and will unload it. */
  constructor(session: NativeSession, path: string, isOwner = true) {
    this.#session = session;
    this.#isOwner = isOwner;
    this.path = path;
    this.inputs = Object.freeze(session.inputs.map(metadataOf));
    this.outputs = Object.freeze(session.outputs.map(metadataOf));
    this.#expected = session.inputs.map(({ name, type }) => ({ name, type: elementTypes.get(type) }));
    this.#outputNames = session.outputs.map(({ name }) => name);
    this.#outputIndexes = new Map(
      session.outputs.flatMap(({ name, isTensor }, i) => (isTensor ? [[name, i] as const] : [])),
    );
    this.#defaultTensorClass = defaultTensorClass();
  }

  /** Runs on the calling thread. */
  runSync(feeds: OnnxFeeds, options?: OnnxRunSyncOptions): Record<string, OnnxTensor> {
    this.#checkLoaded();
    const outputs = options?.outputs;
    if (options !== undefined) checkKeys('options', options, ['outputs']);
    const args: unknown[] = [];
    const tensorClass = this.#writeRequest(feeds, outputs, 'never', args);
    const result = args.length === 0 ? this.#session.runSync() : this.#session.runSync(...args);
    if (result !== undefined && !Array.isArray(result)) throw toError(result as NativeFailure);
    beginAnswers();
    return readAnswer(readWord(), this.#outputNames, tensorClass, result as readonly unknown[] | undefined);
  }

  /** Runs on the inference threads. */
  run(feeds: OnnxFeeds, options?: OnnxRunOptions): Promise<Record<string, OnnxTensor>> {
    return new Promise((resolve, reject) => {
      this.#submit(feeds, options, resolve as Settle, reject);
    });
  }

  #submit(feeds: OnnxFeeds, options: OnnxRunOptions | undefined, resolve: Settle, reject: Settle): void {
    this.#checkLoaded();
    let signal: AbortSignal | undefined;
    let borrow: Borrow = 'shared';
    const outputs = options?.outputs;
    if (options !== undefined) {
      checkKeys('options', options, ['outputs', 'signal', 'borrow']);
      signal = checkSignal('signal', options.signal);
      if (checkBoolean('borrow', options.borrow, false)) borrow = 'always';
      if (signal?.aborted) throw signal.reason;
    }
    const args: unknown[] = [];
    const tensorClass = this.#writeRequest(feeds, outputs, borrow, args);
    const id = takeRunId();
    const failure = args.length === 0 ? this.#session.submit(id) : this.#session.submit(id, ...args);
    if (failure) {
      returnRunId(id);
      throw toError(failure);
    }
    addRun(id, {
      outputNames: this.#outputNames,
      tensorClass,
      resolve,
      reject,
      keep: args,
      done: signal && cancelOn(signal, id, reject),
    });
  }

  /** Ends the use of the model; the second call answers what the first did. Not part of the servable's contract. */
  unload(executor: unknown): Promise<void> {
    this.#unloaded ??= this.#isOwner ? unloadSession(this.#session, executor) : Promise.resolve();
    return this.#unloaded;
  }

  get [SHARED](): unknown {
    return this.#session.share(this.path);
  }

  #checkLoaded(): void {
    if (this.#unloaded === undefined) return;
    throw new AspiredError('ERR_SERVABLE_UNLOADED', `The model ${this.path} was unloaded; it cannot run any more.`);
  }

  // Returns the class of the answer.
  #writeRequest(
    feeds: OnnxFeeds,
    outputs: readonly string[] | undefined,
    borrow: Borrow,
    args: unknown[],
  ): TensorConstructor {
    const expected = this.#expected;
    if (typeof feeds !== 'object' || feeds === null) {
      throw new AspiredError(
        'ERR_INVALID_INPUT',
        `Expected an object of tensors as feeds, but received ${describe(feeds)}.`,
      );
    }
    const indexes = outputs === undefined ? undefined : this.#indexesOf(outputs);
    let count = 0;
    for (const _ in feeds) count++;
    if (count !== expected.length) this.#throwBadNames(feeds);
    beginRequest(count, indexes?.length ?? 0);
    let tensorClass: TensorConstructor | undefined;
    for (let i = 0; i < expected.length; i++) {
      const { name, type } = expected[i] as Input;
      const feed = feeds[name] as OnnxTensorLike;
      if (feed === undefined) this.#throwBadNames(feeds);
      writeFeed(i, name, feed, type, borrow, args);
      if (i === 0) tensorClass = tensorClassFor(feed);
    }
    if (indexes) for (const index of indexes) writeOutput(index);
    return tensorClass ?? this.#defaultTensorClass;
  }

  #throwBadNames(feeds: OnnxFeeds): never {
    const names = Object.keys(feeds).filter((name) => feeds[name] !== undefined);
    const failure = this.#session.checkNames(names);
    if (failure) throw toError(failure);
    throw new AspiredError('ERR_INVALID_INPUT', 'The feeds name inputs that they do not own, or hold undefined.');
  }

  #indexesOf(outputs: readonly string[]): number[] {
    if (!Array.isArray(outputs) || outputs.length === 0) {
      throw new AspiredError(
        'ERR_INVALID_ARGUMENT',
        `Expected a non-empty array of names for option outputs, but received ${describe(outputs)}.`,
      );
    }
    return [...new Set(outputs)].map((name) => {
      const index = this.#outputIndexes.get(name);
      if (index === undefined) throw toError(this.#session.unknownOutput(String(name)));
      return index;
    });
  }
}

// Cancels the run when the signal fires; the answer takes the listener away.
function cancelOn(signal: AbortSignal, id: number, reject: Settle): () => void {
  const onAbort = (): void => {
    reject(signal.reason);
    cancelRun(id);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  return () => signal.removeEventListener('abort', onAbort);
}
