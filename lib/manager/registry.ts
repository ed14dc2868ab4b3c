// The reader registry: how a servable is read without leaving JavaScript.
//
// Each isolate has its own. Name -> stream -> version entry, with the servable and a count of leases. To acquire is a
// Map look-up and `leases++`; to release is `leases--`. The core opens and closes entries by messages. Acquire is
// synchronous, and a message is handled by the event loop, so when a close is handled no acquire is half done: the entry
// leaves the registry at once, and the core hears `drained` when its last lease is back. No atomics, no crossing into
// native code, and no lease outlives its servable. A held lease delays its own version and nothing else.
//
// Labels bind here. A label is intent: it may name a version that is not open yet, and binds when that opens; until then
// it keeps the entry it was bound to.
import type { ServableId } from '../types.js';
import { MetricsPages, type MetricsSnapshot, type VersionMetrics } from './metrics.js';

/** One version, as readers see it. */
export class VersionEntry {
  // What an acquire and a release touch comes first, to lie in one line of the cache.
  leases = 0;
  servable: unknown;
  /** Epoch of the close that waits for the drain; 0 when none does. */
  closing = 0;
  /** What its requests are counted in, from `countersAt` on; made by the first one. */
  counters: Float64Array | undefined = undefined;
  countersAt = 0;
  readonly id: ServableId;
  readonly registry: Registry;
  readonly token: number;
  open = false;
  aspired = true;
  /** What was counted when readers were switched to it again; undefined: nothing, it was new. */
  beforeSwitch: MetricsSnapshot | undefined = undefined;
  /** What a label named before it named this. */
  labelledBefore: VersionEntry | undefined = undefined;

  constructor(registry: Registry, id: ServableId, token: number, servable: unknown) {
    this.servable = servable;
    this.id = id;
    this.registry = registry;
    this.token = token;
  }
}

/** Gives a lease back. */
export function release(entry: VersionEntry): void {
  if (--entry.leases === 0 && entry.closing !== 0) entry.registry.onDrained(entry);
}

/** Index of the first element whose version is not below `version`. */
function lowerBound<T>(sorted: readonly T[], version: number, versionOf: (element: T) => number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (versionOf(sorted[middle] as T) < version) low = middle + 1;
    else high = middle;
  }
  return low;
}
const entryVersion = (entry: VersionEntry): number => entry.id.version;
const itself = (version: number): number => version;

/** What readers know of one servable. */
export class Stream {
  readonly name: string;
  /** What a plain name resolves to. */
  current: VersionEntry | undefined = undefined;
  latest: VersionEntry | undefined = undefined;
  earliest: VersionEntry | undefined = undefined;
  /** Open entries, ascending. Replaced, not changed: an array that grew keeps room for 16 more. */
  entries: readonly VersionEntry[] = [];
  /** Ascending. */
  aspired: readonly number[] = [];
  primary: number | undefined = undefined;
  /** Label -> version, as it was asked for. */
  labels: ReadonlyMap<string, number> | undefined = undefined;
  /** Label -> entry, as it is. An empty Map takes 200 bytes, and most servables have no labels. */
  bound: Map<string, VersionEntry> | undefined = undefined;

  constructor(name: string) {
    this.name = name;
  }

  find(version: number): VersionEntry | undefined {
    const entry = this.entries[lowerBound(this.entries, version, entryVersion)];
    return entry?.id.version === version ? entry : undefined;
  }

  isAspired(version: number): boolean {
    return this.aspired[lowerBound(this.aspired, version, itself)] === version;
  }

  /** Works out what requests resolve to; after each change, so that reading costs nothing. */
  resolve(): void {
    let first: VersionEntry | undefined;
    let last: VersionEntry | undefined;
    for (const entry of this.entries) {
      if (!entry.aspired) continue;
      first ??= entry;
      last = entry;
    }
    // Aspired versions come first; without one, what is still open serves.
    this.earliest = first ?? this.entries[0];
    this.latest = last ?? this.entries[this.entries.length - 1];
    const primary = this.primary === undefined ? undefined : this.find(this.primary);
    this.current = primary ?? this.latest;
    this.bindLabels();
  }

