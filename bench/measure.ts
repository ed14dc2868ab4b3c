// The instruments. Each trial uses the same ones, whoever's code it measures.
import { createHistogram } from 'node:perf_hooks';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import Benchmark from 'benchmark';
import type { Figure } from './suite.js';

/**
 * Nanoseconds per operation of `batch`, which does `size` of them: the median of Benchmark.js's samples. One call of a
 * closure per batch, so that the loop of the benchmark costs nothing beside the operations.
 */
export function throughput(batch: () => void, size: number, quick: boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    new Benchmark('batch', batch, {
      async: true,
      ...(quick ? { maxTime: 0.2, minSamples: 5 } : { maxTime: 2, minSamples: 30 }),
      onComplete(this: Benchmark) {
        settle(this, size, resolve, reject);
      },
    }).run();
  });
}

/** The same for a batch that is asynchronous. */
export function throughputAsync(batch: () => Promise<void>, size: number, quick: boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    new Benchmark('batch', {
      defer: true,
      async: true,
      ...(quick ? { maxTime: 0.2, minSamples: 5 } : { maxTime: 2, minSamples: 30 }),
      fn: (deferred: { resolve(): void }) => {
        batch().then(() => deferred.resolve(), reject);
      },
      onComplete(this: Benchmark) {
        settle(this, size, resolve, reject);
      },
    }).run();
  });
}

function settle(
  bench: Benchmark,
  size: number,
  resolve: (nanoseconds: number) => void,
  reject: (error: unknown) => void,
): void {
  const { error } = bench as unknown as { error?: Error };
  if (error) reject(error);
  else resolve((median(bench.stats.sample) * 1e9) / size);
}

/** Middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Latencies with their percentiles. */
export class Latencies {
  readonly #histogram = createHistogram({ figures: 4 });

  /** Takes a duration in milliseconds. */
  add(milliseconds: number): void {
    this.#histogram.record(Math.max(1, Math.round(milliseconds * 1e6)));
  }

  /** Milliseconds that `percent` of the latencies do not exceed. */
  percentile(percent: number): number {
    return this.#histogram.percentile(percent) / 1e6;
  }

  get count(): number {
    return this.#histogram.count;
  }

  /** p50, p99 and max as figures in milliseconds. */
  figures(): { p50: number; p99: number; max: number } {
    return { p50: this.percentile(50), p99: this.percentile(99), max: this.#histogram.max / 1e6 };
  }
}

/** What {@link Latencies.figures} answers, as columns. */
export function latencyFigures(aims: { readonly p50?: string; readonly p99?: string } = {}): Figure[] {
  const figure = (key: string, aim?: string): Figure => ({
    key,
    label: key,
    unit: 'ms',
    better: 'lower',
    ...(aim === undefined ? {} : { aim }),
  });
  return [figure('p50', aims.p50), figure('p99', aims.p99), figure('max')];
}

/** Collects garbage until nothing comes of it. Trials run with --expose-gc. */
export async function settleMemory(): Promise<void> {
  for (let round = 0; round < 4; round++) {
    globalThis.gc?.();
    await nextTurn();
    await sleep(20);
  }
}

/** Microseconds of processor time, user and system, that this process used since `since`. */
export function cpuMicroseconds(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return user + system;
}

/** The same numbers in the same, mixed up, order each time. */
export function shuffled(count: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  let seed = 12345;
  for (let i = count - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    const j = seed % (i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}
