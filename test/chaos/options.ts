// What npm run test:chaos takes.
import { parseArgs } from 'node:util';
import { MUTANTS, type Mutant } from './processes/messages.js';
import { FAULT_KINDS, type FaultKind } from './seeded/schedule.js';

export const USAGE = `npm run test:chaos -- [options]
  --seeds N        how many seeds, one after the other (4: each kind of fault at least once)
  --seed S         the first seed (1)
  --minutes M      no further seed after so many minutes
  --only F1,F10    nothing but faults of these kinds
  --mutant NAME    the system without one of its safeties: ${MUTANTS.join(', ')}; the run is to fail
  --keep           keeps the history of seeds that passed, too`;

export interface ChaosOptions {
  readonly seeds: number;
  readonly seed: number;
  readonly minutes: number;
  readonly only?: readonly FaultKind[] | undefined;
  readonly mutant?: Mutant | undefined;
  readonly keep: boolean;
}

/** @throws Error that says what to type */
export function parseOptions(args: readonly string[]): ChaosOptions {
  const { values } = parseArgs({
    args: [...args],
    strict: true,
    options: {
      seeds: { type: 'string' },
      seed: { type: 'string' },
      minutes: { type: 'string' },
      only: { type: 'string' },
      mutant: { type: 'string' },
      keep: { type: 'boolean', default: false },
    },
  });
  const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : positive('minutes', values.minutes);
  return {
    // With a limit of time and none of number, as many as fit.
    seeds: values.seeds === undefined ? (values.minutes === undefined ? 4 : 1e6) : whole('seeds', values.seeds),
    seed: whole('seed', values.seed ?? '1'),
    minutes,
    only: values.only?.split(',').map((kind) => word('only', kind, FAULT_KINDS)),
    mutant: values.mutant === undefined ? undefined : word('mutant', values.mutant, MUTANTS),
    keep: values.keep,
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`--${name} takes a number above 0, but received ${JSON.stringify(text)}.`);
}

function whole(name: string, text: string): number {
  const value = positive(name, text);
  if (Number.isSafeInteger(value)) return value;
  throw new Error(`--${name} takes a whole number from 1, but received ${JSON.stringify(text)}.`);
}

function word<W extends string>(name: string, text: string, words: readonly W[]): W {
  const found = words.find((known) => known === text);
  if (found !== undefined) return found;
  throw new Error(`--${name} takes ${words.join(', ')}, but received ${JSON.stringify(text)}.`);
}
