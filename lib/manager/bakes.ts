// Watches the bakes that are under way: asks the judge at the right times, and answers once.
import { AspiredError } from '../errors.js';
import { type SourceClock, systemClock } from '../sources/clock.js';
import type { ServableId } from '../types.js';
import { type BakeBreach, type BakeVerdict, judgeBake } from './bake.js';
import type { BakeSettings } from './bake-options.js';
import { type LatencySummary, type MetricsSnapshot, NO_METRICS, since, summarize } from './metrics.js';

/** Longest and shortest pause between two looks. */
const MAX_LOOK_MS = 1000;
const MIN_LOOK_MS = 20;
/** Looks that a bake gets at least, when that is not more often than MIN_LOOK_MS. */
const LOOKS = 50;

/** Figures of one version in a {@link BakeReport}. */
export interface BakeFigures {
  readonly requests: number;
  readonly errors: number;
  /** errors / requests; 0 without requests. */
  readonly errorRate: number;
  readonly latencyMs: LatencySummary;
}

/** Why a version did not pass its bake: the `cause` of ERR_BAKE_FAILED. */
export interface BakeReport extends BakeFigures {
  readonly reason: 'error-rate' | 'latency';
  /** What the version was compared with; absent when there was none. */
  readonly previous?: BakeFigures & { readonly version: number };
  /** From the switch to the breach. */
  readonly elapsedMs: number;
  readonly limits: {
    readonly forMs: number;
    readonly minRequests: number;
    readonly maxErrorRate?: number;
    readonly maxLatencyIncrease?: number;
  };
}

/** A version that readers have just been switched to. */
export interface BakeStart {
  readonly id: ServableId;
  readonly incarnation: number;
  /** The version that readers were switched from. */
  readonly previous: number | undefined;
  readonly settings: BakeSettings;
  /** What it had counted when readers were switched to it, which is some turns ago: the bake is about what came after. */
  readonly before: MetricsSnapshot;
}

/** What a bake came to. */
export type BakeOutcome = Exclude<BakeVerdict, { readonly verdict: 'watching' }>;

/** What a {@link BakeWatcher} needs. The callbacks must not throw. */
export interface BakeWatcherOptions {
  /** What the version has counted so far, in all threads; undefined: nothing, or it is gone. */
  readonly metricsOf: (id: ServableId) => MetricsSnapshot | undefined;
  /**
   * Called once per start(), from a timer, unless stop(), close() or another start() for the id came first. `error` is
   * the ERR_BAKE_FAILED of a breach.
   */
  readonly finish: (id: ServableId, incarnation: number, outcome: BakeOutcome, error?: AspiredError) => void;
  /** @default the system's */
  readonly clock?: SourceClock;
}

interface Bake extends BakeStart {
  readonly startedAt: number;
  readonly previousBefore: MetricsSnapshot;
  lookedAt: number;
  /** A look is due as early as may be. */
  hurried: boolean;
  cancelTimer: () => void;
}

/** The bakes of one manager. Its timers do not keep the process alive. */
export class BakeWatcher {
  private readonly bakes = new Map<string, Bake>();
  private readonly metricsOf: BakeWatcherOptions['metricsOf'];
  private readonly finish: BakeWatcherOptions['finish'];
  private readonly clock: SourceClock;

  constructor({ metricsOf, finish, clock = systemClock }: BakeWatcherOptions) {
    this.metricsOf = metricsOf;
    this.finish = finish;
    this.clock = clock;
  }

  /** How many bakes are under way. */
  get size(): number {
    return this.bakes.size;
  }

  /** Begins to watch. Takes the place of an earlier bake of the same id. */
  start(start: BakeStart): void {
    this.stop(start.id);
    const now = this.clock.now();
    const bake: Bake = {
      ...start,
      startedAt: now,
      previousBefore: this.previousMetrics(start) ?? NO_METRICS,
      lookedAt: now,
      hurried: false,
      cancelTimer: () => {},
    };
    this.bakes.set(keyOf(start.id), bake);
    this.lookLater(bake);
  }

