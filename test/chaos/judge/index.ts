// All that must hold of a run. Each checker is a pure function of the history.
import type { History, Violation } from '../history/events.js';
import { calls } from './calls.js';
import { availability, convergence, generations, memory, requests, unloads } from './hosts.js';
import { bakes, endings, gates, oneActive, tombstones } from './rollouts.js';
import type { Checker } from './timeline.js';
import { audit, verbs } from './trail.js';

/** The invariants of the failure catalogue. */
export const INVARIANTS = {
  I1: { says: 'one active rollout per model', check: oneActive },
  I2: {
    says: 'no more hosts of a zone without a model than may, but for those that lost their process',
    check: availability,
  },
  I3: { says: 'no host ends on, or keeps for long, a version that was taken back', check: tombstones },
  I4: { says: 'every rollout ends after the faults do', check: endings },
  I5: { says: 'one line of audit per commit, no gaps, nothing after the end, somebody did it', check: audit },
  I6: { says: 'no host goes back to an older generation', check: generations },
  I7: { says: 'no version goes without a newer document that says so', check: unloads },
  I8: { says: 'what is loaded and loading fits into the memory of the host', check: memory },
  I9: { says: 'an acknowledged verb is not lost', check: verbs },
  I10: { says: 'a question has one key, and one answer that counts, which was given', check: calls },
  I11: { says: 'in the end hosts have what they are to have', check: convergence },
  I12: { says: 'no bake is too short', check: bakes },
  requests: { says: 'no host refuses a request for what it has', check: requests },
  gates: { says: 'no poisoned version becomes stable by itself', check: gates },
} as const satisfies Readonly<Record<string, { readonly says: string; readonly check: Checker }>>;

export function judgeHistory(history: History): Violation[] {
  return Object.values(INVARIANTS).flatMap(({ check }) => check(history));
}
