// What each kind of gate is: the one place where a further kind is added is the table in index.ts.
import { invalidOption } from '../../options.js';
import type { Gate, GateInput, GateResult } from './types.js';

/** One kind. */
export interface GateKind<G extends Gate> {
  /** Keys of its options, besides `kind`. */
  readonly keys: readonly (Exclude<keyof G, 'kind'> & string)[];
  /**
   * The gate with its defaults filled in. `where` is the name of the option.
   *
   * @throws AspiredError ERR_PLAN_INVALID
   */
  check(options: G, where: string): G;
  /** Pure: the same input, the same answer. Never passes for want of data. Absent in a kind that asks somebody else. */
  readonly judge?: (gate: G, input: GateInput) => GateResult;
}

/** A number in a range, or the fallback. */
export function checkNumber(
  name: string,
  value: number | undefined,
  fallback: number,
  { above = Number.NEGATIVE_INFINITY, min = above, max, whole = false }: Range,
): number {
  if (value === undefined) return fallback;
  // The comparisons are false for NaN.
  const fits = typeof value === 'number' && value > above && value >= min && value <= max;
  if (fits && (!whole || Number.isSafeInteger(value))) return value;
  const least = above === Number.NEGATIVE_INFINITY ? `from ${min}` : `above ${above}`;
  throw invalidOption(name, `${whole ? 'an integer' : 'a number'} ${least} to ${max}`, value, 'ERR_PLAN_INVALID');
}

interface Range {
  /** Exclusive. */
  readonly above?: number;
  readonly min?: number;
  readonly max: number;
  readonly whole?: boolean;
}

/** One of the words, or the fallback, which is the first. */
export function checkWord<W extends string>(name: string, value: W | undefined, words: readonly [W, ...W[]]): W {
  if (value === undefined) return words[0];
  if (words.includes(value)) return value;
  const known = words.map((word) => `'${word}'`).join(' or ');
  throw invalidOption(name, known, value, 'ERR_PLAN_INVALID');
}

/** `0.42 %` */
export function percent(rate: number): string {
  return `${Number((rate * 100).toPrecision(3))} %`;
}

/** `12,345` */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** `41 ms` */
export function milliseconds(ms: number): string {
  return `${Number(ms.toPrecision(3))} ms`;
}

/** What people wrote, fit for a message: one line, without control characters, not too long. */
export function oneLine(text: string, most = 300): string {
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return line.length > most ? `${line.slice(0, most)}…` : line;
}
