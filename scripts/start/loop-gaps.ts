import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

/**
 * Watches for gaps of the event loop with a timer of its own: the longest time between two ticks of a 1 ms timer.
 * `monitorEventLoopDelay` runs beside it as a second witness; it is not enough alone, since it forgets a stall that
 * comes right after it was enabled or reset.
 */
export class LoopGaps {
  readonly #gaps: { readonly at: number; readonly gap: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #last = 0;

  /** Starts watching. */
  start(): void {
    this.#last = performance.now();
    this.#timer = setTimeout(this.#tick, 1);
  }

  /** Stops watching. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  /** The longest gap that ended in [from, to], in milliseconds. */
  longest(from: number, to: number): number {
    return this.#gaps.reduce((most, { at, gap }) => (at >= from && at <= to && gap > most ? gap : most), 0);
  }

  /** A monitor of Node's own, ticking already. */
  static monitor(): IntervalHistogram {
    const monitor = monitorEventLoopDelay({ resolution: 1 });
    monitor.enable();
    return monitor;
  }

  readonly #tick = (): void => {
    const now = performance.now();
    this.#gaps.push({ at: now, gap: now - this.#last });
    this.#last = now;
    this.#timer = setTimeout(this.#tick, 1);
  };
}
