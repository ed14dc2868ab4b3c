import { type AspiredError, messageOf } from '../errors.js';
import {
  Message,
  type NativeAllocation,
  type NativeBake,
  type NativeManager,
  type NativeState,
  type NativeTransitionResult,
  native,
} from '../native/binding.js';
import { checkInteger, checkKeys, checkName, invalidOption } from '../options.js';
import type { Devices } from '../resources/devices.js';
import type { CudaLimit, ResourcesOptions } from '../resources/types.js';
import type {
  AspiredVersion,
  AspiredVersionPolicyOption,
  AspiredVersionsOptions,
  AspiredVersionsTarget,
  ServableId,
  ServableOptions,
  ServableStateEvent,
  Transition,
} from '../types.js';
import { checkIntent, checkLabels, checkList, checkPrimary } from './aspired-list.js';
import { Decisions } from './decisions.js';
import { Health } from './health.js';
import { LoaderRunner } from './loader-runner.js';
import {
  type AspiredVersionsManagerOptions,
  checkManagerOptions,
  MAX_THREADS,
  type ManagerSettings,
} from './manager-options.js';
import { ManagerView } from './manager-view.js';
import { Registry, type VersionEntry } from './registry.js';
import { type CheckedServableOptions, checkServableOptions, SERVABLE_KEYS } from './servable-options.js';
import { Transitions } from './transitions.js';
import { Waits } from './waits.js';

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
 * A manager belongs to the thread that made it; others read from it through {@link AspiredVersionsManager.attach}. It keeps
 * the process alive only while something of it is awaited (`transition.settled`, a wait, close()). End it with {@link close}.
 */
export class AspiredVersionsManager extends ManagerView implements AspiredVersionsTarget, AsyncDisposable {
  private readonly settings: ManagerSettings;
  protected readonly core: NativeManager;
  protected readonly runner: LoaderRunner;
  protected readonly waits: Waits;
  protected readonly health: Health;
  protected readonly devices: Devices;
  private readonly decisions: Decisions;
  private readonly transitions: Transitions;
  private readonly onClose = new Set<() => void>();
  private closing: Promise<CloseResult> | undefined;
  private onClosed: ((abandoned: readonly ServableId[]) => void) | undefined;

  /** @throws AspiredError ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION */
  constructor(options: AspiredVersionsManagerOptions = {}) {
    const checked = checkManagerOptions(options);
    super(
      new Registry(
        (entry) => this.core.drained(entry.id.name, entry.id.version, entry.closing),
        undefined,
        (entry) => this.health.switched(entry),
      ),
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
    this.devices = this.settings.devices;
    this.health = new Health({
      native: core,
      runner: this.runner,
      registry: this.registry,
      servables: this.settings.servables,
      metricsOf: (id) => this.metricsOf(id),
      snapshotOf: (entry) => this.snapshotOf(entry),
      report,
    });
    this.core = new native.NativeManager(checked.native, (kind, a, b) => this.dispatch(kind, a, b));
    if (this.settings.footprints) this.core.importFootprints(this.settings.footprints);
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
    if (intent) this.applyLocally(name, intent);
    const flags = this.health.flagsOf(name, list);
    const tokens = list.map(({ id, loader, error }) => this.runner.register(id, loader, error));
    const numbers = list.map(({ id }) => id.version);
    const errors = list.some(({ error }) => error) ? list.map(({ error }) => error?.message) : undefined;
    const transition = this.core.setAspiredVersions(name, numbers, tokens, flags, errors, intent?.native);
    if (typeof transition !== 'number') throw this.runner.errorOf(transition, { name, version: 0 });
    this.health.switching(name, numbers);
    this.registry.setIntent(
      name,
      numbers.sort((a, b) => a - b),
      intent?.labels,
      intent?.primary,
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
    this.setServableOptions(name, { aspiredVersionPolicy: policy });
  }

  /**
   * Changes what is said of one servable, whoever sends its lists; what is not given stays. Holds for what begins from now
   * on: a load that waits keeps its priority, a bake its limits.
   *
   * @throws AspiredError ERR_INVALID_NAME, ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION, ERR_MANAGER_CLOSED
   */
  setServableOptions(name: string, options: ServableOptions): void {
    this.checkOpen();
    checkName(name);
    checkKeys('options', options, SERVABLE_KEYS);
    const checked = checkServableOptions(options);
    this.applyLocally(name, checked);
    const status = this.core.setIntent(name, checked.native);
    if (status) throw this.runner.errorOf(status, { name, version: 0 });
  }

  private applyLocally(name: string, { policy, local }: Pick<CheckedServableOptions, 'policy' | 'local'>): void {
    if (local.bake && !this.settings.metrics) {
      throw invalidOption('bake', 'none where the manager has metrics: false', local.bake);
    }
    if (policy) this.decisions.setPolicy(name, policy.custom);
    this.settings.servables.set(name, local);
  }

  /**
   * Changes limits while everything runs; what is not given stays. A higher one admits what waits, and loads that could
   * never fit are tried again, unless `enableReloadServablesWithError` is false: then they stay failed until they are dropped
   * and aspired again. A lower one takes nothing from anybody: it holds for what is reserved from now on.
   *
   * @throws AspiredError ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION, ERR_DEVICE_NOT_FOUND, ERR_MANAGER_CLOSED
   */
  setResourceLimits(limits: Pick<ResourcesOptions, 'ram'> & { readonly cuda?: readonly CudaLimit[] }): void {
    const current = this.resources().devices.map(({ limit }) => limit);
    this.core.setLimits(this.devices.changedLimits(current, limits));
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
        this.runner.load(a as number, b as number | [number, NativeAllocation]);
        break;
      case Message.Cancel:
        this.runner.cancel(a as number);
        break;
      case Message.Unload:
        this.runner.unload(a as number);
        break;
      case Message.Release:
        this.forget(a as number);
        break;
      case Message.Estimate:
        this.runner.estimate(a as number);
        break;
      case Message.Renew:
        this.runner.renew(a as number, b as number);
        break;
      case Message.Bake:
        this.health.startBake(a as string, b as NativeBake);
        break;
      case Message.Open:
        // Of before close(): nothing is found from then on. Its close still comes.
        if (this.closed) break;
        this.withEntry(a as number, (entry) => {
          this.health.opening(entry);
          this.registry.open(entry);
        });
        break;
      case Message.Close:
        this.withEntry(a as number, (entry) => {
          this.health.stopBake(entry.id);
          this.registry.close(entry, b as number);
        });
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

  private forget(token: number): void {
    const id = this.runner.forget(token);
    if (id && !this.closed) this.health.released(id);
  }

  protected override onRequestFailed(entry: VersionEntry): void {
    this.health.requestFailed(entry);
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
    this.health.close();
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
