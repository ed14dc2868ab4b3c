import type { AspiredVersionsManager, OnnxServable } from 'aspired';
import { pixelsOf } from '../models/classifier.js';
import { DIGIT_PIXELS, type DigitSet } from '../models/digits.js';
import { RequestLog } from './request-log.js';

/** What the traffic is. */
export interface TrafficOptions {
  readonly manager: AspiredVersionsManager;
  /** Name of the servable that is asked. */
  readonly name: string;
  /** Requests per second. */
  readonly rate: number;
  /** What is asked, one sample per request, round and round. */
  readonly samples: DigitSet;
}

/** A feed of one sample, as the model's input `x`. */
export function feedOf(samples: DigitSet, sample: number) {
  return { x: { type: 'float32' as const, data: pixelsOf(samples, sample).slice(), dims: [1, DIGIT_PIXELS] } };
}

/** The digit that an answer names. */
export function digitOf(outputs: Readonly<Record<string, { readonly data: unknown }>>): number {
  return Number((outputs.label?.data as BigInt64Array | undefined)?.[0]);
}

/**
 * Steady open-loop traffic: requests are due at a fixed rate, whatever became of the earlier ones, and the latency of a
 * request counts from when it was due. A timer of 1 ms sends what is due, so about 0.5 ms of each latency is its own.
 */
export class Traffic {
  readonly log = new RequestLog();
  readonly rate: number;
  readonly #options: TrafficOptions;
  readonly #feeds: ReturnType<typeof feedOf>[];
  readonly #waiting = new Set<{ version: number; after: number; resolve: (at: number) => void }>();
  #timer: NodeJS.Timeout | undefined;
  #nextDue = 0;
  #sent = 0;
  #inFlight = 0;
  #latestVersion = -1;

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.rate = options.rate;
    this.#feeds = Array.from({ length: options.samples.size }, (_, i) => feedOf(options.samples, i));
  }

  /** The version that gave the latest answer; -1 before the first. */
  get latestVersion(): number {
    return this.#latestVersion;
  }

  /** Requests without an answer yet. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Starts sending. */
  start(): void {
    this.#nextDue = performance.now();
    this.#tick();
  }

  /** Stops sending and waits for what is in flight. Throws when something is still in flight after 5 s. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    const deadline = performance.now() + 5000;
    while (this.#inFlight > 0) {
      if (performance.now() > deadline) throw new Error(`${this.#inFlight} requests got no answer within 5 s`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Resolves with the time of the first answer by `version` to a request that was due after `after`. */
  firstAnswer(version: number, after: number, signal: AbortSignal): Promise<number> {
    const first = new Promise<number>((resolve, reject) => {
      const waiter = { version, after, resolve };
      this.#waiting.add(waiter);
      const give = (): void => {
        this.#waiting.delete(waiter);
        reject(new Error(`No answer by version ${version} in time`));
      };
      signal.addEventListener('abort', give, { once: true });
    });
    // A step that fails earlier awaits it no more.
    first.catch(() => {});
    return first;
  }

  readonly #tick = (): void => {
    const now = performance.now();
    const interval = 1000 / this.rate;
    for (; this.#nextDue <= now; this.#nextDue += interval) void this.#send(this.#nextDue);
    this.#timer = setTimeout(this.#tick, 1);
  };

  async #send(due: number): Promise<void> {
    const sample = this.#sent++ % this.#feeds.length;
    const feed = this.#feeds[sample] as ReturnType<typeof feedOf>;
    this.#inFlight++;
    try {
      let version = -1;
      const outputs = await this.#options.manager.withServable(this.#options.name, (servable: OnnxServable, id) => {
        version = id.version;
        return servable.run(feed);
      });
      const at = performance.now();
      this.log.answered(due, at - due, version, digitOf(outputs) === this.#options.samples.labels[sample]);
      this.#answered(version, due, at);
    } catch (error) {
      this.log.failed(due, error);
    } finally {
      this.#inFlight--;
    }
  }

  #answered(version: number, due: number, at: number): void {
    this.#latestVersion = version;
    for (const waiter of this.#waiting) {
      if (waiter.version !== version || due < waiter.after) continue;
      this.#waiting.delete(waiter);
      waiter.resolve(at);
    }
  }
}
