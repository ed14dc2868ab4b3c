// Health of one version: requests, errors, latency. Written by withServable(), read by getServableMetrics() and by bakes.
//
// All of it lies in one Float64Array, so that it can sit on a SharedArrayBuffer with one writer, or be copied to another
// thread. Latencies are counted in a log-linear histogram (HdrHistogram's idea): the bucket is the exponent of the
// milliseconds and the first three bits of their mantissa, read off the double as it lies in memory. A bucket is an
// eighth of its octave wide, so its middle is at most 1/16 = 6.25 % off; 33 octaves reach from 1 us to 2 hours.

const REQUESTS = 0;
const ERRORS = 1;
const IN_FLIGHT = 2;
const SUM_MS = 3;
const MAX_MS = 4; // also in native/binding/attachment_wrap.cc: all others add up
const BUCKETS = 5;

const FIRST_EXPONENT = -10; // 2^-10 ms = 0.98 us: what is faster counts in the first bucket
const OCTAVES = 33; // to 2^23 ms = 140 min; the last bucket, from 131 min, has no upper end
const BUCKET_COUNT = OCTAVES * 8;
/** The upper 15 bits (sign, exponent, 3 bits of mantissa) of the lowest edge. */
const FIRST_BITS = (1023 + FIRST_EXPONENT) << 3;

// Doubles and BigInts that a function takes or returns, or that live through an await, are put on the heap unless the
// optimizer can inline everything. So times go through typed arrays, and are handed on as two integers of 32 bits.
const { bigint: nanoseconds } = process.hrtime;
const clock = new BigInt64Array(1);
/** The halves of the time that begin() read, in nanoseconds, at [LOW] and [HIGH]: take them before anything else runs. */
export const clockWords: Int32Array = new Int32Array(clock.buffer);
const elapsed = new Float64Array(1);
const elapsedWords = new Uint32Array(elapsed.buffer);
const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
export const LOW: 0 | 1 = isLittleEndian ? 0 : 1;
export const HIGH: 0 | 1 = isLittleEndian ? 1 : 0;

/** How many doubles a {@link VersionMetrics} takes. */
export const METRICS_LENGTH = BUCKETS + BUCKET_COUNT;

/** What happened to a version so far: plain, for structuredClone() and JSON. Can be added up with mergeSnapshots(). */
export interface MetricsSnapshot {
  /** Requests that have ended, the failed ones among them. */
  readonly requests: number;
  readonly errors: number;
  /** Requests that have not ended. */
  readonly inFlight: number;
  readonly sumMs: number;
  readonly maxMs: number;
  /** Requests per bucket of latency, see bucketBounds(); buckets above the last one that counted something are left out. */
  readonly counts: readonly number[];
}

/** Latency in milliseconds; quantiles are within 6.25 %, mean and max exact. All 0 when nothing was counted. */
export interface LatencySummary {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * A request begins now, in the counters that begin at `at`; clockWords has the time.
 *
 * A request allocates nothing once it is optimized, and pays for two readings of the clock. Measured with Node.js 20 on a
 * virtual machine where clock_gettime takes 36 ns: a reading of process.hrtime.bigint() that goes to a BigInt64Array takes
 * 36 ns and no heap, performance.now() 66 ns and 16 bytes, Date.now() 86 ns and 16 bytes, process.hrtime() 106 ns and 32
 * bytes.
 */
export function beginRequest(counters: Float64Array, at: number): void {
  counters[at + IN_FLIGHT] = (counters[at + IN_FLIGHT] as number) + 1;
  clock[0] = nanoseconds();
}

/** A request that began at that time ends now. */
export function endRequest(
  counters: Float64Array,
  at: number,
  beganLow: number,
  beganHigh: number,
  failed: boolean,
): void {
  counters[at + IN_FLIGHT] = (counters[at + IN_FLIGHT] as number) - 1;
  clock[0] = nanoseconds();
  const high = (clockWords[HIGH] as number) - beganHigh;
  const low = ((clockWords[LOW] as number) >>> 0) - (beganLow >>> 0);
  elapsed[0] = (high * 2 ** 32 + low) / 1e6;
  countElapsed(counters, at, failed);
}

/** Counts a request that took elapsed[0] milliseconds. */
function countElapsed(counters: Float64Array, at: number, failed: boolean): void {
  const ms = elapsed[0] as number;
  counters[at + REQUESTS] = (counters[at + REQUESTS] as number) + 1;
  if (failed) counters[at + ERRORS] = (counters[at + ERRORS] as number) + 1;
  counters[at + SUM_MS] = (counters[at + SUM_MS] as number) + ms;
  if (ms > (counters[at + MAX_MS] as number)) counters[at + MAX_MS] = ms;
  let bucket = ((elapsedWords[HIGH] as number) >>> 17) - FIRST_BITS;
  if (bucket < 0) bucket = 0;
  else if (bucket >= BUCKET_COUNT) bucket = BUCKET_COUNT - 1;
  const counter = at + BUCKETS + bucket;
  counters[counter] = (counters[counter] as number) + 1;
}

/** The counters of one version, which has one writer; a view: what is read often keeps `counters` and `at` itself. */
export class VersionMetrics {
  readonly counters: Float64Array;
  readonly at: number;

