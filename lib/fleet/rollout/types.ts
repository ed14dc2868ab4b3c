// A rollout: its plan, its state, what the reducer sees and what it wants done. Plain data, no I/O.
//
// Hosts are addressed by their place in the rollout (0 .. n-1): bytes in dense arrays, so that a tick over 10,000 hosts
// is a few passes over 10,000 bytes.
import type { Gate, GateResult } from '../gates/types.js';
import type { DesiredCell } from '../types.js';

/** Which hosts a wave takes, of those that no earlier wave took. */
export type WaveSelector =
  | { readonly hosts: number | readonly string[] }
  | { readonly percent: number }
  | { readonly zone: string }
  | { readonly labels: Readonly<Record<string, string>> };

/** A count of hosts, or a percentage of those in question as '10%'. */
export type HostCount = number | `${number}%`;

/** What start() takes: everything but model and version has a default. */
export interface RolloutPlanOptions {
  readonly model: string;
  readonly version: number;
  /** Cumulative for percent ('25' means a quarter of the fleet is done after this wave), else what it adds. The last wave
   * takes whoever is left. @default [{ hosts: 1 }, { percent: 10 }, { percent: 50 }, { percent: 100 }] */
  readonly waves?: readonly WaveSelector[];
  /** How many hosts of a zone may lack an available version of the model at once. @default '10%', at least 1 */
  readonly maxUnavailable?: HostCount;
  /** Share of a wave's living hosts that must have the new version before it flips, in percent. @default 100 */
  readonly readyQuorum?: number;
  /** Share of a wave's hosts that must be alive for it to go on, in percent; dead ones catch up. @default 80 */
  readonly minAlive?: number;
  /** How long each wave is watched after its flip: '5m' or milliseconds. @default '1m' */
  readonly bake?: string | number;
  /** @default [{ kind: 'load' }, { kind: 'traffic' }] */
  readonly gates?: readonly Gate[];
  /** All of it, start to end. @default '1h' */
  readonly deadline?: string | number;
  /** No host more became ready for as long. @default '10m' */
  readonly progressDeadline?: string | number;
  /** At a deadline. @default 'abort' */
  readonly onDeadline?: 'abort' | 'freeze';
  /** When a gate fails. @default 'rollback' */
  readonly onFailure?: 'rollback' | 'freeze';
  /** Bytes that the new version takes on a host; what was measured on the first hosts replaces it. @default unknown, 0 */
  readonly bytes?: number;
  /** Bytes that a host may take above its capacity while old and new are resident. @default 0 */
  readonly surgeBytes?: number;
  /** Fetch artefacts before any memory is touched. @default true */
  readonly prefetch?: boolean;
  /** Whether the old version goes after each wave, or when all waves are done: so that rollback is warm. @default 'rollout' */
  readonly keepWarm?: 'wave' | 'rollout';
  /** Start although the version was rolled back as bad before. @default false */
  readonly force?: boolean;
}

/** A plan with its defaults filled in, for good: durations in milliseconds. */
export interface RolloutPlan {
  readonly model: string;
  readonly version: number;
  readonly maxUnavailable: HostCount;
  readonly readyQuorum: number;
  readonly minAlive: number;
  readonly bakeMs: number;
  readonly gates: readonly Gate[];
  readonly deadlineMs: number;
  readonly progressDeadlineMs: number;
  readonly onDeadline: 'abort' | 'freeze';
  readonly onFailure: 'rollback' | 'freeze';
  readonly bytes: number;
  readonly surgeBytes: number;
  readonly prefetch: boolean;
  readonly keepWarm: 'wave' | 'rollout';
  /** Ids of the hosts, in the order of their places. Fixed at the start; later hosts get the stable version. */
  readonly hosts: readonly string[];
  /** By place: the zone, as an index into `zones`. */
  readonly zoneOf: readonly number[];
  readonly zones: readonly string[];
  /** By place: the wave that takes it, from 0. */
  readonly waveOf: readonly number[];
  /** For people, one per wave: '1 host', '10 %', 'zone eu-1a'. */
  readonly waves: readonly string[];
}

