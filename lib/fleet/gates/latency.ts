// Whether the p99 of a new version exceeds that of a control group by more than a factor, from histograms that were
// added up, however often one looks.
//
// That p99 is at most x means that at most 1 % of the requests take longer than x. So everything here is a count of
// requests against 1 %, by the e-process of error-rate.ts for one proportion: first for the control group, which bounds
// what its own p99 can be; then for the new version, against that bound times the factor. Each zone has a bound of its
// own, and the counts are added up: under the limit, each request of any zone is too slow with at most 1 %.
import { bucketBounds, type MetricsSnapshot } from '../../manager/metrics.js';
import { logMean } from './error-rate.js';

/** The new version and its control group in one zone. */
export interface LatencyPair {
  readonly current: MetricsSnapshot;
  readonly control: MetricsSnapshot;
}

const SHARE = 0.01;
/** The odds that are tried, as multiples of the odds of 1 %, or as parts of them. */
const MULTIPLES = [2 ** 0.125, 2 ** 0.25, 2 ** 0.5, 2, 4, 8, 16, 32];
const ABOVE = MULTIPLES.map((multiple) => chanceOf(multiple));
const BELOW = MULTIPLES.map((multiple) => chanceOf(1 / multiple));

function chanceOf(multiple: number): number {
  const odds = (SHARE / (1 - SHARE)) * multiple;
  return odds / (1 + odds);
}

/** The logarithm of the evidence that p99 is more than `factor` times that of the control group, in some zone. */
export function evidenceOfSlowness(pairs: readonly LatencyPair[], factor: number, risk: number): number {
  return evidence(pairs, factor, risk, 'slower');
}

/** The logarithm of the evidence that p99 is not that much higher in every zone. */
export function evidenceOfSpeed(pairs: readonly LatencyPair[], factor: number, risk: number): number {
  return evidence(pairs, factor, risk, 'not-slower');
}

function evidence(pairs: readonly LatencyPair[], factor: number, risk: number, side: 'slower' | 'not-slower'): number {
  const needed = Math.log(pairs.length / risk);
  let slow = 0;
  let requests = 0;
  for (const { current, control } of pairs) {
    const bound = side === 'slower' ? atMost(control, needed) : atLeast(control, needed);
    slow += countAbove(current.counts, factor * bound);
    requests += current.requests;
  }
  return ofShare(slow, requests, side === 'slower' ? ABOVE : BELOW);
}

/** The logarithm of the evidence that the chance of a hit is one of these, and not on the other side of 1 %. */
function ofShare(hits: number, requests: number, chances: readonly number[]): number {
  if (requests === 0) return 0;
  return logMean(
    chances.map((chance) => hits * Math.log(chance / SHARE) + (requests - hits) * Math.log((1 - chance) / (1 - SHARE))),
  );
}

/** What p99 is at most: the lowest edge of a bucket that surely less than 1 % exceed. */
function atMost({ counts, requests }: MetricsSnapshot, needed: number): number {
  let bound = Number.POSITIVE_INFINITY;
  let above = 0;
  for (let bucket = counts.length - 1; bucket >= 0; bucket--) {
    if (above >= SHARE * requests || ofShare(above, requests, BELOW) < needed) break;
    bound = bucketBounds(bucket).high;
    above += counts[bucket] as number;
  }
  return bound;
}

/**
 * What p99 is at least: the highest edge of a bucket that surely more than 1 % exceed. Requests faster than the first bucket
 * can tell count as long as it can: else a version of microseconds would be infinitely slower than its control group.
 */
function atLeast({ counts, requests }: MetricsSnapshot, needed: number): number {
  let above = 0;
  for (let bucket = counts.length - 1; bucket >= 0; bucket--) {
    above += counts[bucket] as number;
    if (above > SHARE * requests && ofShare(above, requests, ABOVE) >= needed) {
      return Math.max(bucketBounds(bucket).low, bucketBounds(0).high);
    }
  }
  return 0;
}

/** Requests that took longer; those of the bucket that `ms` is in are spread over it evenly. */
function countAbove(counts: readonly number[], ms: number): number {
  let above = 0;
  for (let bucket = counts.length - 1; bucket >= 0; bucket--) {
    const { low, high } = bucketBounds(bucket);
    if (high <= ms) break;
    const share = low >= ms ? 1 : high === Number.POSITIVE_INFINITY ? 0 : (high - ms) / (high - low);
    above += share * (counts[bucket] as number);
  }
  return above;
}
