// Runs JavaScript loaders when the core says so, and tells it how they came out, exactly once per request.
//
// A loader may throw, reject, resolve with undefined, settle twice, or never. Never: after a cancel (or loadTimeoutMs)
// it has cancelGraceMs to settle; then the attempt is given up, the slot is free again, and whatever it may still bring
// is unloaded. It still takes memory: its reservation is free when it has settled and that unload has returned.
import { AspiredError, type AspiredErrorCode, messageOf } from '../errors.js';
import type { NativeAllocation, NativeManager, NativeStatus } from '../native/binding.js';
import type { ResourceAllocation } from '../resources/types.js';
import type { Loader, ServableId } from '../types.js';
import { Attempt, AttemptContext, kNumGpus, kUnloadThreads } from './load-context.js';
import { isThenable, nameOf, wrapError } from './load-errors.js';
import type { ManagerSettings } from './manager-options.js';
import { type Registry, VersionEntry } from './registry.js';
import { shareableOf } from './shareable.js';

/** Who asks for loads, and hears how they came out. */
export type LoaderHost = Pick<
  NativeManager,
  'estimateDone' | 'loadDone' | 'loadOver' | 'unloadDone' | 'getLoadThreads' | 'getUnloadThreads'
>;

/** What is known in JavaScript of one loader of the core. */
class LoaderRecord {
  entry: VersionEntry | undefined = undefined;
  attempt: Attempt | undefined = undefined;
  /** The last failure, which a status of the core refers to by the token. */
  error: AspiredError | undefined = undefined;

  constructor(
    readonly id: ServableId,
    readonly loader: Loader | undefined,
  ) {}
}

export class LoaderRunner {
  private readonly records = new Map<number, LoaderRecord>();
  private nextToken = 1;
  private nextGivenUp = 1;
  private loadThreads: unknown;
  private unloadThreads: unknown;

  constructor(
    private readonly native: () => LoaderHost,
    private readonly registry: Registry,
    private readonly settings: ManagerSettings,
    private readonly report: (error: AspiredError) => void,
  ) {}

  /** Registers a loader, or the error of a source, and returns the token by which the core knows it. */
  register(id: ServableId, loader: Loader | undefined, error: AspiredError | undefined): number {
    const token = this.nextToken++;
    const record = new LoaderRecord(id, loader);
    record.error = error;
    this.records.set(token, record);
    return token;
  }

  /** The core needs the loader no more. */
  forget(token: number): ServableId | undefined {
    const id = this.records.get(token)?.id;
    this.records.delete(token);
    return id;
  }

  /** The core loads the servable of another token again, as a new one. */
  renew(token: number, of: number): void {
    const record = this.records.get(of);
    if (record) this.records.set(token, new LoaderRecord(record.id, record.loader));
  }

  /** Keeps an error for a status that the core will give the version. */
  blame(token: number, error: AspiredError): void {
    const record = this.records.get(token);
    if (record) record.error = error;
  }

  loaderOf(token: number): Loader | undefined {
    return this.records.get(token)?.loader;
  }

  entryOf(token: number): VersionEntry | undefined {
    return this.records.get(token)?.entry;
  }

  /** The error that a status of the core stands for. */
  errorOf(status: NativeStatus | undefined, id: ServableId): AspiredError | undefined {
    if (status === undefined) return undefined;
    const known = status.cause === 0 ? undefined : this.records.get(status.cause)?.error;
    return known?.code === status.code
      ? known
      : new AspiredError(status.code as AspiredError['code'], status.message, { servable: id });
  }

  // ---------------------------------------------------------------- estimating

