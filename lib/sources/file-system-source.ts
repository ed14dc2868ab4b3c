import { AspiredError } from '../errors.js';
import { checkBoolean, checkFunction, checkKeys, checkSignal } from '../options.js';
import type { AspiredVersionsTarget } from '../types.js';
import { checkTarget } from './adapters.js';
import { Connection, deliver } from './connection.js';
import {
  type CheckedOptions,
  type CheckedServable,
  checkFileSystemSourceConfig,
  checkFileSystemSourceOptions,
  type FileSystemSourceConfig,
  type FileSystemSourceOptions,
} from './file-system-options.js';
import { Limiter } from './limiter.js';
import { LoaderStage } from './loader-stage.js';
import { type PollerContext, type PollerOutlet, ServablePoller, type ServablePollResult } from './servable-poller.js';
import type { LoaderFactory, SourceConnection, SourceItem, SourceTarget } from './source.js';

/** What a source knows of one servable; before its first poll only the configuration. */
export interface FileSystemServableStatus extends ServablePollResult {
  /** When its last poll ended, in milliseconds since the epoch. */
  readonly lastPollAt?: number;
  /** The system tells of changes in the base path, so that a new version does not wait for the next poll. */
  readonly watching: boolean;
}

/** Options of {@link FileSystemSource.poll}. */
export interface PollOptions {
  /** Push the lists also when the target has them already, with new loaders. @default false */
  readonly force?: boolean | undefined;
  /** Ends the wait, not the poll. */
  readonly signal?: AbortSignal | undefined;
}

interface Live {
  readonly connection: SourceConnection;
  readonly outlet: PollerOutlet;
  cancelTick: () => void;
}

/**
 * Aspires to the versions that it finds as directories below a base path per servable: `models/mnist/7`.
 *
 * A list is pushed only when it differs from the last one the target took: another version, another path, or content
 * that changed in place, which is another `digest`. Polling therefore never disturbs the manager's retries. Every servable is polled on its own:
 * one bad base path, or a target that throws, holds back only itself. No source problem unloads anything; what a list
 * leaves out on purpose is unloaded.
 *
 * All file access is asynchronous. Timers and watches do not keep the process alive.
 */
export class FileSystemSource {
  readonly #options: CheckedOptions;
  readonly #context: PollerContext;
  #pollers: ReadonlyMap<string, ServablePoller>;
  #live: Live | undefined;

