// What the simulation can be made to do wrong, so that each checker is seen to catch it.
import { type Observation, type RolloutPlan, type RolloutState, SEEN, TOLD } from '#lib/fleet/rollout/types.js';

export interface Mutant {
  /** The reducer gets another plan. */
  readonly plan?: (plan: RolloutPlan) => RolloutPlan;
  /** The reducer sees something else. */
  readonly sees?: (seen: Observation, state: RolloutState) => Observation;
  /** The reducer does not know that it is paused. */
  readonly deaf?: true;
  readonly store?: 'no-cas' | 'two-active' | 'no-jump';
  readonly host?: 'accepts-old' | 'empties-on-missing';
  /** Nothing wrong, but slow: every host is looked at at every tick. */
  readonly everyone?: true;
}

/** By name, with the invariant that it breaks. */
export const MUTANTS: Readonly<Record<string, { readonly breaks: string; readonly mutant: Mutant }>> = {
  'a second rollout starts beside the first': { breaks: 'I1', mutant: { store: 'two-active' } },
  'maxUnavailable is not looked at': {
    breaks: 'I2',
    mutant: { plan: (plan) => ({ ...plan, maxUnavailable: '100%' }) },
  },
  'only reports count against the budget, not what hosts were told': {
    breaks: 'I2',
    mutant: { sees: (seen) => ({ ...seen, upToDate: new Uint8Array(seen.upToDate.length).fill(1) }) },
  },
  'hosts that are away get no rollback': {
    breaks: 'I3',
    mutant: {
      sees: (seen, { rollback }) => {
        if (!rollback) return seen;
        const told = seen.told.map((bits, place) =>
          ((seen.seen[place] as number) & SEEN.ALIVE) === 0 ? TOLD.OLD | TOLD.ROLLED_BACK : bits,
        );
        return { ...seen, told };
      },
    },
  },
  'nobody hears the witnesses': { breaks: 'I3', mutant: { sees: ({ witness: _, ...seen }) => seen } },
  'deadlines are not looked at': {
    breaks: 'I4',
    mutant: { plan: (plan) => ({ ...plan, deadlineMs: 1e12, progressDeadlineMs: 1e12 }) },
  },
  'commits of a zombie are taken': { breaks: 'I5', mutant: { store: 'no-cas' } },
  'a host applies what is older': { breaks: 'I6', mutant: { host: 'accepts-old' } },
  'a host takes a missing document for an empty one': { breaks: 'I7', mutant: { host: 'empties-on-missing' } },
  'room on hosts is not looked at': {
    breaks: 'I8',
    mutant: { sees: (seen) => ({ ...seen, freeMib: new Uint32Array(seen.freeMib.length).fill(0xffffffff) }) },
  },
  'generations are used again after lost writes': { breaks: 'I11', mutant: { store: 'no-jump' } },
  'waves are not looked at': {
    breaks: 'waves',
    mutant: { plan: (plan) => ({ ...plan, waveOf: plan.waveOf.map(() => 0) }) },
  },
  'a pause is not heard': { breaks: 'stands', mutant: { deaf: true } },
  'the bake goes by a clock that is fast': {
    breaks: 'I12',
    mutant: { sees: (seen) => ({ ...seen, now: seen.now + 4000 }) },
  },
};
