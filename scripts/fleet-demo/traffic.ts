import { AspiredError, type AspiredVersionsManager, type OnnxServable } from 'aspired';
import type { DigitSet } from '../models/digits.js';
import { feedOf } from '../start/traffic.js';
import type { HostCount } from './messages.js';

/** What the traffic of one host is. */
export interface HostTrafficOptions {
  readonly manager: AspiredVersionsManager;
  readonly model: string;
  /** Requests per second. */
  readonly rate: number;
  readonly samples: DigitSet;
}

/** Steady requests to the primary version of one model, counted by the version that got them. */
export class HostTraffic {
  readonly #options: HostTrafficOptions;
  readonly #versions = new Map<number, { answered: number; failed: number }>();
  readonly #open = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #sent = 0;
  #lost = 0;
  #firstLost: string | undefined;
  #latest: number | undefined;

  constructor(options: HostTrafficOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      const request = this.#request().finally(() => this.#open.delete(request));
      this.#open.add(request);
    }, 1000 / this.#options.rate);
  }

  /** Sends no more, and waits for the answers that are due. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#open);
  }

  count(): HostCount {
    const { manager, model } = this.#options;
    return {
      versions: [...this.#versions].map(([version, counts]) => ({ version, ...counts })),
      lost: this.#lost,
      ...(this.#firstLost === undefined ? {} : { firstLost: this.#firstLost }),
      ...(this.#latest === undefined ? {} : { latest: this.#latest }),
      resident: manager
        .getServableStates(model)
        .filter(({ managerState }) => managerState !== 'End' && managerState !== 'Start')
        .map(({ id }) => id.version),
    };
  }

  async #request(): Promise<void> {
    const { manager, model, samples } = this.#options;
    const feed = feedOf(samples, this.#sent++ % samples.size);
    let version: number | undefined;
    try {
      await manager.withServable(model, (servable: OnnxServable, id) => {
        version = id.version;
        return servable.run(feed);
      });
      this.#of(version as unknown as number).answered++;
      this.#latest = version;
    } catch (error) {
      // Before the first version came there was nobody to ask.
      if (version !== undefined) this.#of(version).failed++;
      else if (this.#versions.size > 0) this.#lose(error);
    }
  }

  #lose(error: unknown): void {
    this.#lost++;
    this.#firstLost ??= error instanceof AspiredError ? `${error.code}: ${error.message}` : String(error);
  }

  #of(version: number): { answered: number; failed: number } {
    const counts = this.#versions.get(version) ?? { answered: 0, failed: 0 };
    this.#versions.set(version, counts);
    return counts;
  }
}
