// How far the clock of this host is from the clock of the store. A finding for people: no decision uses either.
import { AspiredError } from '../../errors.js';
import type { HostStore } from '../store/types.js';

/** Milliseconds that a clock may be off before somebody is told. */
const TOLERANCE_MS = 5_000;

/** ERR_HOST_CLOCK_WRONG, or undefined when the clocks agree. Rejects when the store does not answer. */
export async function checkClock(store: HostStore): Promise<AspiredError | undefined> {
  const before = Date.now();
  const theirs = await store.now();
  const ours = (before + Date.now()) / 2;
  const skewMs = Math.round(ours - theirs);
  if (Math.abs(skewMs) <= TOLERANCE_MS) return undefined;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const message = `The clock of this host is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} the clock of the store.`;
  return new AspiredError('ERR_HOST_CLOCK_WRONG', message);
}
