// Loaders that write down what is done with them, and loaders that are worked by hand.
import assert from 'node:assert/strict';
import type { AspiredVersion, LoadContext, Loader } from 'aspired';
import { deadline } from './deadline.js';

/** A synchronous loader that counts, and checks that what is loaded and unloaded is bracketed. */
export class CountingLoader<T = number> implements Loader<T> {
  loads = 0;
  unloads = 0;

  constructor(readonly value: T) {}

  load(_context: LoadContext): T {
    assert.equal(this.unloads, 0, 'load() after unload()');
    this.loads++;
    return this.value;
  }

  unload(servable: T): void {
    assert.equal(servable, this.value, 'unload() of another servable');
    assert.ok(this.unloads < this.loads, 'unload() without a load');
    this.unloads++;
  }
}

/** A loader whose first `failures` attempts fail; the default: all of them. */
export class FailingLoader extends CountingLoader<number> {
  attempts = 0;

  constructor(
    version: number,
    readonly error: unknown = new Error('no such weights'),
    readonly failures = Number.POSITIVE_INFINITY,
  ) {
    super(version);
  }

  override load(context: LoadContext): number {
    if (++this.attempts <= this.failures) throw this.error;
    return super.load(context);
  }
}

/** A call that was made and waits for its answer. */
export class PendingCall<T> {
  readonly promise: Promise<T>;
  succeed!: (value: T) => void;
  fail!: (error: unknown) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.succeed = resolve;
      this.fail = reject;
    });
  }
}

/** One load attempt of a {@link ManualLoader}. */
export class ManualAttempt<T> extends PendingCall<T> {
  constructor(readonly context: LoadContext) {
    super();
  }
}

class Calls<C> {
  readonly list: C[] = [];
  private waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(private readonly what: string) {}

  add(call: C): C {
    this.list.push(call);
    for (const { count, resolve } of this.waiting) if (this.list.length >= count) resolve();
    this.waiting = this.waiting.filter(({ count }) => this.list.length < count);
    return call;
  }

  async nth(count: number): Promise<C> {
    if (this.list.length < count) {
      await deadline(
        new Promise<void>((resolve) => this.waiting.push({ count, resolve })),
        `${this.what} ${count} (there were ${this.list.length})`,
      );
    }
    return this.list[count - 1] as C;
  }
}

export interface ManualLoaderOptions {
  /** unload() waits to be answered. Default: it is done at once. */
  readonly manualUnload?: boolean;
  /** Pays no attention to its signal. Default: an attempt rejects with the reason of the abort. */
  readonly deaf?: boolean;
}

/** A loader whose attempts are answered by the test. */
export class ManualLoader<T = number> implements Loader<T> {
  private readonly loadCalls = new Calls<ManualAttempt<T>>('load attempt');
  private readonly unloadCalls = new Calls<PendingCall<void>>('unload');

  constructor(private readonly options: ManualLoaderOptions = {}) {}

  /** Attempts that have begun. */
  get loads(): number {
    return this.loadCalls.list.length;
  }

  /** Unloads that have begun. */
  get unloads(): number {
    return this.unloadCalls.list.length;
  }

  load(context: LoadContext): Promise<T> {
    const attempt = this.loadCalls.add(new ManualAttempt<T>(context));
    if (!this.options.deaf) context.signal.addEventListener('abort', () => attempt.fail(context.signal.reason));
    return attempt.promise;
  }

  unload(_servable: T): void | Promise<void> {
    const call = this.unloadCalls.add(new PendingCall<void>());
    return this.options.manualUnload ? call.promise : undefined;
  }

  /** The nth attempt, when it has begun. */
  loading(n = 1): Promise<ManualAttempt<T>> {
    return this.loadCalls.nth(n);
  }

  /** The nth unload, when it has begun. */
  unloading(n = 1): Promise<PendingCall<void>> {
    return this.unloadCalls.nth(n);
  }
}

/** A list of versions with counting loaders of their own. */
export function counted(...versions: number[]): AspiredVersion<number>[] {
  return versions.map((version) => ({ version, loader: new CountingLoader(version) }));
}

/** A list of one. */
export function one<T>(version: number, loader: Loader<T>): AspiredVersion<T>[] {
  return [{ version, loader }];
}
