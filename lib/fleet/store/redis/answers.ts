// Refusals that every script of controllers can answer with.
import { AspiredError } from '../../../errors.js';
import type { Keys } from './keys.js';

/** The error for an outcome that is none of the expected ones. */
export function refused(outcome: unknown, keys: Keys, rollout?: string): AspiredError {
  if (outcome === 'empty') return storeEmpty(keys);
  if (outcome === 'unknown' && rollout !== undefined) {
    return new AspiredError('ERR_ROLLOUT_NOT_FOUND', `No rollout has the id ${JSON.stringify(rollout)}.`);
  }
  return new AspiredError('ERR_INTERNAL', `A script of the store answered ${String(outcome)}.`);
}

export function storeEmpty(keys: Keys): AspiredError {
  const message = `Redis has no ${keys.meta}: the fleet was never made here, or its data was lost.`;
  return new AspiredError('ERR_STORE_EMPTY', message);
}
