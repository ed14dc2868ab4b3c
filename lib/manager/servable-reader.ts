import { AspiredError } from '../errors.js';
import { checkKeys, checkName, describe, invalidOption } from '../options.js';
import type { ServableId, ServableRequest } from '../types.js';
import { LeakDetector, ServableHandle } from './handle.js';
import {
  beginRequest,
  clockWords,
  endRequest,
  HIGH,
  type LatencySummary,
  LOW,
  type MetricsSnapshot,
  NO_METRICS,
  summarize,
  VersionMetrics,
} from './metrics.js';
import { type Registry, release, type VersionEntry } from './registry.js';

const REQUEST_KEYS = ['name', 'version', 'label'];

/** What withServable() and withServableSync() have seen of one version in this isolate, since it was loaded. */
export interface ServableMetrics {
  readonly id: ServableId;
  /** Requests that have ended, the failed ones among them. */
  readonly requests: number;
  /** Requests whose function threw or rejected. */
  readonly errors: number;
  /** Requests that have not ended. Handles are not requests: getServableStates() counts both, as leases. */
  readonly inFlight: number;
  /** From acquire to release, failed requests too. */
  readonly latencyMs: LatencySummary;
  /** The counters themselves, which can be added up over versions, threads and hosts. */
  readonly snapshot: MetricsSnapshot;
}

/**
 * The side of a manager that readers see: synchronous look-ups in the registry of this isolate, which never wait for a
 * load and never cross into native code.
 */
export abstract class ServableReader {
  private readonly leaks = new LeakDetector();
  private acquired = 0;
  /** Nothing is found any more. */
  protected closed = false;

  /** @internal A handle is watched for leaks when (count & leakMask) is 0; -1 watches none. */
  constructor(
    protected readonly registry: Registry,
    private readonly leakMask: number,
    private readonly metrics = true,
  ) {}

  /**
   * A lease on the version that the request resolves to. Release it.
   *
   * A plain name (or 'latest' without a primary) is the primary when that is available, otherwise the latest available
   * aspired version, otherwise the latest one that is still there. A version given by number never falls back.
   *
   * @throws AspiredError ERR_SERVABLE_NOT_FOUND, ERR_LABEL_NOT_AVAILABLE, ERR_MANAGER_CLOSED
   */
  getServableHandle<T = unknown>(request: ServableRequest): ServableHandle<T> {
    return this.lease(this.resolve(request));
  }

  private lease<T>(entry: VersionEntry): ServableHandle<T> {
    entry.leases++;
    const handle = new ServableHandle<T>(entry);
    if ((++this.acquired & this.leakMask) === 0) this.leaks.watch(handle, entry);
    return handle;
  }

  /**
   * Runs `use` with the servable, and gives the lease back when the promise it returns has settled, or it throws.
   * Rejects as getServableHandle() throws. Is counted in the metrics of the version, with its latency, and as an error
   * when `use` throws or rejects.
   */
  withServable<T = unknown, R = unknown>(
    request: ServableRequest,
    use: (servable: T, id: ServableId) => R | PromiseLike<R>,
  ): Promise<R> {
    // No async function: it and its await would take longer than all the rest, and what `use` answers is often no promise.
    try {
      const entry = this.resolve(request);
      const counters = this.metrics ? begin(entry) : undefined;
      const low = clockWords[LOW] as number;
      const high = clockWords[HIGH] as number;
      entry.leases++;
      let ended = true;
      let failed = true;
      try {
        const result = use(entry.servable as T, entry.id);
        if (isThenable(result)) {
          ended = false;
          return this.endWith(result, entry, counters, low, high);
        }
        failed = false;
        return Promise.resolve(result);
      } finally {
        if (ended) this.end(entry, counters, low, high, failed);
      }
    } catch (error) {
      return Promise.reject(error);
    }
  }

  private async endWith<R>(
    result: PromiseLike<R>,
    entry: VersionEntry,
    counters: Float64Array | undefined,
    low: number,
    high: number,
  ): Promise<R> {
    let failed = true;
    try {
      const value = await result;
      failed = false;
      return value;
    } finally {
      this.end(entry, counters, low, high, failed);
    }
  }

  private end(
    entry: VersionEntry,
    counters: Float64Array | undefined,
    low: number,
    high: number,
    failed: boolean,
  ): void {
    if (counters) {
      endRequest(counters, entry.countersAt, low, high, failed);
      if (failed) this.onRequestFailed(entry);
    }
    release(entry);
  }

  /** withServable() for a function that is synchronous: a promise that it returns is not waited for. */
  withServableSync<T = unknown, R = unknown>(request: ServableRequest, use: (servable: T, id: ServableId) => R): R {
    const entry = this.resolve(request);
    const counters = this.metrics ? begin(entry) : undefined;
    const low = clockWords[LOW] as number;
    const high = clockWords[HIGH] as number;
    entry.leases++;
    let failed = true;
    try {
      const result = use(entry.servable as T, entry.id);
      failed = false;
      return result;
    } finally {
      if (counters) {
        endRequest(counters, entry.countersAt, low, high, failed);
        if (failed) this.onRequestFailed(entry);
      }
      release(entry);
    }
  }

