// One place that checks options, so that every message has one form:
//   Expected <expectation> for option <name>, but received <value> (<type>).
// A check throws before anything is changed.
import type { AspiredErrorCode } from './error-codes.js';
import { AspiredError } from './errors.js';

/** `"abc" (string)`, `-1 (number)`, `undefined`: a value as it appears in a message, short and safe to print. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string')
    return `${JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)} (string)`;
  if (typeof value === 'function') return `[function ${value.name || 'anonymous'}] (function)`;
  if (typeof value === 'object') {
    const name = Array.isArray(value) ? 'array' : ((value as object).constructor?.name ?? 'object');
    return `[${name}] (${Array.isArray(value) ? `array of ${value.length}` : 'object'})`;
  }
  return `${String(value)} (${typeof value})`;
}

/** The error of a bad option: names the option, the expectation and the value. */
export function invalidOption(
  name: string,
  expected: string,
  value: unknown,
  code: AspiredErrorCode = 'ERR_INVALID_ARGUMENT',
): AspiredError {
  return new AspiredError(code, `Expected ${expected} for option ${name}, but received ${describe(value)}.`);
}

/** Throws unless `value` is a plain object whose keys are all in `known`; the message suggests the nearest key. */
export function checkKeys(
  where: string,
  value: unknown,
  known: readonly string[],
): asserts value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidOption(where, 'an object', value);
  }
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const near = nearest(key, known);
    const hint = near ? ` Did you mean ${near}?` : ` Known: ${known.join(', ')}.`;
    throw new AspiredError('ERR_UNKNOWN_OPTION', `Unknown option ${key} in ${where}.${hint}`);
  }
}

/** An integer in [min, max], or `fallback` when undefined; a fallback of NaN means that a value is required. */
export function checkInteger(
  name: string,
  value: unknown,
  fallback: number,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (value === undefined && !Number.isNaN(fallback)) return fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `an integer >= ${min}` : `an integer from ${min} to ${max}`;
    throw invalidOption(name, range, value);
  }
  return value;
}

/** A boolean, or `fallback` when undefined. */
export function checkBoolean(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  if (typeof value !== 'boolean') throw invalidOption(name, 'a boolean', value);
  return value;
}

/** A function, or undefined. */
export function checkFunction<F>(name: string, value: F | undefined): F | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'function') throw invalidOption(name, 'a function', value);
  return value;
}

/** An AbortSignal, or undefined. Does not look at its state. */
export function checkSignal(name: string, value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  if (!(value instanceof AbortSignal)) throw invalidOption(name, 'an AbortSignal', value);
  return value;
}

/** A non-empty servable name. */
export function checkName(value: unknown): string {
  if (typeof value !== 'string' || value === '') {
    throw invalidOption('name', 'a non-empty string', value, 'ERR_INVALID_NAME');
  }
  return value;
}

/** A version: a safe integer >= 0; -0 becomes 0. */
export function checkVersion(name: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw invalidOption(name, 'a safe integer >= 0', value, 'ERR_INVALID_VERSION');
  }
  return value === 0 ? 0 : value;
}

/** The known word within an edit distance that a typo explains (Levenshtein, at most a third of the length). */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return bestDistance <= Math.max(2, Math.floor(word.length / 3)) ? best : undefined;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitute, (previous[j] as number) + 1, (row[j - 1] as number) + 1));
    }
    previous = row;
  }
  return previous[b.length] as number;
}
