// What the stores in memory share: the data of one fleet, its clock, and the faults that a test makes.
import type { AspiredErrorCode } from '../../error-codes.js';
import type { GateResult } from '../gates/types.js';
import type { PendingVerb, RolloutPlan, RolloutStamps, RolloutState, VerbAnswer } from '../rollout/types.js';
import type { FleetHost, HostInfo, HostStatus, ModelReport } from '../types.js';
import type { AuditEntry, FleetMeta } from './types.js';

/** Operations that a record remembers: more than one connection can have unanswered. */
const REMEMBERED = 32;

/** The last operations on a record with their answers. */
export type Operations = Map<string, unknown>;

export function remember(operations: Operations, operation: string, answer: unknown): void {
  operations.set(operation, answer);
  if (operations.size > REMEMBERED) operations.delete(operations.keys().next().value as string);
}

export interface ModelData {
  generation: number;
  /** SharedMemory.run when it was given out; undefined: imported. */
  run?: number;
  stable?: number;
  previous: number[];
  tombstones: number[];
  active?: string;
  readonly operations: Operations;
  /** Ids of rollouts, the latest first. */
  readonly history: string[];
  readonly audit: AuditEntry[];
}

export interface RolloutData {
  readonly model: string;
  readonly plan: RolloutPlan;
  revision: number;
  state: RolloutState;
  stamps: RolloutStamps;
  readonly operations: Operations;
  /** By operation. */
  readonly verbs: Map<string, PendingVerb>;
  pending: PendingVerb[];
  readonly answers: Map<string, VerbAnswer>;
  readonly gates: Map<string, GateResult>;
}

export interface ReportData {
  readonly bootId: string;
  sequence: number;
  info?: HostInfo;
  status?: HostStatus;
  readonly models: Map<string, ModelReport>;
}

/** Everything that is lost when writes are lost. Plain data. */
export interface FleetData {
  meta?: FleetMeta;
  /** Of documents: the last one that was given out. */
  revision: number;
  nextIndex: number;
  nextId: number;
  readonly operations: Operations;
  readonly hosts: Map<string, FleetHost>;
  readonly leases: Map<string, { readonly bootId: string; readonly sequence: number; readonly expiresAt: number }>;
  readonly reports: Map<string, ReportData>;
  readonly desired: Map<string, { revision: number; readonly cells: Map<string, string> }>;
  readonly hints: { readonly id: number; readonly host: string }[];
  readonly models: Map<string, ModelData>;
  readonly rollouts: Map<string, RolloutData>;
  /** Of hosts and imports. */
  readonly audit: AuditEntry[];
}

function emptyData(): FleetData {
  return {
    revision: 0,
    nextIndex: 0,
    nextId: 1,
    operations: new Map(),
    hosts: new Map(),
    leases: new Map(),
    reports: new Map(),
    desired: new Map(),
    hints: [],
    models: new Map(),
    rollouts: new Map(),
    audit: [],
  };
}

/** What a call meets: an error instead of anything, or everything done and the answer lost. */
export type MemoryFault = AspiredErrorCode | 'lose-reply';

/** The data of a fleet in memory, without the connections to it. */
export class SharedMemory {
  readonly name: string;
  /** The store's clock, ms since the epoch. */
  readonly now: () => number;
  data: FleetData = emptyData();
  /** Which life of the data it is: counts up when data comes back or goes. */
  run = 0;
  /** Nobody is answered: ERR_STORE_UNAVAILABLE. */
  away = false;
  /** Doorbells that are rung are not heard. */
  muffled = false;
  /** What confirm() answers. */
  replicas = 0;
  /** Asked before each call, with the name given to connect(). */
  fault: ((method: string, connection: string) => MemoryFault | undefined) | undefined;
  readonly #bells = new Map<string, Set<() => void>>();

  constructor(options: { readonly fleet?: string; readonly now?: () => number } = {}) {
    this.name = options.fleet ?? 'memory';
    this.now = options.now ?? Date.now;
  }

  /** All data as it is now, to go back to. */
  snapshot(): FleetData {
    return structuredClone(this.data);
  }

  /** Everything written since is lost. The same snapshot can be used again. */
  restore(snapshot: FleetData): void {
    this.data = structuredClone(snapshot);
    this.run++;
  }

  /** All data is gone, as after FLUSHALL. */
  clear(): void {
    this.data = emptyData();
    this.run++;
  }

  /** @internal Rings a host's doorbell, after the write that it is for. */
  ring(host: string): void {
    if (this.muffled) return;
    for (const bell of this.#bells.get(host) ?? []) {
      queueMicrotask(() => {
        if (this.#bells.get(host)?.has(bell)) bell();
      });
    }
  }

  /** @internal Answers the function that takes the bell off. */
  hang(host: string, bell: () => void): () => void {
    const bells = this.#bells.get(host) ?? new Set();
    this.#bells.set(host, bells.add(bell));
    return () => {
      bells.delete(bell);
      if (bells.size === 0 && this.#bells.get(host) === bells) this.#bells.delete(host);
    };
  }
}
