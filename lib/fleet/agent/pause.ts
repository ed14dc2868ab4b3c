// Pauses: jittered, so that a thousand hosts do not come back in the same millisecond; and deadlines.
import { AspiredError } from '../../errors.js';

/** `ms`, give or take a tenth. */
export function jittered(ms: number): number {
  return Math.round(ms * (0.9 + 0.2 * Math.random()));
}

/** The pause after that many failures in a row: doubles from `firstMs` to `mostMs`, half of it by chance. */
export function backOff(failures: number, firstMs: number, mostMs: number): number {
  const ms = Math.min(mostMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(ms * (0.5 + 0.5 * Math.random()));
}

/** The promise, or ERR_STORE_UNAVAILABLE when it takes longer: a store must not hold up its host. */
export async function answered<T>(what: string, ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const message = `The fleet store did not answer within ${ms} ms: ${what}.`;
    timer = setTimeout(() => reject(new AspiredError('ERR_STORE_UNAVAILABLE', message)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
