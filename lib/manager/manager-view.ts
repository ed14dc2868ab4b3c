// The side of a manager that watches: states, events, waits, the ledger. It changes nothing.
import { EventStream } from '../monitor/event-stream.js';
import {
  harnessStates,
  managerStates,
  type NativeManager,
  type NativeState,
  type NativeVersionState,
  native,
} from '../native/binding.js';
import { checkInteger, checkKeys, checkName, checkSignal } from '../options.js';
import type { Devices } from '../resources/devices.js';
import { toFootprints, toReport } from '../resources/report.js';
import type { Footprints, ResourcesReport } from '../resources/types.js';
import type {
  HarnessState,
  ManagerState,
  ServableId,
  ServableRequest,
  ServableStateEvent,
  ServableVersionState,
} from '../types.js';
import { AttachableReader } from './attachable.js';
import type { Health } from './health.js';
import type { LoaderRunner } from './loader-runner.js';
import type { VersionEntry } from './registry.js';
import type { Waits } from './waits.js';

/** Loads and unloads that wait for a thread or run on one. */
export interface ThreadStats {
  readonly threads: number;
  readonly queued: number;
  readonly running: number;
  readonly completed: number;
}

/** A reader that also sees what the manager does. */
export abstract class ManagerView extends AttachableReader {
  protected abstract override readonly core: NativeManager;
  protected abstract readonly runner: LoaderRunner;
  protected abstract readonly waits: Waits;
  protected abstract readonly health: Health;
  protected abstract readonly devices: Devices;
  protected readonly eventStreams = new Set<EventStream>();

  /** Every managed version of `name`, highest first; empty when there is none. */
  getServableStates(name: string): ServableVersionState[] {
    this.checkOpen();
    const now = Date.now();
    const entries = new Map<number, VersionEntry>();
    for (const entry of this.registry.entriesOf(checkName(name))) entries.set(entry.id.version, entry);
    return this.core
      .getVersionStates(name)
      .map((row) => this.stateOf(name, row, now, entries.get(row[0])?.leases ?? 0));
  }

  private stateOf(name: string, row: NativeVersionState, now: number, leases: number): ServableVersionState {
    const [version, state, aspired, status, attempts, incarnation, retryInMs, degraded, standby, baking, bad, waiting] =
      row;
    const id = { name, version };
    const error = this.runner.errorOf(status, id) ?? this.health.refusalOf(name, version);
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
      leases,
      ...(waiting === undefined ? {} : { waiting }),
      standby,
      baking,
      bad,
    };
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

  protected eventOf([version, state, status, incarnation, at, name]: NativeState): ServableStateEvent {
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

  // -------------------------------------------------------------------- memory

  /**
   * The whole ledger: per device what is limited, estimated, reserved, measured and used, per version its share. Reads the
   * memory of the system; takes tens of microseconds, more with GPUs.
   */
  resources(): ResourcesReport {
    this.checkOpen();
    return toReport(this.core.getResources(), this.devices);
  }

  /**
   * What versions of each servable really took, for the option `footprints` of a later manager: an estimate that was too
   * low is corrected from its first load on.
   */
  exportFootprints(): Footprints {
    this.checkOpen();
    return toFootprints(this.core.exportFootprints());
  }

  /**
   * Forgets what versions of a servable took, or of all: the next load gets what its loader estimates, and so does one that
   * waits. For after a measurement that was wrong: whatever the process took during a load was counted as the load's.
   *
   * @throws AspiredError ERR_INVALID_NAME, ERR_MANAGER_CLOSED.
   */
  clearFootprints(name?: string): void {
    this.checkOpen();
    this.core.clearFootprints(name === undefined ? undefined : checkName(name));
  }
}