  /** Ends a bake without an answer. */
  stop(id: ServableId): void {
    this.bakes.get(keyOf(id))?.cancelTimer();
    this.bakes.delete(keyOf(id));
  }

  /** Ends all bakes without an answer. */
  close(): void {
    for (const { cancelTimer } of this.bakes.values()) cancelTimer();
    this.bakes.clear();
  }

  /** A request of the version has failed: looks soon, at most once in 20 ms. Costs next to nothing otherwise. */
  requestFailed(id: ServableId): void {
    if (this.bakes.size === 0) return;
    const bake = this.bakes.get(keyOf(id));
    if (!bake || bake.hurried) return;
    bake.hurried = true;
    bake.cancelTimer();
    this.lookAfter(bake, bake.lookedAt + MIN_LOOK_MS - this.clock.now());
  }

  private lookLater(bake: Bake): void {
    const { forMs } = bake.settings;
    const pause = Math.max(MIN_LOOK_MS, Math.min(forMs / LOOKS, MAX_LOOK_MS));
    this.lookAfter(bake, Math.min(pause, bake.startedAt + forMs - this.clock.now()));
  }

  private lookAfter(bake: Bake, ms: number): void {
    // A timer may be early by a fraction: never 0, which would be asked again at once.
    bake.cancelTimer = this.clock.after(Math.max(1, Math.ceil(ms)), () => this.look(bake));
  }

  private look(bake: Bake): void {
    const { id, settings, startedAt, before } = bake;
    bake.lookedAt = this.clock.now();
    bake.hurried = false;
    const elapsedMs = bake.lookedAt - startedAt;
    const current = since(this.metricsOf(id) ?? NO_METRICS, before);
    const previous = this.baselineOf(bake);
    const verdict = judgeBake(settings, current, previous, elapsedMs);
    if (verdict.verdict === 'watching') {
      this.lookLater(bake);
      return;
    }
    // First out of the map: finish() may start another one.
    this.bakes.delete(keyOf(id));
    const error = verdict.verdict === 'breached' ? failed(bake, verdict, current, previous, elapsedMs) : undefined;
    this.finish(id, bake.incarnation, verdict, error);
  }

  // What it counted over the same time tells most, if readers still use it (a canary); otherwise its whole life does.
  private baselineOf(bake: Bake): MetricsSnapshot | undefined {
    const all = this.previousMetrics(bake);
    // It may be gone before the end of the bake: then what it had counted when the bake began.
    if (!all) return bake.previous === undefined ? undefined : bake.previousBefore;
    const sameTime = since(all, bake.previousBefore);
    return sameTime.requests >= bake.settings.minRequests ? sameTime : all;
  }

  private previousMetrics({ id, previous }: BakeStart): MetricsSnapshot | undefined {
    return previous === undefined ? undefined : this.metricsOf({ name: id.name, version: previous });
  }
}

function keyOf({ name, version }: ServableId): string {
  return `${name}/${version}`;
}

function figuresOf(snapshot: MetricsSnapshot): BakeFigures {
  const { requests, errors } = snapshot;
  return { requests, errors, errorRate: requests === 0 ? 0 : errors / requests, latencyMs: summarize(snapshot) };
}

function failed(
  { id, settings, previous }: BakeStart,
  { reason, message }: BakeBreach,
  current: MetricsSnapshot,
  baseline: MetricsSnapshot | undefined,
  elapsedMs: number,
): AspiredError {
  const { forMs, minRequests, maxErrorRate, maxLatencyIncrease } = settings;
  const report: BakeReport = {
    reason,
    ...figuresOf(current),
    ...(previous !== undefined && baseline ? { previous: { version: previous, ...figuresOf(baseline) } } : {}),
    elapsedMs,
    limits: {
      forMs,
      minRequests,
      ...(maxErrorRate === undefined ? {} : { maxErrorRate }),
      ...(maxLatencyIncrease === undefined ? {} : { maxLatencyIncrease }),
    },
  };
  const text = `${id.name}/${id.version} did not pass its bake (${Math.round(elapsedMs)} of ${forMs} ms): ${message}`;
  return new AspiredError('ERR_BAKE_FAILED', text, { servable: id, cause: report });
}