/** Where a rollout is. The phases of one wave are Prefetch to Bake. */
export type RolloutPhase =
  | 'Pending'
  | 'Prefetch'
  | 'Expand'
  | 'WaitReady'
  | 'Flip'
  | 'Bake'
  | 'Contract'
  | 'Frozen'
  | 'Rollback'
  | 'Ended';

/** How it ended. */
export type RolloutOutcome = 'Promoted' | 'FastPromoted' | 'Aborted' | 'RolledBack' | 'Undone' | 'StoreLost';

export type RolloutVerb = 'pause' | 'resume' | 'promote' | 'promote-full' | 'abort' | 'undo' | 'retry' | 'freeze';

/** A verb that waits to be looked at. */
export interface PendingVerb {
  /** Ascending. */
  readonly id: string;
  readonly verb: RolloutVerb;
  readonly actor: string;
  readonly reason: string;
  readonly operation: string;
}

/** Why it does not go on, for machines; with the hosts it is for. */
export interface Hold {
  readonly code:
    | 'paused'
    | 'frozen'
    | 'prefetching'
    | 'loading'
    | 'switching'
    | 'budget'
    | 'min-alive'
    | 'mass-expiry'
    | 'observation-grace'
    | 'store-regression'
    /** Fewer replicas than wanted have what was written: it could be lost in a failover. */
    | 'unconfirmed'
    | 'bake'
    | 'gate-pending'
    | 'gate-insufficient-data'
    | 'contracting'
    | 'rolling-back'
    | 'rollback-hosts-away';
  /** For people, one sentence with the figures. */
  readonly message: string;
  /** At most 20 ids. */
  readonly hosts: readonly string[];
  /** How many there are. */
  readonly hostCount: number;
  /** When it can go on by itself at the earliest, store time in ms. */
  readonly until?: number;
}

/** What is written down between two ticks. Small: everything else follows from the plan and the observation. */
export interface RolloutState {
  readonly phase: RolloutPhase;
  /** From 0. */
  readonly wave: number;
  /** The stable version when it started; undefined: none. */
  readonly from?: number;
  /** Where it was when it froze, and goes on to with resume. */
  readonly frozenIn?: RolloutPhase;
  readonly paused: boolean;
  /** promote: the current wave does not wait for bake and gates any more. */
  readonly skipWave?: boolean;
  /** promote-full: no wave does. */
  readonly skipAll?: boolean;
  /** Most hosts that were ready at once: progress. */
  readonly highWater: number;
  /** What the new version was seen to take. */
  readonly measuredBytes?: number;
  /** Of a rollback: why, and what it will be called. In Pending: the rollout is nothing but a rollback, see undo.ts. */
  readonly rollback?: {
    readonly outcome: RolloutOutcome;
    readonly reason: string;
    readonly tombstone: boolean;
    /** Every host of the plan is told, also those that the store knows nothing of: writes were lost. */
    readonly everywhere?: boolean;
    /** The version that becomes stable again by it: of an undo. */
    readonly stable?: number;
  };
  readonly outcome?: RolloutOutcome;
  readonly hold?: Hold;
  /** Counts up when an operator wants the gates of a wave asked anew: a part of the key of their results. @default 0 */
  readonly gateAttempt?: number;
  /** Store time from which the deadlines count: an operator took a frozen rollout up again then. @default startedAt */
  readonly deadlineFrom?: number;
  /** Last result of each gate in this wave, by its index in the plan. */
  readonly verdicts?: Readonly<Record<number, GateResult>>;
  /** Who started it and why. */
  readonly actor: string;
  readonly reason: string;
}

/** Moments that the store writes down with its own clock when a commit names them, in ms. */
export interface RolloutStamps {
  readonly startedAt: number;
  /** The current phase, in the current wave, began. */
  readonly phaseAt: number;
  /** highWater rose. */
  readonly progressAt: number;
  readonly endedAt?: number;
}
export type RolloutStamp = keyof RolloutStamps;

