// The fleet that is put to the test: nine hosts in three zones, two models, and versions whose number says what they do.
import type { RolloutPlanOptions } from '#lib/fleet/rollout/types.js';

export const FLEET = 'chaos';
export const HEARTBEAT_MS = 500;
export const LEASE_MS = 3 * HEARTBEAT_MS;
export const MODELS = ['ranker', 'embedder'] as const;

const MIB = 1_048_576;
/** What each version says that it takes. Nothing is allocated: what counts is what the manager and the fleet allow. */
export const VERSION_BYTES = 64 * MIB;
const ROOMY = 1_024 * MIB;
/** One version of each model, and no second one beside it. */
const TIGHT = MODELS.length * VERSION_BYTES + VERSION_BYTES / 2;

export interface ChaosHost {
  readonly id: string;
  readonly zone: string;
  readonly capacity: number;
  /** In a process of its own, which can be killed. */
  readonly alone: boolean;
}

/** Six hosts share a process, the last three, one in each zone, have one each. One of either kind is short of memory. */
export const HOSTS: readonly ChaosHost[] = Array.from({ length: 9 }, (_, index) => ({
  id: `h${index}`,
  zone: `z${index % 3}`,
  capacity: index === 4 || index === 8 ? TIGHT : ROOMY,
  alone: index >= 6,
}));

/** What a version does, by the last digit of its number: nobody needs to be told. */
export const CONDUCT = {
  good: 0,
  /** Each load fails. */
  loadError: 1,
  /** Loads, and then more than half of its requests fail. */
  requestErrors: 2,
  /** Takes its process down while it loads; where hosts share the process, the load fails instead. */
  crash: 3,
  /** Takes half a minute's worth of patience: loads, slowly. */
  slow: 4,
  /** Loads, and then answers each request late. */
  lateAnswers: 5,
  /** Answers later and later, as with memory that runs out: no worse than others at first. */
  leak: 6,
} as const;
export type Conduct = keyof typeof CONDUCT;

/** The version of the n-th rollout of a model, n from 1. The first stable version is 10. */
export function versionOf(n: number, conduct: Conduct): number {
  return (n + 1) * 10 + CONDUCT[conduct];
}

export const FIRST_VERSION = 10;

export function conductOf(version: number): Conduct {
  const digit = version % 10;
  return (Object.keys(CONDUCT) as Conduct[]).find((name) => CONDUCT[name] === digit) ?? 'good';
}

/** How long a load takes, in ms, where nothing makes it slower. */
export function loadMsOf(conduct: Conduct): number {
  return conduct === 'slow' ? 1_200 : conduct === 'crash' ? 400 : 40;
}

/** What a late answer takes, in ms: far more than a machine under chaos adds to one that takes microseconds. */
const LATE_MS = 300;
const LEAKS_AFTER_MS = 800;

/** How long a request takes, in ms, when the version was loaded so long ago. 0: it is answered at once. */
export function answerMsOf(conduct: Conduct, ageMs: number): number {
  if (conduct === 'lateAnswers') return LATE_MS;
  if (conduct !== 'leak') return 0;
  return Math.min(LATE_MS, Math.max(0, (ageMs - LEAKS_AFTER_MS) / 2));
}

/** Whether a rollout may make it stable when no operator passes over its gates. */
export function isPoisoned(version: number): boolean {
  const conduct = conductOf(version);
  return conduct !== 'good' && conduct !== 'slow';
}

/** What gates compare: a version that is as bad as the one before is no worse. */
export function isWorse(version: number, from: number): boolean {
  const harm = HARM[conductOf(version)];
  return isPoisoned(version) && (harm === undefined || harm !== HARM[conductOf(from)]);
}

const HARM: Partial<Record<Conduct, string>> = { requestErrors: 'errors', lateAnswers: 'latency', leak: 'latency' };

export const BAKE_MS = 600;
export const DEADLINE_MS = 30_000;
export const PROGRESS_DEADLINE_MS = 6_000;
export const MAX_UNAVAILABLE = 1;
export const REPLICAS = 1;
const MAX_LATENCY_INCREASE = 20;

/** The plan of all rollouts, but for the version and a webhook. */
export function planOf(model: string, version: number, webhook?: string): RolloutPlanOptions {
  return {
    ...{ model, version, maxUnavailable: MAX_UNAVAILABLE, bake: BAKE_MS, bytes: VERSION_BYTES },
    ...{ deadline: DEADLINE_MS, progressDeadline: PROGRESS_DEADLINE_MS, minAlive: 60 },
    waves: [{ hosts: 1 }, { percent: 50 }, { percent: 100 }],
    gates: [
      { kind: 'load' },
      // Half of the requests fail or none does. Good versions answer within microseconds, and what a machine under chaos adds
      // to that it adds to all: late answers are a thousand times slower.
      { kind: 'traffic', minRequests: 20, maxErrorRateIncrease: 0.2, maxLatencyIncrease: MAX_LATENCY_INCREASE },
      ...(webhook === undefined ? [] : [{ kind: 'webhook', url: webhook, timeoutMs: 1_000 } as const]),
    ],
  };
}
