// When a heartbeat is sent: at intervals, and when there is something to say. One at a time, and at most one waits.

import { backOff, jittered } from './pause.js';
import type { Scope } from './reporter.js';

/** What becomes of a beat: how long to wait for the next one is another matter for each. */
export type BeatOutcome = 'ok' | 'away' | 'held';

export interface HeartbeatOptions {
  readonly intervalMs: number;
  readonly trafficIntervalMs: number;
  /** Sends one. Never rejects. */
  readonly beat: (scope: Scope) => Promise<BeatOutcome>;
  /** Whether a model is in a rollout. */
  readonly watching: () => boolean;
}

/** Changes come in bursts: a load that takes no time is one report, not three. */
const GATHER_MS = 20;
/** A thousand hosts that were told at once have all accepted before the first of them says so, and keeps others waiting. */
export const ACKNOWLEDGE_MS = 150;
const FIRST_PAUSE_MS = 250;
/** The fleet is to be whole again some seconds after the store is. */
const MOST_PAUSE_MS = 2_000;
const RANK: Readonly<Record<Scope, number>> = { changes: 0, watched: 1, all: 2 };

export class HeartbeatTimer {
  private pending: Scope | undefined;
  private running: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private gathering: NodeJS.Timeout | undefined;
  private gatheredAt = 0;
  private traffic: NodeJS.Timeout | undefined;
  private failures = 0;
  /** Something changed while the store was not to be asked. */
  private missed = false;
  private closed = false;

  constructor(private readonly options: HeartbeatOptions) {}

  /** The first one goes out now. */
  start(): void {
    this.request('all');
  }

  /** Something has changed: a beat follows soon, with whatever else changes until then. */
  changed(withinMs = GATHER_MS): void {
    const at = performance.now() + withinMs;
    if (this.closed || (this.gathering && this.gatheredAt <= at)) return;
    clearTimeout(this.gathering);
    this.gatheredAt = at;
    this.gathering = setTimeout(() => {
      this.gathering = undefined;
      if (this.isPausing) this.missed = true;
      else this.request('changes');
    }, withinMs);
    this.gathering.unref();
  }

  /** A store that does not answer is not asked more often because there is more to say. */
  private get isPausing(): boolean {
    return this.failures > 0;
  }

  private request(scope: Scope): void {
    if (this.closed) return;
    if (this.pending === undefined || RANK[scope] > RANK[this.pending]) this.pending = scope;
    this.running ??= this.run();
  }

  private async run(): Promise<void> {
    while (this.pending !== undefined && !this.closed) {
      const scope = this.pending;
      this.pending = undefined;
      const outcome = await this.options.beat(scope);
      this.failures = outcome === 'ok' ? 0 : this.failures + 1;
      if (outcome !== 'ok') {
        this.pending = undefined;
        this.schedule(this.pauseAfter(outcome));
      } else if (scope === 'all') this.schedule(jittered(this.options.intervalMs));
    }
    this.running = undefined;
    if (this.isPausing) return;
    this.watch();
    if (!this.missed) return;
    this.missed = false;
    this.changed();
  }

  private pauseAfter(outcome: BeatOutcome): number {
    const { intervalMs } = this.options;
    if (outcome === 'held') return jittered(Math.min(intervalMs, MOST_PAUSE_MS));
    return backOff(this.failures, Math.min(FIRST_PAUSE_MS, intervalMs), Math.min(MOST_PAUSE_MS, intervalMs));
  }

  private schedule(ms: number): void {
    clearTimeout(this.timer);
    if (this.closed) return;
    this.timer = setTimeout(() => this.request('all'), ms);
    this.timer.unref();
  }

  /** Traffic is reported often while a model is in a rollout. */
  private watch(): void {
    if (this.closed || this.traffic || !this.options.watching()) return;
    this.traffic = setTimeout(() => {
      this.traffic = undefined;
      if (!this.isPausing) this.request('watched');
    }, this.options.trafficIntervalMs);
    this.traffic.unref();
  }

  /** Resolves when no beat is under way. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.gathering);
    clearTimeout(this.traffic);
    await this.running;
  }
}
