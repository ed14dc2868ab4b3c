import { type AspiredError, messageOf } from '../errors.js';
import { EventStream } from '../monitor/event-stream.js';
import {
  harnessStates,
  Message,
  managerStates,
  type NativeManager,
  type NativeState,
  type NativeTransitionResult,
  native,
} from '../native/binding.js';
import { checkInteger, checkKeys, checkName, checkSignal } from '../options.js';
import type {
  AspiredVersion,
  AspiredVersionPolicyOption,
  AspiredVersionsOptions,
  AspiredVersionsTarget,
  HarnessState,
  ManagerState,
  ServableId,
  ServableRequest,
  ServableStateEvent,
  ServableVersionState,
  Transition,
} from '../types.js';
import { checkIntent, checkLabels, checkList, checkPrimary } from './aspired-list.js';
import { AttachableReader } from './attachable.js';
import { Decisions } from './decisions.js';
import { LoaderRunner } from './loader-runner.js';
import {
  type AspiredVersionsManagerOptions,
  checkManagerOptions,
  checkPolicy,
  MAX_THREADS,
  type ManagerSettings,
} from './manager-options.js';
import { Registry, type VersionEntry } from './registry.js';
import { Transitions } from './transitions.js';
import { Waits } from './waits.js';

/** Loads and unloads that wait for a thread or run on one. */
export interface ThreadStats {
  readonly threads: number;
  readonly queued: number;
  readonly running: number;
  readonly completed: number;
}

/** What close() had to leave behind. */
export interface CloseResult {
  /** Versions that were still held or busy at the deadline. Their servables were not unloaded. */
  readonly abandoned: readonly ServableId[];
}

/** A source that wants to end with the manager registers under this symbol. */
const kOnClose: unique symbol = Symbol.for('aspired.onClose') as never;

/**
 * Keeps what is loaded equal to what is aspired.
 *
 * Say which versions of a servable should live with {@link setAspiredVersions}; the manager brings them up, switches
 * readers over, drains and unloads the old ones, and keeps the last good one when a new one fails. Read through
 * {@link withServable} or {@link getServableHandle}; both are synchronous look-ups that never wait for a load.
 *
 * A manager belongs to the thread that made it; others read from it through {@link AspiredVersionsManager.attach}. It keeps the process alive only while something of it is awaited
 * (`transition.settled`, a wait, close()). End it with {@link close}.
 */
export class AspiredVersionsManager extends AttachableReader implements AspiredVersionsTarget, AsyncDisposable {
  private readonly settings: ManagerSettings;
  private readonly core: NativeManager;
  private readonly runner: LoaderRunner;
  private readonly decisions: Decisions;
  private readonly transitions: Transitions;
  private readonly waits: Waits;
  private readonly eventStreams = new Set<EventStream>();
  private readonly onClose = new Set<() => void>();
  private closing: Promise<CloseResult> | undefined;
  private onClosed: ((abandoned: readonly ServableId[]) => void) | undefined;

  /** @throws AspiredError ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION */
  constructor(options: AspiredVersionsManagerOptions = {}) {
    const checked = checkManagerOptions(options);
    super(
      new Registry((entry) => this.core.drained(entry.id.name, entry.id.version, entry.closing)),
      checked.settings.leakMask,
      checked.settings.metrics,
    );
    this.settings = checked.settings;
    const core = (): NativeManager => this.core;
    const report = (error: AspiredError): void => this.report(error);
    this.runner = new LoaderRunner(core, this.registry, this.settings, report);
    const errorOf = this.runner.errorOf.bind(this.runner);
    this.transitions = new Transitions(core, errorOf);
    this.waits = new Waits(core, errorOf);
    this.decisions = new Decisions(core, this.settings.policy, this.settings.customSortActions, report);
    this.core = new native.NativeManager(checked.native, (kind, a, b) => this.dispatch(kind, a, b));
  }

  // ------------------------------------------------------------------- intent

  /**
   * Replaces the aspired versions of `name`, at once and as a whole. A VERSION THAT IS NOT IN THE LIST IS UNLOADED; an
   * empty list unloads everything. A version that is resident or on its way stays, and its new loader is not used.
   *
   * @throws AspiredError ERR_INVALID_NAME, ERR_INVALID_VERSION, ERR_DUPLICATE_VERSION, ERR_INVALID_LOADER,
   *   ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION, ERR_MANAGER_CLOSED; nothing was changed then.
   */
  setAspiredVersions(name: string, versions: readonly AspiredVersion[], options?: AspiredVersionsOptions): Transition {
    this.checkOpen();
    checkName(name);
    const list = checkList(name, versions);
    const intent = checkIntent(options);
    const tokens = list.map(({ id, loader, error }) => this.runner.register(id, loader, error));
    if (intent.policy) this.decisions.setPolicy(name, intent.policy.custom);
    const numbers = list.map(({ id }) => id.version);
    const errors = list.some(({ error }) => error) ? list.map(({ error }) => error?.message) : undefined;
    const transition = this.core.setAspiredVersions(name, numbers, tokens, errors, intent.native);
    if (typeof transition !== 'number') throw this.runner.errorOf(transition, { name, version: 0 });
    this.registry.setIntent(
      name,
      numbers.sort((a, b) => a - b),
      intent.labels,
      intent.primary,
    );
    return this.transitions.add(transition, name);
  }