  /** @internal A request has failed and is counted; its lease is not back yet. Must not throw. */
  protected onRequestFailed(_entry: VersionEntry): void {}

  private resolve(request: ServableRequest): VersionEntry {
    // Short, to be inlined: what is most of the requests.
    return (typeof request === 'string' ? this.registry.current.get(request) : undefined) ?? this.resolveOther(request);
  }

  private resolveOther(request: ServableRequest): VersionEntry {
    if (typeof request === 'object' && request !== null) {
      const stream = this.registry.streams.get(request.name);
      if (stream !== undefined) {
        const { version, label } = request;
        let entry: VersionEntry | undefined;
        if (label !== undefined) entry = version === undefined ? stream.bound?.get(label) : undefined;
        else if (version === undefined) {
          // A misspelled key is not the same as none.
          checkKeys('request', request, REQUEST_KEYS);
          entry = stream.current;
        } else if (typeof version === 'number') entry = stream.find(version);
        else if (version === 'latest') entry = stream.latest;
        else if (version === 'earliest') entry = stream.earliest;
        if (entry !== undefined) return entry;
      }
    }
    throw this.notFound(request);
  }

  private notFound(request: ServableRequest): AspiredError {
    if (this.closed) return closedError();
    const { name, version, label } = typeof request === 'string' ? { name: request } : (request ?? {});
    try {
      checkName(name);
      if (typeof request !== 'string') checkKeys('request', request, REQUEST_KEYS);
    } catch (error) {
      return error as AspiredError;
    }
    if (label !== undefined) {
      if (version !== undefined) return invalidOption('request', 'a version or a label, not both', request);
      return new AspiredError(
        'ERR_LABEL_NOT_AVAILABLE',
        `Label ${describe(label)} of ${name} has no available version.`,
      );
    }
    const wanted =
      version === undefined ? '' : typeof version === 'number' ? ` in version ${version}` : ` (${version})`;
    const open = this.registry.streams.get(name as string)?.entries.map(({ id }) => id.version) ?? [];
    const there = open.length > 0 ? `available: ${open.join(', ')}` : 'no version is available';
    return new AspiredError('ERR_SERVABLE_NOT_FOUND', `Servable ${name}${wanted} was not found; ${there}.`);
  }

  /** The versions that can be acquired. */
  listAvailableServableIds(): ServableId[] {
    this.checkOpen();
    const ids: ServableId[] = [];
    for (const { entries } of this.registry.streams.values()) for (const { id } of entries) ids.push(id);
    return ids;
  }

  /** A lease on every available version, by 'name/version'. Release each. */
  getAvailableServableHandles<T = unknown>(): Map<string, ServableHandle<T>> {
    this.checkOpen();
    const handles = new Map<string, ServableHandle<T>>();
    for (const { entries } of this.registry.streams.values()) {
      for (const entry of entries) handles.set(`${entry.id.name}/${entry.id.version}`, this.lease(entry));
    }
    return handles;
  }

  /** What a version that is open or draining has counted; undefined: nothing, or it is neither. */
  protected metricsOf({ name, version }: ServableId): MetricsSnapshot | undefined {
    const entry = this.registry.entriesOf(name).find(({ id }) => id.version === version);
    return entry && this.snapshotOf(entry);
  }

  /** What was counted of the entry; undefined: nothing. */
  protected snapshotOf(entry: VersionEntry): MetricsSnapshot | undefined {
    return entry.counters && new VersionMetrics(entry.counters, entry.countersAt).snapshot();
  }

  /**
   * Requests, errors and latency of every version of `name` that is open or draining, highest first. A version that is
   * loaded again starts at 0. A manager counts the requests of threads that attached, too. Empty with the option
   * `metrics: false`.
   */
  getServableMetrics(name: string): ServableMetrics[] {
    this.checkOpen();
    const entries = this.registry.entriesOf(checkName(name));
    if (!this.metrics) return [];
    return entries
      .sort((a, b) => b.id.version - a.id.version)
      .map((entry) => {
        const snapshot = this.snapshotOf(entry) ?? NO_METRICS;
        const { requests, errors, inFlight } = snapshot;
        return { id: entry.id, requests, errors, inFlight, latencyMs: summarize(snapshot), snapshot };
      });
  }

  protected checkOpen(): void {
    if (this.closed) throw closedError();
  }
}

function begin(entry: VersionEntry): Float64Array {
  const counters = entry.counters ?? entry.registry.makeCounters(entry);
  beginRequest(counters, entry.countersAt);
  return counters;
}

function isThenable<R>(value: R | PromiseLike<R>): value is PromiseLike<R> {
  const type = typeof value;
  return (type === 'object' || type === 'function') && typeof (value as { then?: unknown } | null)?.then === 'function';
}

export function closedError(): AspiredError {
  return new AspiredError('ERR_MANAGER_CLOSED', 'The manager is closing or closed.');
}
