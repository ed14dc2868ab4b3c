// When each host of this process acted on a version.
import type { Expect } from './protocol.js';

interface Change {
  readonly times: Map<number, bigint>;
  done?: () => void;
}

export class Arrivals {
  /** Of this process. */
  hosts = 0;
  private readonly changes = new Map<string, Change>();

  note(host: number, model: string, versions: readonly number[]): void {
    const now = process.hrtime.bigint();
    for (const version of versions) {
      const change = this.of(model, version);
      if (!change.times.has(host)) change.times.set(host, now);
      if (change.times.size === this.hosts) change.done?.();
    }
  }

  /** Waits until all hosts have the version: milliseconds from the epoch. */
  async all({ model, version, epoch }: Expect): Promise<number[]> {
    const change = this.of(model, version);
    if (change.times.size < this.hosts) {
      await new Promise<void>((resolve) => {
        change.done = resolve;
      });
    }
    const since = BigInt(epoch);
    return [...change.times.values()].map((time) => Number(time - since) / 1e6);
  }

  private of(model: string, version: number): Change {
    const key = `${model}/${version}`;
    let change = this.changes.get(key);
    if (!change) {
      change = { times: new Map() };
      this.changes.set(key, change);
    }
    return change;
  }
}