  /**
   * Replaces the labels of `name`, and its primary when given (null takes it away), atomically and without a load. A
   * label or primary may name a version that is not there yet.
   */
  setVersionLabels(
    name: string,
    labels: Readonly<Record<string, number>>,
    options: { readonly primary?: number | null } = {},
  ): void {
    this.checkOpen();
    checkName(name);
    checkKeys('options', options, ['primary']);
    const checkedLabels = checkLabels(labels);
    const primary = checkPrimary(options.primary);
    const status = this.core.setIntent(name, { labels: checkedLabels && [...checkedLabels], primary });
    if (status) throw this.runner.errorOf(status, { name, version: 0 });
    this.registry.setIntent(name, undefined, checkedLabels, primary);
  }

  /** Changes the policy of one servable, whoever sends its lists. It is asked anew at once. */
  setAspiredVersionPolicy(name: string, policy: AspiredVersionPolicyOption): void {
    this.checkOpen();
    checkName(name);
    const { number, custom } = checkPolicy('policy', policy);
    this.decisions.setPolicy(name, custom);
    const status = this.core.setIntent(name, { policy: number });
    if (status) throw this.runner.errorOf(status, { name, version: 0 });
  }

  // ------------------------------------------------------------------- watching

  /** Every managed version of `name`, highest first; empty when there is none. */
  getServableStates(name: string): ServableVersionState[] {
    this.checkOpen();
    const now = Date.now();
    const entries = new Map<number, VersionEntry>();
    for (const entry of this.registry.entriesOf(checkName(name))) entries.set(entry.id.version, entry);
    return this.core.getVersionStates(name).map((row) => {
      const [version, state, aspired, status, attempts, incarnation, retryInMs, degraded] = row;
      const id = { name, version };
      const error = this.runner.errorOf(status, id);
      return {
        id,
        state: harnessStates[state] as HarnessState,
        managerState: native.managerStateOf[state] as ManagerState,
        aspired,
        ...(error ? { error } : {}),
        attempts,
        incarnation,
        degraded,
        ...(retryInMs === undefined ? {} : { nextRetryAt: now + retryInMs }),
        leases: entries.get(version)?.leases ?? 0,
      };
    });
  }

  /** The names of all servables that have a managed version. */
  listServableNames(): string[] {
    this.checkOpen();
    return this.core.getServableNames();
  }

  /** Labels and primary as they were asked for. */
  getVersionLabels(name: string): { readonly labels: Record<string, number>; readonly primary: number | null } {
    this.checkOpen();
    const { labels, primary } = this.core.getIntent(checkName(name));
    return { labels: Object.fromEntries(labels), primary };
  }

