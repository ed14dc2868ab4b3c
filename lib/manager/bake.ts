// The judge of a bake: a pure function of what two versions counted.
//
// It is asked again and again, so an ordinary test of significance would be wrong: asked often enough, each breaks off a
// version that is at its limit. Before the end it goes by a test that may be looked at after every request (see
// surelyAbove). At the end, which comes once, the error rate that was counted is held against the limit that was given.
// What was only measured, a latency or the error rate of the previous version, is uncertain itself; there the end, too,
// asks for significance, and every doubt (the width of a bucket, the spread of the previous version's figures) speaks
// for the new version.
import type { BakeSettings } from './bake-options.js';
import { bucketBounds, bucketOfRank, type MetricsSnapshot, quantile } from './metrics.js';

/** What a bake came to so far. */
export type BakeVerdict =
  | { readonly verdict: 'watching' }
  /** insufficientData: a limit could not be judged, for want of requests to one of the two versions. */
  | { readonly verdict: 'passed'; readonly insufficientData: boolean }
  | BakeBreach;

/** A limit was broken. */
export interface BakeBreach {
  readonly verdict: 'breached';
  readonly reason: 'error-rate' | 'latency';
  /** With the figures; one sentence. */
  readonly message: string;
  readonly requests: number;
  readonly errors: number;
}

/** Chance that one of the three early tests (errors, p99, p50) breaks off a version that is at its limit: 1 % in all. */
const EARLY_RISK = 0.003;
/** The same for a test that is done once, at the end. */
const FINAL_RISK = 0.01;
/** Standard deviations of a one-sided bound that holds with 99 %. */
const Z = 2.326;
/** The odds that the early test tries, as multiples of the odds at the limit: half-octaves up to 256. */
const ODDS = Array.from({ length: 16 }, (_, i) => 2 ** ((i + 1) / 2));
const QUANTILES = [0.99, 0.5];

/**
 * Whether `hits` of `requests` prove that the chance of a hit is above `limit`, however often this is asked while
 * requests come in.
 *
 * The mean of the likelihood ratios of several higher chances against `limit` is a martingale when the chance is `limit`,
 * and falls when it is less; that it ever reaches 1 / risk has at most the chance `risk` (Ville's inequality). No number
 * of looks has to be fixed, as for Wilson's interval with a spending function, and no plan of looks to be kept.
 */
export function surelyAbove(hits: number, requests: number, limit: number, risk = EARLY_RISK): boolean {
  if (limit >= 1 || hits <= limit * requests) return false;
  if (limit <= 0) return hits > 0;
  const odds = limit / (1 - limit);
  let sum = 0;
  for (const multiple of ODDS) {
    const chance = (odds * multiple) / (1 + odds * multiple);
    sum += Math.exp(hits * Math.log(chance / limit) + (requests - hits) * Math.log((1 - chance) / (1 - limit)));
  }
  return sum / ODDS.length >= 1 / risk;
}

/** The same for one look: Chernoff's bound of the chance to see so many hits is at most `risk`. */
export function aboveAtOneLook(hits: number, requests: number, limit: number, risk = FINAL_RISK): boolean {
  if (limit >= 1 || hits <= limit * requests) return false;
  if (limit <= 0) return hits > 0;
  const rate = hits / requests;
  const miss = rate === 1 ? 0 : (1 - rate) * Math.log((1 - rate) / (1 - limit));
  return requests * (rate * Math.log(rate / limit) + miss) >= Math.log(1 / risk);
}

/** Upper bound of a rate that was counted, by Wilson's interval; holds with 99 %. */
export function upperRate(hits: number, requests: number): number {
  const rate = hits / requests;
  const z2 = Z * Z;
  const spread = Z * Math.sqrt((rate * (1 - rate) + z2 / (4 * requests)) / requests);
  return Math.min(1, (rate + z2 / (2 * requests) + spread) / (1 + z2 / requests));
}

