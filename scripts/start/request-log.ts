import { createHistogram } from 'node:perf_hooks';

/** What happened to the requests that were due in a stretch of time. */
export interface WindowStats {
  readonly served: number;
  readonly failed: number;
  /** Answers by version. */
  readonly byVersion: ReadonlyMap<number, number>;
  /** Share of right answers, from 0 to 1. */
  readonly right: number;
  /** Milliseconds from when the request was due to its answer; 0 when there was none. */
  readonly p50: number;
  readonly p99: number;
}

/** A request that got no answer. */
export interface FailedRequest {
  readonly due: number;
  readonly error: unknown;
}

/** Every request, in columns: a hundred thousand of them cost a few megabytes and no garbage. */
export class RequestLog {
  readonly failures: FailedRequest[] = [];
  #size = 0;
  #due = new Float64Array(1 << 16);
  #latency = new Float64Array(1 << 16);
  #version = new Float64Array(1 << 16);
  #right = new Uint8Array(1 << 16);

  /** Answers so far. */
  get served(): number {
    return this.#size;
  }

  /** Adds an answer; times as of performance.now(). */
  answered(due: number, latency: number, version: number, right: boolean): void {
    if (this.#size === this.#due.length) this.#grow();
    this.#due[this.#size] = due;
    this.#latency[this.#size] = latency;
    this.#version[this.#size] = version;
    this.#right[this.#size] = right ? 1 : 0;
    this.#size++;
  }

  /** Adds a request that failed. */
  failed(due: number, error: unknown): void {
    this.failures.push({ due, error });
  }

  /** The requests that were due in [from, to). */
  window(from: number, to: number): WindowStats {
    return this.buckets(from, to, to - from)[0] as WindowStats;
  }

  /** The latest `count` answers. */
  latest(count: number): WindowStats {
    const bucket = new Bucket();
    for (let i = Math.max(0, this.#size - count); i < this.#size; i++) {
      bucket.add(this.#latency[i] as number, this.#version[i] as number, this.#right[i] as number);
    }
    return bucket.stats();
  }

  /** The requests due in [from, to), in buckets of `width` milliseconds. */
  buckets(from: number, to: number, width: number): readonly WindowStats[] {
    const count = Math.max(1, Math.ceil((to - from) / width - 1e-9));
    const buckets = Array.from({ length: count }, () => new Bucket());
    const bucketOf = (due: number): Bucket | undefined =>
      due >= from && due < to ? buckets[Math.min(count - 1, Math.floor((due - from) / width))] : undefined;
    for (let i = 0; i < this.#size; i++) {
      const bucket = bucketOf(this.#due[i] as number);
      bucket?.add(this.#latency[i] as number, this.#version[i] as number, this.#right[i] as number);
    }
    for (const failure of this.failures) {
      const bucket = bucketOf(failure.due);
      if (bucket) bucket.failed++;
    }
    return buckets.map((bucket) => bucket.stats());
  }

  #grow(): void {
    const bigger = <A extends Float64Array | Uint8Array>(column: A, into: A): A => {
      into.set(column);
      return into;
    };
    const size = this.#size * 2;
    this.#due = bigger(this.#due, new Float64Array(size));
    this.#latency = bigger(this.#latency, new Float64Array(size));
    this.#version = bigger(this.#version, new Float64Array(size));
    this.#right = bigger(this.#right, new Uint8Array(size));
  }
}

class Bucket {
  failed = 0;
  #right = 0;
  readonly #byVersion = new Map<number, number>();
  readonly #histogram = createHistogram();

  add(latency: number, version: number, right: number): void {
    this.#histogram.record(Math.max(1, Math.round(latency * 1000)));
    this.#byVersion.set(version, (this.#byVersion.get(version) ?? 0) + 1);
    this.#right += right;
  }

  stats(): WindowStats {
    const served = this.#histogram.count;
    return {
      served,
      failed: this.failed,
      byVersion: this.#byVersion,
      right: served === 0 ? 0 : this.#right / served,
      p50: served === 0 ? 0 : this.#histogram.percentile(50) / 1000,
      p99: served === 0 ? 0 : this.#histogram.percentile(99) / 1000,
    };
  }
}
