// Waits that end: by a promise, or by a deadline that says what did not come.
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Milliseconds that anything may take on a machine that is busy with other tests. */
export const PATIENCE_MS = 15_000;

/** `promise`, or a failure that says what was waited for. */
export async function deadline<T>(promise: PromiseLike<T>, what: string, ms = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Still waiting for ${what} after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Turns of the event loop until `condition` holds: for what no event and no promise tells. */
export async function eventually(condition: () => boolean, what: string, ms = PATIENCE_MS): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`Still waiting for ${what} after ${ms} ms`);
    await nextTurn();
  }
}

/**
 * Some turns of the event loop: for what must not happen. By the end everything that was on its way in this thread has
 * arrived; what another thread may still do needs a wait for something that comes after it.
 */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await nextTurn();
}