  /** Nothing is read before `connect` or `poll`. Throws ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION, ERR_INVALID_NAME. */
  constructor(options: FileSystemSourceOptions) {
    const checked = checkFileSystemSourceOptions(options);
    this.#options = checked;
    this.#context = {
      clock: checked.clock,
      limiter: new Limiter(checked.maxConcurrentScans),
      hashing: new Limiter(1),
      readiness: checked.readiness,
      scanTimeoutMs: checked.scanTimeoutMs,
      servableVersionsAlwaysPresent: checked.servableVersionsAlwaysPresent,
      watch: checked.watch && checked.pollIntervalMs > 0,
      outlet: () => this.#live?.outlet,
      report: (name, error) => this.#report(name, error),
    };
    this.#pollers = this.#pollersFor(checked.servables);
  }

  /**
   * Starts to poll and to push what is found to `target`, with a loader that `factory` makes of each version. A loader
   * that cannot be made is the error of its version, and is tried again by later polls after a growing pause.
   *
   * Without a factory the target gets the paths: an adapter or a router that leads to loaders.
   *
   * One connection at a time (ERR_SOURCE_CONNECTED). It ends when it is disposed, and when the target closes.
   */
  connect<T>(target: AspiredVersionsTarget<T>, factory: LoaderFactory<T>): SourceConnection;
  connect(target: SourceTarget<SourceItem<string>>): SourceConnection;
  connect<T>(
    target: AspiredVersionsTarget<T> | SourceTarget<SourceItem<string>>,
    factory?: LoaderFactory<T>,
  ): SourceConnection {
    checkTarget('target', target);
    checkFunction('factory', factory);
    if (this.#live !== undefined) {
      throw new AspiredError('ERR_SOURCE_CONNECTED', 'The source is connected already; dispose its connection first.');
    }
    const connection = new Connection(target as SourceTarget<unknown>, () => this.#disconnected(connection));
    const outlet = outletOf(connection, factory, this.#options);
    this.#live = { connection, outlet, cancelTick: () => {} };
    connection.open();
    for (const poller of this.#pollers.values()) void poller.poll({ force: false, contents: true });
    this.#scheduleTick();
    return connection;
  }

  /**
   * Takes another configuration: checked first, applied at once. A servable that is not in it is un-aspired now; one
   * that is new or changed is polled now, also with `pollIntervalMs: 0`, and what is served of it stays until its new
   * list is there. Throws, with nothing changed, when the configuration is not valid.
   *
   * Resolves with the polls of what is new or changed; never rejects.
   */
  updateConfig(config: FileSystemSourceConfig): Promise<readonly ServablePollResult[]> {
    const servables = checkFileSystemSourceConfig(config, this.#options.contentDigest);
    const before = this.#pollers;
    this.#pollers = this.#pollersFor(servables, before);
    for (const [name, poller] of before) {
      if (this.#pollers.get(name) === poller) continue;
      poller.retire();
      if (!this.#pollers.has(name)) this.#unaspire(name);
    }
    const changed = [...this.#pollers.values()].filter((poller) => before.get(poller.servable.name) !== poller);
    return Promise.all(changed.map((poller) => poller.poll({ force: false, contents: true })));
  }

  /**
   * Polls all servables now, and resolves with one result for each, in the order of the configuration, when the target
   * has the lists. Also works without a connection: it tells what is there. Rejects only when `signal` fires.
   */
  async poll(options: PollOptions = {}): Promise<readonly ServablePollResult[]> {
    checkKeys('poll', options, ['force', 'signal']);
    const force = checkBoolean('force', options.force, false);
    const signal = checkSignal('signal', options.signal);
    signal?.throwIfAborted();
    const polls = [...this.#pollers.values()].map((poller) => poller.poll({ force, contents: true }));
    return orAborted(Promise.all(polls), signal);
  }

  /** What is known of each servable, in the order of the configuration. */
  status(): readonly FileSystemServableStatus[] {
    return [...this.#pollers.values()].map((poller) => {
      const { name, basePath } = poller.servable;
      const last = poller.last ?? { name, basePath, versions: [], pushed: false, pending: [], problems: [] };
      const at = poller.lastPollAt;
      return { ...last, ...(at === undefined ? {} : { lastPollAt: at }), watching: poller.watching };
    });
  }

  /** Pollers of a configuration; one whose servable did not change goes on as it is. */
  #pollersFor(
    servables: readonly CheckedServable[],
    before: ReadonlyMap<string, ServablePoller> = new Map(),
  ): ReadonlyMap<string, ServablePoller> {
    return new Map(
      servables.map((servable) => {
        const previous = before.get(servable.name);
        const same = previous !== undefined && JSON.stringify(previous.servable) === JSON.stringify(servable);
        return [servable.name, same ? previous : new ServablePoller(servable, this.#context, previous)];
      }),
    );
  }

  #unaspire(name: string): void {
    const stage = this.#live?.outlet.stage;
    if (stage === undefined) return;
    const { error, pending } = deliver(name, () => stage.setAspiredVersions(name, []));
    if (error !== undefined && this.#live !== undefined) this.#report(name, error);
    void pending?.then((late) => late !== undefined && this.#live !== undefined && this.#report(name, late));
  }

  #scheduleTick(): void {
    const live = this.#live;
    if (live === undefined || this.#options.pollIntervalMs === 0) return;
    live.cancelTick = this.#options.clock.after(this.#options.pollIntervalMs, () => {
      if (this.#live !== live) return;
      for (const poller of this.#pollers.values()) poller.wake();
      this.#scheduleTick();
    });
  }

  #disconnected(connection: SourceConnection): void {
    const live = this.#live;
    if (live?.connection !== connection) return;
    this.#live = undefined;
    live.cancelTick();
    for (const poller of this.#pollers.values()) poller.disconnect();
  }

  #report(name: string, error: AspiredError): void {
    const { onError } = this.#options;
    if (onError === undefined) {
      process.emitWarning(error.message, { type: 'AspiredSourceWarning', code: error.code });
      return;
    }
    try {
      onError(error, { name });
    } catch (thrown) {
      // The callback's own fault must not end the polling; the process is told of it as of any uncaught error.
      queueMicrotask(() => {
        throw thrown;
      });
    }
  }
}

/** The stages between the pollers and the target. */
function outletOf<T>(
  connection: Connection<unknown>,
  factory: LoaderFactory<T> | undefined,
  { clock }: CheckedOptions,
): PollerOutlet {
  const closed = () => connection.closed;
  if (factory === undefined) return { stage: connection, closed, retryFailed: () => undefined, forget: () => {} };
  const stage = new LoaderStage<string, T>(connection, (path, id) => factory({ ...id, path }), clock);
  return {
    stage,
    closed,
    retryFailed: (name) => stage.retryFailed(name),
    forget: (name) => stage.forget(name),
  };
}

/** `work`, unless `signal` fires first. */
async function orAborted<R>(work: Promise<R>, signal: AbortSignal | undefined): Promise<R> {
  if (signal === undefined) return work;
  let abort = () => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
