// Names that become parts of Redis keys, file names and metrics: one rule for all of them.
import { AspiredError } from '../errors.js';
import { describe } from '../options.js';

/** Letters, digits, dot, dash, underscore; begins with a letter or digit; 1 to 128 characters. No braces, no colons. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * The value, when it can be a name of a fleet, a host, a zone or a model.
 *
 * @throws AspiredError ERR_FLEET_INVALID_NAME
 */
export function checkFleetName(what: string, value: unknown): string {
  if (typeof value === 'string' && NAME.test(value)) return value;
  throw new AspiredError(
    'ERR_FLEET_INVALID_NAME',
    `Expected letters, digits, dots, dashes and underscores, at most 128, for ${what}, but received ${describe(value)}.`,
  );
}
