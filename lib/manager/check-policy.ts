import { Policy } from '../native/binding.js';
import { invalidOption } from '../options.js';
import { policyNumber } from '../policies/built-in.js';
import type { AspiredVersionPolicy } from '../types.js';

/** A policy option as the core takes it, and the JavaScript policy when the core does not know it. */
export function checkPolicy(
  name: string,
  value: unknown,
): { number: number; custom: AspiredVersionPolicy | undefined } {
  const number = policyNumber(value);
  if (number !== undefined) return { number, custom: undefined };
  if (
    typeof value !== 'object' ||
    value === null ||
    typeof (value as AspiredVersionPolicy).getNextAction !== 'function'
  ) {
    throw invalidOption(
      name,
      "'availability-preserving', 'resource-preserving' or an object with getNextAction()",
      value,
    );
  }
  return { number: Policy.External, custom: value as AspiredVersionPolicy };
}