/** Bits of Observation.told: what the document of a host says; toldOf() of cells.ts reads them off a cell. */
export const TOLD = {
  OLD: 1,
  NEW: 2,
  PRIMARY_NEW: 4,
  PREFETCH: 8,
  /** resourcePreserving. */
  COLD: 16,
  ROLLED_BACK: 32,
  WATCH: 64,
} as const;

/** Bits of Observation.seen: what a host reports. */
export const SEEN = {
  ALIVE: 1,
  CORDONED: 2,
  /** The old version is available. */
  OLD_READY: 4,
  NEW_READY: 8,
  /** A plain name resolves to the new version. */
  PRIMARY_NEW: 16,
  /** Fetched and not told to be loaded yet, or resident in any state. */
  PREFETCHED: 32,
  /** The new version failed for good, or has failed at least once and is being retried. */
  NEW_ERROR: 64,
  /** The old version is resident in any state. */
  OLD_RESIDENT: 128,
} as const;

/** What a tick knows. Arrays are by place, and all of the length of plan.hosts. */
export interface Observation {
  /** The store's clock, in ms. */
  readonly now: number;
  readonly stamps: RolloutStamps;
  readonly told: Uint8Array;
  readonly seen: Uint8Array;
  /** By place: it has accepted what it was told last. */
  readonly upToDate: Uint8Array;
  /** By place: bytes that are free on the host, 0xffffffff-capped to MiB; capacity unknown: 0xffffffff. */
  readonly freeMib: Uint32Array;
  /** By place: a failure of the new version that no retry will mend. Few. */
  readonly permanentErrors: ReadonlyMap<number, string>;
  readonly verbs: readonly PendingVerb[];
  /** Results of gates for this wave, by index in the plan; missing: not asked, or no answer yet. */
  readonly gates: ReadonlyMap<number, GateResult>;
  /** The largest footprint that a host reported of the new version, in bytes; 0: none yet. */
  readonly measuredBytes: number;
  /** Set: no step forward; a rollback goes on. Observation grace after the store came back, mass expiry of leases, lost
   * writes, too few replicas that confirmed. */
  readonly storeHold?: 'observation-grace' | 'mass-expiry' | 'store-regression' | 'unconfirmed';
  /** Whom storeHold is for: ids, also of hosts that are not in this rollout. Missing: nobody, or for the grace the silent. */
  readonly storeHosts?: readonly string[];
  /** After lost writes: a host has seen a generation that rolled this version back. */
  readonly witness?: { readonly host: string; readonly generation: number };
}

/** A cell for one host; the store adds the generation. */
export interface CellWrite {
  readonly place: number;
  readonly cell: Omit<DesiredCell, 'generation'>;
}

/** What a step wants done: the store does all of it in one commit, or nothing. */
export interface RolloutStep {
  /** False: nothing to commit, look again later. `state.hold` may be newer than what is stored. */
  readonly changed: boolean;
  readonly state: RolloutState;
  /** Which moments are now. */
  readonly stamps: readonly RolloutStamp[];
  /** At most MAX_WRITES; the rest follows in the next steps. */
  readonly writes: readonly CellWrite[];
  /** One line for the audit trail; undefined only when nothing changed. */
  readonly audit?: { readonly event: string; readonly message: string; readonly actor: string; readonly hosts: number };
  /** Verbs up to this id were looked at, with what became of each. */
  readonly verbs?: { readonly upTo: string; readonly answers: readonly VerbAnswer[] };
  /** Changes of the model's record. */
  readonly model?: {
    /** The new stable version. */
    readonly stable?: number;
    /** Rolled back as bad. */
    readonly tombstone?: number;
    /** Taken back by force. */
    readonly unTombstone?: number;
    /** The rollout has ended: the next may start. */
    readonly release?: true;
  };
  /** Gates to be asked now, by index in the plan: the controller sees to it, and once is enough. */
  readonly ask: readonly number[];
  /** When to look again at the latest, in ms from now. */
  readonly againInMs: number;
}

/** What became of a verb. */
export interface VerbAnswer {
  readonly id: string;
  readonly verb: RolloutVerb;
  readonly outcome: 'applied' | 'no-op' | 'refused';
  readonly message: string;
}

/** Hosts that one commit may write to. */
export const MAX_WRITES = 500;
