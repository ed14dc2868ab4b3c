import { AspiredError } from '../../errors.js';

/** Waits for `work`, and no longer than that; what it rejects with is passed over, and what it still does goes on. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => undefined), late]);
  clearTimeout(timer);
}

/**
 * What Redis answers to `work`. BullMQ waits for a server that is away as long as it takes; nobody else does.
 *
 * @throws AspiredError ERR_STORE_UNAVAILABLE after `ms`: it may have been carried out, or may still be
 */
export async function inTime<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `Redis has not answered within ${ms} ms: ${what} may still be carried out.`;
    timer = setTimeout(() => reject(new AspiredError('ERR_STORE_UNAVAILABLE', message)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
