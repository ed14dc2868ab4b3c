import { parseDuration } from '../duration.js';
import { checkInteger, checkKeys, invalidOption } from '../options.js';

/**
 * Watches a version after readers were switched to it, while the previous one stays resident. On a breach the manager
 * goes back by itself, and the version ends with ERR_BAKE_FAILED whose cause is a {@link BakeReport}. Beside a version that
 * stays aspired the bake begins when a plain name or a label leads to the new one; versions of one first list have nothing to
 * prove to each other.
 *
 * It goes by what withServable() and withServableSync() count, so the option `metrics` must be on. At least one of
 * `maxErrorRate` and `maxLatencyIncrease` is needed.
 */
export interface BakeOptions {
  /** How long: '60s', '30m', or milliseconds. */
  readonly for: string | number;
  /**
   * With fewer requests a version is judged only when the verdict is statistically sure; otherwise it passes, because
   * nothing speaks against it. The previous version needs as many to be compared with. @default 100
   */
  readonly minRequests?: number;
  /**
   * The share of requests that may fail, 0 to 1. A previous version that fails more often itself raises the limit to its
   * own rate: going back would mend nothing.
   */
  readonly maxErrorRate?: number;
  /** By how much p50 and p99 may exceed those of the previous version: 0.5 is 50 %. */
  readonly maxLatencyIncrease?: number;
  /** @default 'previous' */
  readonly compareTo?: 'previous';
}

/** {@link BakeOptions}, checked. */
export interface BakeSettings {
  readonly forMs: number;
  readonly minRequests: number;
  readonly maxErrorRate: number | undefined;
  readonly maxLatencyIncrease: number | undefined;
}

const KEYS = [
  'for',
  'minRequests',
  'maxErrorRate',
  'maxLatencyIncrease',
  'compareTo',
] as const satisfies readonly (keyof BakeOptions)[];

/**
 * The settings of a bake; undefined when none is wanted (undefined or false).
 *
 * @throws AspiredError ERR_INVALID_ARGUMENT, ERR_UNKNOWN_OPTION
 */
export function checkBake(value: unknown, name = 'bake'): BakeSettings | undefined {
  if (value === undefined || value === false) return undefined;
  checkKeys(name, value, KEYS);
  const options = value as Partial<BakeOptions>;
  const { compareTo = 'previous' } = options;
  if (compareTo !== 'previous') throw invalidOption(`${name}.compareTo`, "'previous'", compareTo);
  const settings = {
    forMs: parseDuration(`${name}.for`, options.for, 1),
    minRequests: checkInteger(`${name}.minRequests`, options.minRequests, 100, 1),
    maxErrorRate: checkNumber(`${name}.maxErrorRate`, options.maxErrorRate, 1, 'a number from 0 to 1'),
    maxLatencyIncrease: checkNumber(
      `${name}.maxLatencyIncrease`,
      options.maxLatencyIncrease,
      Number.MAX_VALUE,
      'a number >= 0, such as 0.5 for 50 %',
    ),
  };
  if (settings.maxErrorRate === undefined && settings.maxLatencyIncrease === undefined) {
    throw invalidOption(name, 'maxErrorRate or maxLatencyIncrease, or both,', value);
  }
  return settings;
}

function checkNumber(name: string, value: unknown, max: number, expected: string): number | undefined {
  if (value === undefined) return undefined;
  // The comparison is false for NaN.
  if (typeof value !== 'number' || !(value >= 0 && value <= max)) throw invalidOption(name, expected, value);
  return value;
}