  // A label whose version is aspired to and not available (not yet, or not any more, because it failed its bake) has the
  // last entry that it was bound to and that is still open.
  private bindLabels(): void {
    if (!this.labels) return;
    this.bound ??= new Map();
    for (const label of this.bound.keys()) if (!this.labels.has(label)) this.bound.delete(label);
    for (const [label, version] of this.labels) {
      const now = this.bound.get(label);
      const entry = this.find(version);
      if (entry && entry !== now) {
        this.bound.set(label, entry);
        if (now?.open) {
          entry.labelledBefore = now;
          now.labelledBefore = undefined; // no chain
        }
      } else if (!entry && now && !now.open) {
        const before = this.isAspired(version) ? now.labelledBefore : undefined;
        if (before?.open) this.bound.set(label, before);
        else this.bound.delete(label);
      }
    }
  }

  get isEmpty(): boolean {
    return this.entries.length === 0 && this.aspired.length === 0 && this.primary === undefined && !this.labels?.size;
  }
}

/** The registry of one manager in one isolate. */
export class Registry {
  /** What plain names resolve to: one look-up, and one object less to fetch into the cache than by way of `streams`. */
  readonly current = new Map<string, VersionEntry>();
  streams = new Map<string, Stream>();
  /** Closed entries whose leases are not all back. */
  private readonly draining = new Set<VersionEntry>();
  private readonly pages = new MetricsPages();

  /**
   * `tellDrained` is called once per close, when the last lease of the entry is back; `makeMetrics` at the first request
   * of an entry; `tellSwitched` when a plain name comes to mean an entry that was open already, before any reader gets it.
   */
  constructor(
    private readonly tellDrained: (entry: VersionEntry) => void,
    private readonly makeMetrics?: (entry: VersionEntry) => VersionMetrics,
    private readonly tellSwitched?: (entry: VersionEntry) => void,
  ) {}

  /** The counters of the entry, which has none yet. */
  makeCounters(entry: VersionEntry): Float64Array {
    const { counters, at } = this.makeMetrics?.(entry) ?? this.pages.make();
    entry.counters = counters;
    entry.countersAt = at;
    return counters;
  }

  onDrained(entry: VersionEntry): void {
    this.draining.delete(entry);
    this.tellDrained(entry);
  }

  /** The entries of a servable that are open or draining. */
  entriesOf(name: string): VersionEntry[] {
    const draining = [...this.draining].filter(({ id }) => id.name === name);
    return [...(this.streams.get(name)?.entries ?? []), ...draining];
  }

  private streamOf(name: string): Stream {
    let stream = this.streams.get(name);
    if (!stream) {
      stream = new Stream(name);
      this.streams.set(name, stream);
    }
    return stream;
  }

  /** Takes over intent that the core has accepted; `aspired` ascending. What is undefined stays. */
  setIntent(
    name: string,
    aspired: readonly number[] | undefined,
    labels: ReadonlyMap<string, number> | undefined,
    primary: number | null | undefined,
  ): void {
    const stream = this.streamOf(name);
    if (aspired) {
      stream.aspired = aspired;
      for (const entry of stream.entries) entry.aspired = stream.isAspired(entry.id.version);
    }
    if (labels) stream.labels = labels;
    if (primary !== undefined) stream.primary = primary ?? undefined;
    this.changed(stream);
  }

  /** The core opened the entry: it can be acquired. Ends a close that waits for its drain. */
  open(entry: VersionEntry): void {
    const stream = this.streamOf(entry.id.name);
    this.draining.delete(entry);
    entry.closing = 0;
    entry.open = true;
    entry.aspired = stream.isAspired(entry.id.version);
    const at = lowerBound(stream.entries, entry.id.version, entryVersion);
    stream.entries = stream.entries.slice(0, at).concat(entry, stream.entries.slice(at));
    this.changed(stream, entry);
  }

  /** The core closed the entry: nobody acquires it any more. */
  close(entry: VersionEntry, epoch: number): void {
    const stream = this.streamOf(entry.id.name);
    entry.closing = epoch;
    entry.open = false;
    stream.entries = stream.entries.filter((other) => other !== entry);
    this.changed(stream);
    if (entry.leases === 0) this.tellDrained(entry);
    else this.draining.add(entry);
  }

  /** Nothing is found any more; leases are still given back. */
  shut(): void {
    for (const stream of this.streams.values()) {
      stream.entries = [];
      stream.aspired = [];
      stream.current = stream.latest = stream.earliest = undefined;
    }
    this.streams = new Map();
    this.current.clear();
  }

  private changed(stream: Stream, opened?: VersionEntry): void {
    const before = stream.current;
    stream.resolve();
    const now = stream.current;
    if (now && now !== before && now !== opened) this.tellSwitched?.(now);
    if (stream.current) this.current.set(stream.name, stream.current);
    else this.current.delete(stream.name);
    if (stream.isEmpty) this.streams.delete(stream.name);
  }
}