/**
 * Judges a version by its requests since the bake began. Before `settings.forMs` it is 'breached' only when that is
 * statistically sure: a version at a limit is broken off early with a chance below 1 %, taken over the whole bake.
 *
 * @param current The version that bakes, since its bake began.
 * @param baseline The previous version; undefined when there was none.
 */
export function judgeBake(
  settings: BakeSettings,
  current: MetricsSnapshot,
  baseline: MetricsSnapshot | undefined,
  elapsedMs: number,
): BakeVerdict {
  const ended = elapsedMs >= settings.forMs;
  const enough = current.requests >= settings.minRequests;
  const previous = baseline && baseline.requests >= settings.minRequests ? baseline : undefined;
  const final = ended && enough;
  const breach =
    judgeErrors(settings, current, previous, final) ?? judgeLatency(settings, current, previous, enough, final);
  if (breach) return breach;
  if (!ended) return { verdict: 'watching' };
  return { verdict: 'passed', insufficientData: !enough || (settings.maxLatencyIncrease !== undefined && !previous) };
}

function judgeErrors(
  { maxErrorRate }: BakeSettings,
  { requests, errors }: MetricsSnapshot,
  previous: MetricsSnapshot | undefined,
  final: boolean,
): BakeBreach | undefined {
  if (maxErrorRate === undefined || errors === 0) return undefined;
  // Only one that is itself above the limit raises it: a few errors out of few requests prove nothing of its rate.
  const isUsual = previous !== undefined && previous.errors > maxErrorRate * previous.requests;
  const limit = isUsual ? upperRate(previous.errors, previous.requests) : maxErrorRate;
  const atEnd = isUsual ? aboveAtOneLook(errors, requests, limit) : errors / requests > limit;
  if (!surelyAbove(errors, requests, limit) && !(final && atEnd)) return undefined;
  const because = isUsual ? `, as ${percent(previous.errors / previous.requests)} of the previous version's did` : '';
  const message = `${errors} of ${requests} requests failed (${percent(errors / requests)}); at most ${percent(limit)} may${because}.`;
  return { verdict: 'breached', reason: 'error-rate', message, requests, errors };
}

// That a quantile q is above a limit means that more than 1 - q of the requests are: the same tests again.
function judgeLatency(
  { maxLatencyIncrease }: BakeSettings,
  current: MetricsSnapshot,
  previous: MetricsSnapshot | undefined,
  enough: boolean,
  final: boolean,
): BakeBreach | undefined {
  if (maxLatencyIncrease === undefined || !previous || !enough) return undefined;
  const { requests, errors } = current;
  for (const q of QUANTILES) {
    const limit = (1 + maxLatencyIncrease) * upperQuantile(previous, q);
    const slower = countAbove(current, limit);
    if (!surelyAbove(slower, requests, 1 - q) && !(final && aboveAtOneLook(slower, requests, 1 - q))) continue;
    const name = `p${q * 100}`;
    const message =
      `${name} is ${milliseconds(quantile(current, q))} over ${requests} requests, and was ` +
      `${milliseconds(quantile(previous, q))} in the previous version; at most ${milliseconds(limit)} is allowed.`;
    return { verdict: 'breached', reason: 'latency', message, requests, errors };
  }
  return undefined;
}

/** What the quantile can be at most: by the spread of its rank, and by the width of its bucket. */
function upperQuantile({ requests, counts, maxMs }: MetricsSnapshot, q: number): number {
  const rank = Math.ceil(q * requests + Z * Math.sqrt(requests * q * (1 - q)));
  return Math.min(bucketBounds(bucketOfRank(counts, Math.min(rank, requests))).high, maxMs);
}

/** Requests that took longer for certain: those of the buckets that begin there or later. */
function countAbove({ counts }: MetricsSnapshot, ms: number): number {
  let above = 0;
  for (let bucket = counts.length - 1; bucket >= 0 && bucketBounds(bucket).low >= ms; bucket--) {
    above += counts[bucket] as number;
  }
  return above;
}

function percent(rate: number): string {
  return `${Number((rate * 100).toPrecision(3))} %`;
}

function milliseconds(ms: number): string {
  return `${Number(ms.toPrecision(3))} ms`;
}