  /** Asks the loader what its servable will take. */
  estimate(token: number): void {
    const record = this.records.get(token);
    const loader = record?.loader;
    if (!record || !loader?.estimateResources) return;
    const { devices, loadTimeoutMs } = this.settings;
    let settled = false;
    let timer: NodeJS.Timeout | undefined;
    const done = (estimate: unknown): void => {
      if (settled) return;
      let allocation: NativeAllocation;
      try {
        allocation = devices.toNative(estimate as ResourceAllocation);
      } catch (thrown) {
        failed(thrown);
        return;
      }
      settled = true;
      clearTimeout(timer);
      this.native().estimateDone(token, allocation, undefined, '', 0, true);
    };
    const failed = (thrown: unknown): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      const error = wrapError('ERR_ESTIMATE_FAILED', 'Estimating', record.id, thrown);
      record.error = error;
      const retriable = this.isRetriable(error, record.id);
      this.native().estimateDone(token, undefined, error.code, error.message, token, retriable);
    };
    try {
      const estimate = (loader.estimateResources as (context: object) => unknown).call(loader, {
        [kNumGpus]: devices.numGpus,
      });
      if (!isThenable(estimate)) {
        done(estimate);
        return;
      }
      Promise.resolve(estimate).then(done, failed);
    } catch (thrown) {
      failed(thrown);
      return;
    }
    if (loadTimeoutMs === 0) return;
    timer = setTimeout(() => {
      const message = `Estimating ${nameOf(record.id)} took longer than loadTimeoutMs (${loadTimeoutMs} ms).`;
      failed(new AspiredError('ERR_LOAD_TIMEOUT', message, { servable: record.id }));
    }, loadTimeoutMs);
    timer.unref();
  }

  // ------------------------------------------------------------------ loading

  load(token: number, request: number | readonly [attempt: number, reserved: NativeAllocation]): void {
    const record = this.records.get(token);
    const loader = record?.loader;
    if (!record || !loader) return;
    const context = new AttemptContext(
      record.id,
      typeof request === 'number' ? request : request[0],
      typeof request === 'number' ? undefined : this.settings.devices.toReservation(request[1]),
      () => (this.loadThreads ??= this.native().getLoadThreads()),
    );
    const attempt = new Attempt(context);
    record.attempt = attempt;
    const { loadTimeoutMs, preLoadHook } = this.settings;
    if (loadTimeoutMs > 0) {
      attempt.timer = setTimeout(() => {
        const message = `Loading ${nameOf(record.id)} took longer than loadTimeoutMs (${loadTimeoutMs} ms).`;
        this.giveUpSoon(token, record, attempt, new AspiredError('ERR_LOAD_TIMEOUT', message, { servable: record.id }));
      }, loadTimeoutMs);
      attempt.timer.unref();
    }
    // The short way, without a promise, for loaders that are synchronous and have nothing beside load().
    if (!preLoadHook && !loader.warmup && !loader.validate && !this.settings.servables.validateOf(record.id.name)) {
      try {
        const servable = loader.load(context);
        if (isThenable(servable)) {
          // Promise.resolve: a thenable of one's own may settle more than once.
          Promise.resolve(servable).then(
            (value) => this.succeeded(token, record, attempt, value),
            (error: unknown) => this.failed(token, record, attempt, error),
          );
        } else {
          this.succeeded(token, record, attempt, servable);
        }
      } catch (error) {
        this.failed(token, record, attempt, error);
      }
      return;
    }
    this.loadInSteps(record, loader, context).then(
      (value) => this.succeeded(token, record, attempt, value),
      (error: unknown) => this.failed(token, record, attempt, error),
    );
  }

  private async loadInSteps(record: LoaderRecord, loader: Loader, context: AttemptContext): Promise<unknown> {
    await this.settings.preLoadHook?.(record.id);
    if (context.aborted) throw context.signal.reason;
    const servable = await loader.load(context);
    if (servable === undefined) return servable;
    try {
      await this.prepare(loader, servable, context);
    } catch (error) {
      await this.discard(loader, servable, record.id);
      throw error;
    }
    return servable;
  }

  /** What comes between load() and Available; throws when the servable must not become Available. */
  private async prepare(loader: Loader, servable: unknown, context: AttemptContext): Promise<void> {
    const { id } = context;
    const step = async (run: () => unknown, code: AspiredErrorCode, what: string): Promise<void> => {
      if (context.aborted) throw context.signal.reason;
      try {
        if ((await run()) === false && code === 'ERR_VALIDATION_FAILED') throw new Error('it returned false');
      } catch (error) {
        // A loader may warm up by an operation whose own code says more; a refusal is always a refusal.
        if (context.aborted || (code === 'ERR_WARMUP_FAILED' && error instanceof AspiredError)) throw error;
        const message = `The ${what} of ${nameOf(id)} failed: ${messageOf(error)}`;
        throw new AspiredError(code, message, { cause: error, servable: id });
      }
    };
    if (loader.warmup) await step(() => loader.warmup?.(servable, context), 'ERR_WARMUP_FAILED', 'warm-up');
    if (loader.validate) await step(() => loader.validate?.(servable, context), 'ERR_VALIDATION_FAILED', 'validation');
    // Asked for now: it may have been changed while the version was loading.
    const validate = this.settings.servables.validateOf(id.name);
    if (validate) await step(() => validate(servable, context), 'ERR_VALIDATION_FAILED', 'validation');
  }

  /** Cancels the attempt under way. */
  cancel(token: number): void {
    const record = this.records.get(token);
    if (!record?.attempt) return;
    const message = `${nameOf(record.id)} was dropped while it was loading.`;
    this.giveUpSoon(
      token,
      record,
      record.attempt,
      new AspiredError('ERR_LOAD_CANCELLED', message, { servable: record.id }),
    );
  }

  // Tells the loader, and gives it a moment to come back by itself.
  private giveUpSoon(token: number, record: LoaderRecord, attempt: Attempt, verdict: AspiredError): void {
    if (attempt.settled) return;
    attempt.verdict ??= verdict;
    clearTimeout(attempt.timer);
    attempt.timer = setTimeout(() => {
      attempt.givenUp = this.nextGivenUp++;
      this.finish(token, record, attempt, attempt.verdict);
    }, this.settings.cancelGraceMs);
    attempt.timer.unref();
    attempt.context.abort(verdict);
  }

  private succeeded(token: number, record: LoaderRecord, attempt: Attempt, servable: unknown): void {
    if (attempt.settled) {
      // Given up before: nobody waits for it any more.
      if (servable === undefined || !record.loader) this.over(attempt);
      else void this.discard(record.loader, servable, record.id).then(() => this.over(attempt));
      return;
    }
    if (servable === undefined) {
      this.failed(token, record, attempt, new TypeError('load() returned undefined instead of a servable'));
      return;
    }
    if (attempt.verdict?.code === 'ERR_LOAD_TIMEOUT' && record.loader) {
      // It has its memory until that has returned, or the grace is over.
      const unloaded = this.discard(record.loader, servable, record.id);
      void unloaded.then(() => {
        this.finish(token, record, attempt, attempt.verdict);
        this.over(attempt);
      });
      return;
    }
    record.entry = new VersionEntry(this.registry, record.id, token, servable);
    record.error = undefined;
    this.finish(token, record, attempt, undefined);
  }

  private failed(token: number, record: LoaderRecord, attempt: Attempt, thrown: unknown): void {
    if (attempt.settled) {
      this.over(attempt);
      return;
    }
    this.finish(token, record, attempt, attempt.verdict ?? wrapError('ERR_LOAD_FAILED', 'Loading', record.id, thrown));
  }

  private finish(token: number, record: LoaderRecord, attempt: Attempt, error: AspiredError | undefined): void {
    if (attempt.settled) return;
    attempt.settled = true;
    clearTimeout(attempt.timer);
    record.attempt = undefined;
    if (!error) {
      this.native().loadDone(token, undefined, '', 0, true, shareableOf(record.entry?.servable));
      return;
    }
    record.error = error;
    const retriable = this.isRetriable(error, record.id);
    this.native().loadDone(token, error.code, error.message, token, retriable, undefined, attempt.givenUp);
  }

  // An attempt that may have been given up holds nothing any more.
  private over(attempt: Attempt): void {
    if (attempt.givenUp === undefined) return;
    this.native().loadOver(attempt.givenUp);
    attempt.givenUp = undefined;
  }

  private isRetriable(error: AspiredError, id: ServableId): boolean {
    if (!this.settings.shouldRetryModelLoad) return true;
    try {
      return this.settings.shouldRetryModelLoad(error, id) !== false;
    } catch (thrown) {
      const message = `shouldRetryModelLoad threw for ${nameOf(id)}: ${messageOf(thrown)}`;
      this.report(new AspiredError('ERR_INVALID_ARGUMENT', message, { cause: thrown, servable: id }));
      return true;
    }
  }

  /** The manager is closed: what an attempt under way may still bring is unloaded, and nobody is told. */
  abandonAll(): void {
    for (const { attempt } of this.records.values()) {
      if (!attempt) continue;
      attempt.settled = true;
      clearTimeout(attempt.timer);
    }
  }

  // ---------------------------------------------------------------- unloading

  unload(token: number): void {
    const record = this.records.get(token);
    const entry = record?.entry;
    if (!record || !entry) {
      this.native().unloadDone(token, undefined, '', 0);
      return;
    }
    const servable = entry.servable;
    entry.servable = undefined;
    record.entry = undefined;
    let done = false;
    let timer: NodeJS.Timeout | undefined;
    const finish = (problem: string | undefined, thrown?: unknown): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      if (problem === undefined) {
        this.native().unloadDone(token, undefined, '', 0);
        return;
      }
      record.error = new AspiredError('ERR_UNLOAD_FAILED', `The unload of ${nameOf(record.id)} ${problem}`, {
        cause: thrown,
        servable: record.id,
      });
      this.native().unloadDone(token, record.error.code, record.error.message, token);
    };
    const { unloadTimeoutMs } = this.settings;
    if (unloadTimeoutMs > 0) {
      timer = setTimeout(() => finish(`took longer than unloadTimeoutMs (${unloadTimeoutMs} ms).`), unloadTimeoutMs);
      timer.unref();
    }
    const failed = (thrown: unknown): void => finish(`failed: ${messageOf(thrown)}`, thrown);
    try {
      const result = this.callUnload(record.loader, servable);
      if (isThenable(result)) Promise.resolve(result).then(() => finish(undefined), failed);
      else finish(undefined);
    } catch (thrown) {
      failed(thrown);
    }
  }

  // The second argument is for our own native loaders; it is no part of the contract of Loader.
  private callUnload(loader: Loader | undefined, servable: unknown): unknown {
    if (!loader?.unload) return undefined;
    const unload = loader.unload as (servable: unknown, extra: object) => unknown;
    const threads = (): unknown => (this.unloadThreads ??= this.native().getUnloadThreads());
    return unload.call(loader, servable, {
      get [kUnloadThreads]() {
        return threads();
      },
    });
  }

  /** Unloads what never became a version. */
  private async discard(loader: Loader, servable: unknown, id: ServableId): Promise<void> {
    try {
      await loader.unload?.(servable);
    } catch (thrown) {
      const message = `The unload of ${nameOf(id)}, which was never visible, failed: ${messageOf(thrown)}`;
      this.report(new AspiredError('ERR_UNLOAD_FAILED', message, { cause: thrown, servable: id }));
    }
  }
}
