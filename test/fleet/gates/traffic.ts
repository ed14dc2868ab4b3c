// Traffic that is made up, with a seed.
import { type MetricsSnapshot, VersionMetrics } from '#lib/manager/metrics.js';
import type { Random } from '../../../scripts/models/random.js';

/** So many requests, of which so many failed, that all took `ms`. */
export function counted(requests: number, errors = 0, ms = 20): MetricsSnapshot {
  const metrics = new VersionMetrics();
  for (let i = 0; i < requests; i++) metrics.record(ms, i < errors);
  return metrics.snapshot();
}

/** Requests of one version in one zone, as they come in. */
export class Traffic {
  private readonly metrics = new VersionMetrics();

  /**
   * @param errorRate Chance of each request to fail.
   * @param medianMs Of latencies whose logarithm is normal, with a standard deviation of a half: p99 is 3.2 times that.
   */
  constructor(
    private readonly random: Random,
    private readonly errorRate: number,
    private readonly medianMs = 20,
  ) {}

  /** So many requests more. */
  send(requests: number): void {
    for (let i = 0; i < requests; i++) {
      const ms = this.medianMs * Math.exp(this.random.normal() / 2);
      this.metrics.record(ms, this.random.uniform() < this.errorRate);
    }
  }

  snapshot(): MetricsSnapshot {
    return this.metrics.snapshot();
  }
}

/** How many of `requests` fail. */
export function failures(random: Random, requests: number, errorRate: number): number {
  let failed = 0;
  for (let i = 0; i < requests; i++) if (random.uniform() < errorRate) failed++;
  return failed;
}
