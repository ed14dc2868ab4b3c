// Waits of the harness: for a condition, until a deadline.
import { setTimeout as sleep } from 'node:timers/promises';

/** Polls. False: the time is over. A condition that rejects does not hold yet: the store may be away. */
export async function within(ms: number, condition: () => boolean | Promise<boolean>, everyMs = 25): Promise<boolean> {
  const end = performance.now() + ms;
  for (;;) {
    try {
      if (await condition()) return true;
    } catch {
      // Asked again.
    }
    if (performance.now() >= end) return false;
    await sleep(everyMs);
  }
}

/** One at a time, in order. */
export class Turn {
  #last: Promise<unknown> = Promise.resolve();

  take<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => {});
    return mine;
  }
}