  /**
   * @param counters shared or not; what they hold is gone on with.
   * @param at where the METRICS_LENGTH doubles of this version begin.
   */
  constructor(counters: Float64Array = new Float64Array(METRICS_LENGTH), at = 0) {
    this.counters = counters;
    this.at = at;
  }

  /** A request begins now. */
  begin(): void {
    beginRequest(this.counters, this.at);
  }

  /** Counts a request that took `ms` milliseconds. */
  record(ms: number, failed: boolean): void {
    elapsed[0] = ms;
    countElapsed(this.counters, this.at, failed);
  }

  /** A copy of the counters. */
  snapshot(): MetricsSnapshot {
    const data = this.counters.subarray(this.at, this.at + METRICS_LENGTH);
    let end = METRICS_LENGTH;
    while (end > BUCKETS && data[end - 1] === 0) end--;
    return {
      requests: data[REQUESTS] as number,
      errors: data[ERRORS] as number,
      inFlight: data[IN_FLIGHT] as number,
      sumMs: data[SUM_MS] as number,
      maxMs: data[MAX_MS] as number,
      counts: Array.from(data.subarray(BUCKETS, end)),
    };
  }
}

const PER_PAGE = 16;
/** A version begins on a line of the cache, and its first counters are on one. */
const STRIDE = Math.ceil(METRICS_LENGTH / 8) * 8;

/**
 * Makes the counters of versions, 2 kB each, 16 to an array. An array per version would be three more objects that a
 * request has to fetch into the cache: with 1,000 versions in turn that took 40 ns more. Nothing is given back: an array
 * lives as long as one of its versions.
 */
export class MetricsPages {
  private page = new Float64Array(0);
  private at = 0;

  make(): VersionMetrics {
    if (this.at === this.page.length) {
      this.page = new Float64Array(PER_PAGE * STRIDE);
      this.at = 0;
    }
    const metrics = new VersionMetrics(this.page, this.at);
    this.at += STRIDE;
    return metrics;
  }
}

/** Of a version without a request. */
export const NO_METRICS: MetricsSnapshot = { requests: 0, errors: 0, inFlight: 0, sumMs: 0, maxMs: 0, counts: [] };

/** The sum: of one version in several threads. */
export function mergeSnapshots(snapshots: Iterable<MetricsSnapshot>): MetricsSnapshot {
  const sum = { ...NO_METRICS, counts: [] as number[] };
  for (const { requests, errors, inFlight, sumMs, maxMs, counts } of snapshots) {
    sum.requests += requests;
    sum.errors += errors;
    sum.inFlight += inFlight;
    sum.sumMs += sumMs;
    sum.maxMs = Math.max(sum.maxMs, maxMs);
    counts.forEach((count, bucket) => {
      sum.counts[bucket] = (sum.counts[bucket] ?? 0) + count;
    });
  }
  return sum;
}

/** What came after `earlier`, a snapshot of the same counters; its max is known as exactly as its highest bucket. */
export function since(later: MetricsSnapshot, earlier: MetricsSnapshot): MetricsSnapshot {
  const counts = later.counts.map((count, bucket) => Math.max(0, count - (earlier.counts[bucket] ?? 0)));
  while (counts.at(-1) === 0) counts.pop();
  const highest = counts.length === 0 ? 0 : bucketBounds(counts.length - 1).high;
  return {
    requests: Math.max(0, later.requests - earlier.requests),
    errors: Math.max(0, later.errors - earlier.errors),
    inFlight: later.inFlight,
    sumMs: Math.max(0, later.sumMs - earlier.sumMs),
    maxMs: later.maxMs > earlier.maxMs ? later.maxMs : Math.min(highest, later.maxMs),
    counts,
  };
}

/** The milliseconds that a bucket counts: low <= ms < high. */
export function bucketBounds(bucket: number): { readonly low: number; readonly high: number } {
  return {
    low: bucket === 0 ? 0 : edge(bucket),
    high: bucket === BUCKET_COUNT - 1 ? Number.POSITIVE_INFINITY : edge(bucket + 1),
  };
}

function edge(bucket: number): number {
  return 2 ** (FIRST_EXPONENT + (bucket >> 3)) * (1 + (bucket & 7) / 8);
}

/** The bucket of the request with this rank, 1 the fastest; -1 without requests. */
export function bucketOfRank(counts: readonly number[], rank: number): number {
  let passed = 0;
  for (let bucket = 0; bucket < counts.length; bucket++) {
    passed += counts[bucket] as number;
    if (passed >= rank) return bucket;
  }
  return counts.length - 1;
}

/** Latency in milliseconds that the share `q` (0 to 1) of the requests did not exceed, within 6.25 %; 0 without any. */
export function quantile(snapshot: MetricsSnapshot, q: number): number {
  const { counts, maxMs } = snapshot;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const bucket = bucketOfRank(counts, Math.max(1, Math.ceil(q * total)));
  if (bucket < 0) return 0;
  return Math.min((edge(bucket) + bucketBounds(bucket).high) / 2, maxMs);
}

/** Mean, quantiles and maximum. */
export function summarize(snapshot: MetricsSnapshot): LatencySummary {
  return {
    mean: snapshot.requests === 0 ? 0 : snapshot.sumMs / snapshot.requests,
    p50: quantile(snapshot, 0.5),
    p90: quantile(snapshot, 0.9),
    p99: quantile(snapshot, 0.99),
    max: snapshot.maxMs,
  };
}