  /**
   * Resolves with the ids when every request has come to `goal`; each counts from the moment it does. A request without a
   * version is met by any version of the servable. Rejects with ERR_SERVABLE_ENDED when a version ended instead, with the
   * signal's reason on abort, with ERR_MANAGER_CLOSED on close.
   */
  async waitUntilServablesReachState(
    requests: readonly ServableRequest[],
    goal: ManagerState,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<ServableId[]> {
    this.checkOpen();
    return this.waits.wait(requests, goal, options);
  }

  /**
   * The events of all versions from now on, strictly forward per incarnation. The buffer is bounded (`bufferSize`, 1024):
   * when it is full the oldest events are dropped and counted in `dropped`. Ends on close(); fails with the signal's
   * reason on abort.
   */
  events(options: { readonly signal?: AbortSignal; readonly bufferSize?: number } = {}): EventStream {
    this.checkOpen();
    checkKeys('options', options, ['signal', 'bufferSize']);
    const capacity = checkInteger('bufferSize', options.bufferSize, 1024, 1);
    const stream = new EventStream(capacity, checkSignal('signal', options.signal), (ended) => {
      this.eventStreams.delete(ended);
      if (this.eventStreams.size === 0 && !this.closed) this.core.subscribe(false);
    });
    if (!options.signal?.aborted) {
      this.eventStreams.add(stream);
      this.core.subscribe(true);
    }
    return stream;
  }

  /** The last events, oldest first; at most `maxLogEvents`. */
  getEventLog(): ServableStateEvent[] {
    this.checkOpen();
    return this.core.getEventLog().map((state) => this.eventOf(state));
  }

  private eventOf([version, state, status, incarnation, at, name]: NativeState): ServableStateEvent {
    const id = { name, version };
    const error = this.runner.errorOf(status, id);
    const managerState = managerStates[state] as ManagerState;
    return error ? { id, managerState, error, at, incarnation } : { id, managerState, at, incarnation };
  }

  /** Sizes and queues of the native pools. */
  stats(): { readonly managedVersions: number; readonly load: ThreadStats; readonly unload: ThreadStats } {
    this.checkOpen();
    const [managedVersions, ...pools] = this.core.getStats();
    const [load, unload] = pools.map(([threads, queued, running, completed]) => ({
      threads,
      queued,
      running,
      completed,
    }));
    return { managedVersions, load: load as ThreadStats, unload: unload as ThreadStats };
  }

  // ------------------------------------------------------------------- running

  /** Changes how many loads run at once, while they run. */
  setNumLoadThreads(count: number): void {
    this.checkOpen();
    this.core.setNumLoadThreads(checkInteger('count', count, Number.NaN, 0, MAX_THREADS));
  }

  /** Changes how many unloads run at once, while they run. */
  setNumUnloadThreads(count: number): void {
    this.checkOpen();
    this.core.setNumUnloadThreads(checkInteger('count', count, Number.NaN, 0, MAX_THREADS));
  }

  /**
   * One round of the manage-state loop on this thread, with everything that follows from it at once: for tests with
   * `manageStateIntervalMs: 0`. With a thread of its own the manager needs no help.
   */
  step(): void {
    this.checkOpen();
    this.core.step();
  }

  private dispatch(kind: number, a: unknown, b: unknown): void {
    switch (kind) {
      case Message.Load:
        this.runner.load(a as number, b as number);
        break;
      case Message.Cancel:
        this.runner.cancel(a as number);
        break;
      case Message.Unload:
        this.runner.unload(a as number);
        break;
      case Message.Release:
        this.runner.forget(a as number);
        break;
      case Message.Open:
        this.withEntry(a as number, (entry) => this.registry.open(entry));
        break;
      case Message.Close:
        this.withEntry(a as number, (entry) => this.registry.close(entry, b as number));
        break;
      case Message.Decide:
        this.decisions.decide(a as string[]);
        break;
      case Message.Settled:
        this.transitions.settle(a as number, b as NativeTransitionResult);
        break;
      case Message.Event:
        this.publish(this.eventOf(a as NativeState));
        break;
      case Message.WaitDone:
        this.waits.done(a as number, b as readonly [number, readonly NativeState[]]);
        break;
      case Message.Closed:
        this.onClosed?.((a as [string, number][]).map(([name, version]) => ({ name, version })));
        break;
    }
  }

  protected override share(token: string): void {
    this.core.share(token);
  }

  protected override counters(entry: VersionEntry): readonly (readonly [Float64Array, boolean])[] {
    return this.core.getCounters(entry.token);
  }

  private withEntry(token: number, use: (entry: VersionEntry) => void): void {
    const entry = this.runner.entryOf(token);
    if (entry) use(entry);
  }

  private publish(event: ServableStateEvent): void {
    for (const stream of this.eventStreams) stream.push(event);
  }

  private report(error: AspiredError): void {
    try {
      this.settings.onError(error);
    } catch (thrown) {
      process.emitWarning(`onError threw: ${messageOf(thrown)}`, { type: 'AspiredWarning' });
    }
  }

  // ------------------------------------------------------------------- closing

  /**
   * Ends the manager: stops its sources, cancels loads and retries, lets readers drain for `drainTimeoutMs` (10,000),
   * unloads everything, joins the threads. Nothing can be acquired from the call on. Resolves with what was still held or
   * busy at the deadline and so was not unloaded. A second call returns the same promise.
   */
  close(options: { readonly drainTimeoutMs?: number } = {}): Promise<CloseResult> {
    if (this.closing) return this.closing;
    checkKeys('options', options, ['drainTimeoutMs']);
    const drainTimeoutMs = checkInteger('drainTimeoutMs', options.drainTimeoutMs, 10_000, 0, 2 ** 31 - 1);
    this.closed = true;
    for (const end of [...this.onClose]) end();
    this.registry.shut();
    this.core.ref();
    this.closing = new Promise((resolve) => {
      this.onClosed = (abandoned) => {
        for (const stream of [...this.eventStreams]) stream.end();
        this.runner.abandonAll();
        this.core.unref();
        this.core.join();
        resolve({ abandoned });
      };
    });
    this.core.close(drainTimeoutMs);
    if (this.settings.manageStateIntervalMs === 0) this.crankUntilClosed();
    return this.closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal Sources end with the manager; returns the way to unregister. */
  [kOnClose](end: () => void): () => void {
    this.checkOpen();
    this.onClose.add(end);
    return () => this.onClose.delete(end);
  }

  // Without a thread nobody else turns the crank while readers drain.
  private crankUntilClosed(): void {
    const timer = setInterval(() => this.core.step(), 1);
    const stop = (): void => clearInterval(timer);
    void this.closing?.then(stop, stop);
  }
}
