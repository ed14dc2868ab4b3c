// Which faults a seed brings, and when. A pure function of the seed.
import { CONDUCT, type Conduct, HOSTS } from '../fleet.js';
import { Random } from './random.js';

/** The injections of the failure catalogue. */
export const FAULTS = {
  F1: 'a controller is killed at a point of a step',
  F2: 'a controller is stopped before a commit, for longer than the lock of its job, and goes on',
  F3: 'two controllers tick without the lock of the queue, and some of their commits are late',
  F4: 'a host is killed in a phase of a rollout, and comes back',
  F5: 'a host goes up and down',
  F6: 'a host loads slowly',
  F7: 'a version is poisoned',
  F8: 'Redis, or its replica, stops for a while',
  F9: 'Redis is killed, and has its append-only file',
  F10: 'Redis is killed, and comes back with an older snapshot, after a rollout was aborted',
  F11: 'the store is emptied, and restored from the hosts, or from an export',
  F16: 'jobs are added twice, commands are sent again',
  F17: 'all jobs are lost, or jobs are stalled twice',
  F18: 'old documents are written back into the store',
  F19: 'verbs are given twice, and a rollout is aborted in some phase',
} as const;
export type FaultKind = keyof typeof FAULTS;
export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[];

export type ProbePoint = 'before' | 'within' | 'after';

/** A fault and what it needs to know. */
export interface Fault {
  readonly kind: FaultKind;
  /** From the beginning of the faults, ms. */
  readonly atMs: number;
  /** How long it lasts, where it lasts, ms. */
  readonly forMs: number;
  /** F4, F5: a host with a process of its own; F6: any host. */
  readonly host: string;
  /** F1: where in a step; F2 is always before. */
  readonly point: ProbePoint;
  /** F1: after so many more commits. */
  readonly commits: number;
  /** F4, F11, F19: when a rollout is there. */
  readonly phase: string;
  /** F7. */
  readonly conduct: Conduct;
  /**
   * F8: the replica; F11: no rollout after it; F17: stalled twice; F18: all documents, not that of one host; F19: after a
   * promote of all waves.
   */
  readonly variant: boolean;
  /** F11: restored from an export, and not from the hosts. */
  readonly exported: boolean;
  /** F11: after the export the rollout is aborted. */
  readonly aborted: boolean;
}

export interface Schedule {
  readonly seed: number;
  readonly faults: readonly Fault[];
  /** Share of rollouts that ask a webhook. */
  readonly webhooks: number;
  /** When the last fault begins, ms. */
  readonly lengthMs: number;
}

/** So many consecutive seeds, from a multiple of it on plus one, have every kind of fault. */
export const ROUND = 4;

const LONG_AWAY = 0.25;
const PHASES = ['Prefetch', 'Expand', 'WaitReady', 'Flip', 'Bake', 'Contract'] as const;
const POISON = (Object.keys(CONDUCT) as Conduct[]).filter((conduct) => conduct !== 'good');
/** Faults of Redis exclude each other; these take long, so each has a seed of a round to itself. */
const HEAVY: readonly FaultKind[] = ['F10', 'F11', 'F2', 'F3'];

/** The schedule of a seed, from 1. `only`: nothing but faults of these kinds. */
export function scheduleOf(seed: number, only?: readonly FaultKind[]): Schedule {
  const random = new Random(seed * 7_919);
  const kinds = only ?? kindsOf(seed, random);
  let atMs = 0;
  const faults = kinds.map((kind): Fault => {
    atMs += random.between(400, 1_600);
    return faultOf(kind, atMs, random);
  });
  return { seed, faults, webhooks: 0.4, lengthMs: atMs };
}

function kindsOf(seed: number, random: Random): FaultKind[] {
  const round = new Random(Math.floor((seed - 1) / ROUND) + 1);
  const heavy = round.shuffled(HEAVY);
  const light = round.shuffled(FAULT_KINDS.filter((kind) => !HEAVY.includes(kind)));
  const turn = (seed - 1) % ROUND;
  const mine = light.filter((_, index) => index % ROUND === turn);
  const more = Array.from({ length: random.between(1, 3) }, () => random.pick(light));
  return random.shuffled([heavy[turn] as FaultKind, ...mine, ...more]);
}

function faultOf(kind: FaultKind, atMs: number, random: Random): Fault {
  const alone = HOSTS.filter((host) => host.alone);
  return {
    ...{ kind, atMs },
    forMs: random.between(...durationOf(kind, random)),
    host: random.pick(kind === 'F6' ? HOSTS : alone).id,
    point: random.pick(['before', 'within', 'after'] as const),
    commits: random.between(1, 3),
    phase: random.pick(PHASES),
    conduct: random.pick(POISON),
    variant: random.chance(0.5),
    exported: random.chance(0.5),
    aborted: random.chance(0.5),
  };
}

function durationOf(kind: FaultKind, random: Random): [number, number] {
  switch (kind) {
    case 'F2':
      return [6_000, 7_000]; // the lock of a job is 5 s
    case 'F3':
      return [4_000, 7_000];
    case 'F5':
      return [3_000, 5_000];
    case 'F6':
      return [2_000, 4_000];
    case 'F8':
      // Now and then for longer than leases, locks of jobs, and what waits for an answer.
      return random.chance(LONG_AWAY) ? [6_000, 18_000] : [700, 4_000];
    case 'F18':
      return [1_000, 3_000];
    default:
      return [300, 2_000];
  }
}
