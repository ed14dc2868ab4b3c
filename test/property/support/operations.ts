// Random operations on a manager. They are plain data, so that a counterexample reads well.
import fc from 'fast-check';
import type { LoadKind, Plan } from './loaders.js';

export type PolicyName = 'availability-preserving' | 'resource-preserving';

export interface Item {
  readonly version: number;
  /** No plan: the source could not prepare the version. */
  readonly plan: Plan | undefined;
}

export type Operation =
  | {
      readonly do: 'aspire';
      readonly name: string;
      readonly items: readonly Item[];
      readonly policy: PolicyName | undefined;
      readonly primary: number | null | undefined;
    }
  | {
      readonly do: 'labels';
      readonly name: string;
      readonly canary: number;
      readonly primary: number | null | undefined;
    }
  | { readonly do: 'hold'; readonly name: string; readonly version: number | 'latest' | 'earliest' | undefined }
  | { readonly do: 'use'; readonly name: string }
  | { readonly do: 'release'; readonly index: number }
  | { readonly do: 'open'; readonly index: number }
  | { readonly do: 'open all' }
  | { readonly do: 'threads'; readonly load: number; readonly unload: number }
  /** A round: step() without a thread, a turn of the event loop with one. */
  | { readonly do: 'round'; readonly times: number };

/** How the manager is made, and how the run ends. */
export interface Setting {
  readonly policy: PolicyName;
  readonly load: number;
  readonly unload: number;
  readonly retries: number;
  /** Who decides: the core, a policy in JavaScript, or the core's policy with an order in JavaScript. */
  readonly decides: 'core' | 'policy' | 'order';
  /** close() in the middle of everything, instead of after all has come to rest. */
  readonly closeEarly: boolean;
}

export const NAMES = ['a', 'b', 'c'] as const;
const name = fc.constantFrom(...NAMES);
const version = fc.integer({ min: 1, max: 5 });

const plan: fc.Arbitrary<Plan> = fc.record({
  load: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom<LoadKind>('sync', 'async', 'gate') },
    { weight: 5, arbitrary: fc.constantFrom<LoadKind>('aborted', 'deaf', 'fail', 'fail-gate', 'fail-always') },
  ),
  failures: fc.integer({ min: 1, max: 4 }),
  warmup: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Plan['warmup']>('none') },
    { weight: 2, arbitrary: fc.constantFrom<Plan['warmup']>('sync', 'gate', 'fail') },
  ),
  unload: fc.constantFrom('none', 'sync', 'async', 'gate', 'throw'),
});

const items: fc.Arbitrary<Item[]> = fc.uniqueArray(
  fc.record({ version, plan: fc.option(plan, { nil: undefined, freq: 12 }) }),
  { maxLength: 4, selector: (item) => item.version },
);

const rarely = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
const primary = fc.option(version, { nil: null, freq: 4 });

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('aspire' as const),
      name,
      items,
      policy: rarely(fc.constantFrom<PolicyName>('availability-preserving', 'resource-preserving')),
      primary: rarely(primary),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('labels' as const), name, canary: version, primary: rarely(primary) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      name,
      version: fc.oneof(version, fc.constantFrom('latest' as const, 'earliest' as const, undefined)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('use' as const), name }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('release' as const), index: fc.nat(7) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('open' as const), index: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'open all' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('threads' as const), load: fc.nat(3), unload: fc.nat(2) }),
  },
  { weight: 7, arbitrary: fc.record({ do: fc.constant('round' as const), times: fc.integer({ min: 1, max: 3 }) }) },
);

export const operations: fc.Arbitrary<Operation[]> = fc.array(operation, { minLength: 1, maxLength: 30, size: 'max' });

export const setting: fc.Arbitrary<Setting> = fc.record({
  policy: fc.oneof(
    { weight: 3, arbitrary: fc.constant<PolicyName>('availability-preserving') },
    { weight: 1, arbitrary: fc.constant<PolicyName>('resource-preserving') },
  ),
  load: fc.constantFrom(0, 1, 2, 4),
  unload: fc.constantFrom(0, 1, 2),
  retries: fc.integer({ min: 0, max: 2 }),
  decides: fc.oneof(
    { weight: 3, arbitrary: fc.constant('core' as const) },
    { weight: 2, arbitrary: fc.constantFrom('policy' as const, 'order' as const) },
  ),
  closeEarly: fc.boolean(),
});

/** Options of fc.assert: ASPIRED_PROPERTY_RUNS multiplies the runs, ASPIRED_PROPERTY_SEED repeats a failure. */
export function runs(numRuns: number): fc.Parameters<unknown> {
  const factor = Number(process.env.ASPIRED_PROPERTY_RUNS ?? 1);
  const seed = process.env.ASPIRED_PROPERTY_SEED;
  return {
    numRuns: numRuns * factor,
    includeErrorInReport: true,
    ...(seed === undefined ? {} : { seed: Number(seed) }),
  };
}
