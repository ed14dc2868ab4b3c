import { randomUUID } from 'node:crypto';
import { checkKeys, invalidOption } from '../../options.js';
import type { Intent } from '../types.js';

/** An intent as people give it: the operation is made up where there is none. */
export type IntentOptions = Pick<Intent, 'actor' | 'reason'> & Partial<Pick<Intent, 'operation'>>;

const MAX_LENGTH = 1_000;

/** @throws AspiredError ERR_INVALID_ARGUMENT: everything that is done has somebody who did it, and a reason. */
export function checkIntent(intent: IntentOptions): Intent {
  checkKeys('intent', intent, ['actor', 'reason', 'operation']);
  const { actor, reason, operation = randomUUID() } = intent;
  for (const [name, value] of Object.entries({ actor, reason, operation })) {
    if (typeof value === 'string' && value.trim() !== '' && value.length <= MAX_LENGTH) continue;
    throw invalidOption(`intent.${name}`, `a text of 1 to ${MAX_LENGTH} characters`, value);
  }
  return { actor, reason, operation };
}
