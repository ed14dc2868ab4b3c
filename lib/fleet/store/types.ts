// FleetStore: the seam between the fleet and what keeps its state. The Redis store is the real one; the in-memory store
// serves unit tests and simulation only. Both pass the same conformance suite.
//
// Every change of a rollout is one commit: a compare-and-set on the revision of its record that also writes the cells of
// hosts, rings their doorbells and adds to the audit trail, or does nothing of it. A commit carries an operation id: the
// client library may send a command twice without telling, and the second one must change nothing.
//
// All methods reject with an AspiredError: ERR_STORE_UNAVAILABLE (also when the answer did not come within the command
// timeout: it may have been carried out), ERR_STORE_READ_ONLY, ERR_STORE_DENIED, ERR_STORE_EMPTY, ERR_FLEET_CLOSED.
import type { GateResult } from '../gates/types.js';
import type {
  CellWrite,
  PendingVerb,
  RolloutPlan,
  RolloutStamp,
  RolloutStamps,
  RolloutState,
  RolloutVerb,
  VerbAnswer,
} from '../rollout/types.js';
import type { FleetHost, HostInfo, HostReport, HostStatus, Intent, ModelReport } from '../types.js';

/**
 * The generation of a model goes at least so far with the first cells that are written after the store came back, perhaps with
 * less than it had: more than the commits that can have been lost.
 */
export const GENERATION_JUMP = 1000;

/** The fleet itself. */
export interface FleetMeta {
  readonly schema: number;
  /** Random, written once: another one, or none, means that the data was lost. */
  readonly incarnation: string;
  readonly createdAt: number;
}

/** What the record of a model holds. */
export interface ModelRecord {
  readonly name: string;
  /** Counts up with each commit that writes cells of the model; in a jump after the store came back, see GENERATION_JUMP. */
  readonly generation: number;
  readonly stable?: number;
  /** Earlier stable versions, the latest first, at most 10. */
  readonly previous: readonly number[];
  /** Rolled back as bad, ascending. */
  readonly tombstones: readonly number[];
  /** The active rollout. */
  readonly active?: string;
}

/** What the record of a rollout holds. */
export interface RolloutRecord {
  readonly id: string;
  readonly model: string;
  /** Counts up by one with each commit. 0 after start. */
  readonly revision: number;
  readonly plan: RolloutPlan;
  readonly state: RolloutState;
  readonly stamps: RolloutStamps;
}

/** What an agent has to say. Everything but the lease is written only where given. */
export interface Heartbeat {
  readonly host: string;
  readonly bootId: string;
  /** Counts up by one when anything else in the report changed. */
  readonly sequence: number;
  readonly leaseMs: number;
  readonly info?: HostInfo;
  readonly status?: HostStatus;
  /** By model; null: the model is gone from this host. */
  readonly models?: ReadonlyMap<string, ModelReport | null>;
}

export interface HeartbeatAnswer {
  /** Of the desired document, seen at most a quarter of leaseMs ago; undefined: there is none. */
  readonly revision?: number;
  /** The boot that holds the lease of this host id, when it is not this one: nothing was written then. */
  readonly heldBy?: string;
  /** False: no controller has entered the host yet; it asks again by hint(). */
  readonly known: boolean;
  /**
   * The store does not have the last report of this boot, or one before it: its data was lost. The agent sends all of it,
   * with `info`, and the next sequence. Never set in the answer to a beat with `info`; set in all others until one has come.
   */
  readonly resend?: true;
}

/** A desired document as it lies in the store: the cells are not decoded yet, so that one bad cell harms no other. */
export interface StoredDocument {
  readonly revision: number;
  readonly cells: ReadonlyMap<string, string>;
}

/** What an agent may do. It writes keys of its own host only. */
export interface HostStore {
  readonly fleet: string;
  /**
   * Renews the lease and writes what changed, in one step. A lease that another boot id holds is not taken: the answer
   * says who has it. One's own earlier boot is another boot: its lease runs out after leaseMs, or is released by leave().
   * What an earlier boot reported is dropped by the first beat of a new one.
   */
  heartbeat(beat: Heartbeat): Promise<HeartbeatAnswer>;
  /** Undefined when there is none: never a reason to unload anything. A host that was entered has one, without cells. */
  readDesired(host: string): Promise<StoredDocument | undefined>;
  /** Calls `ring` when the document may have changed, until it is disposed. Best effort: a doorbell can be lost. */
  onDoorbell(host: string, ring: () => void): Promise<AsyncDisposable>;
  /** Asks controllers to enter the host. */
  hint(host: string): Promise<void>;
  /** Gives the lease back, when this boot has it. */
  leave(host: string, bootId: string): Promise<void>;
  /** The store's clock, ms since the epoch. */
  now(): Promise<number>;
  close(): Promise<void>;
}

export interface Lease {
  readonly bootId: string;
  /** Of the last report of this boot that the store has; 0: none. */
  readonly sequence: number;
}

export interface RolloutStart extends Intent {
  readonly id: string;
  readonly plan: RolloutPlan;
  readonly state: RolloutState;
  /** Start although the version is tombstoned. */
  readonly force: boolean;
  /**
   * The stable version that plan and state were made for; null: none. A rollout that ended since may have made another one
   * stable, and what this one would go back to is not what hosts have any more. @default any
   */
  readonly expectStable?: number | null;
}

export type StartAnswer =
  | { readonly outcome: 'started' | 'duplicate'; readonly record: RolloutRecord }
  /** `active` is the one that is in the way. */
  | { readonly outcome: 'active'; readonly active: string }
  /** Another version is stable than `expectStable`; nothing was written. */
  | { readonly outcome: 'conflict' }
  | { readonly outcome: 'tombstoned' };

/** One step of a rollout. */
export interface Commit {
  readonly rollout: string;
  readonly model: string;
  readonly expectRevision: number;
  /**
   * Of the model, as it was read before the cells that this step goes by. assertCells() writes cells without a new revision:
   * a step that has not seen them would give the same maxUnavailable away twice. @default any
   */
  readonly expectGeneration?: number;
  readonly operation: string;
  readonly state: RolloutState;
  readonly stamps: readonly RolloutStamp[];
  /** At most MAX_WRITES. The store adds the next generation of the model to each, and rings each host. */
  readonly writes: readonly CellWrite[];
  /** Ids of plan.hosts, which CellWrite.place points into. */
  readonly hosts: readonly string[];
  /** At least this generation: after lost writes hosts may have seen higher ones than the store knows. @default 0 */
  readonly generationAbove?: number;
  readonly audit: {
    readonly event: string;
    readonly message: string;
    readonly actor: string;
    readonly hosts: number;
  };
  readonly verbs?: { readonly upTo: string; readonly answers: readonly VerbAnswer[] };
  readonly modelChange?: {
    readonly stable?: number;
    readonly tombstone?: number;
    readonly unTombstone?: number;
    readonly release?: true;
  };
}

export interface CommitAnswer {
  /** 'conflict': the revision or the generation is another one, or the rollout is not the model's active one; nothing was written. */
  readonly outcome: 'committed' | 'duplicate' | 'conflict';
  /** Of the rollout; 0 from assertCells(). In a conflict what is stored, else what this operation led to. */
  readonly revision: number;
  readonly generation: number;
  /** When, by the store's clock. */
  readonly at: number;
}

/** One line of the audit trail: one per commit, one per verb, one per start. */
export interface AuditEntry {
  readonly id: string;
  readonly at: number;
  readonly rollout: string;
  /** The revision that it led to; verbs have none of their own. */
  readonly revision?: number;
  readonly event: string;
  readonly message: string;
  readonly actor: string;
  readonly hosts: number;
}

/** What doctor asks of the server; undefined: it could not be asked. */
export interface StoreHealth {
  readonly kind: 'redis' | 'memory';
  readonly version?: string;
  readonly role?: 'master' | 'slave';
  readonly appendOnly?: boolean;
  readonly maxmemoryPolicy?: string;
  readonly maxmemory?: number;
  readonly usedMemory?: number;
  readonly replicas?: number;
  readonly listpackEntries?: number;
  /** Connections that it takes; each host holds one. */
  readonly maxClients?: number;
  readonly replicationId?: string;
  /** The store's clock minus ours, ms. */
  readonly clockSkewMs?: number;
}

/** Everything that a new store needs to go on: what an operator saves, and what is rebuilt from the hosts. */
export interface FleetExport {
  readonly schema: number;
  readonly fleet: string;
  readonly incarnation: string;
  readonly models: readonly ModelRecord[];
  readonly hosts: readonly FleetHost[];
  /** Host to model to cell, as text. */
  readonly desired: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** What a controller and a tool may do. */
export interface FleetStore extends HostStore {
  /** The fleet as it is; undefined when the store does not know it: it is new, or its data was lost. */
  meta(): Promise<FleetMeta | undefined>;
  /** Makes the fleet where there is none; the same one otherwise. For an operator or a first start, not for a repair. */
  create(): Promise<FleetMeta>;

  hosts(): Promise<readonly FleetHost[]>;
  /** Enters hosts; one that is known keeps its index, and gets the new info. The answer has all of those given. */
  enterHosts(hosts: readonly HostInfo[]): Promise<readonly FleetHost[]>;
  setCordoned(host: string, cordoned: boolean, intent: Intent): Promise<void>;
  removeHost(host: string, intent: Intent): Promise<void>;
  /** Hosts that asked to be entered or changed since `after` ('' is the beginning), and where to go on. */
  readHints(after: string): Promise<{ readonly hosts: readonly string[]; readonly next: string }>;
  /** In the order of the hosts given; undefined: it has run out. */
  readLeases(hosts: readonly string[]): Promise<readonly (Lease | undefined)[]>;
  /** In the order of the hosts given; `models`: only these. A report that cannot be decoded is undefined. */
  readReports(hosts: readonly string[], models?: readonly string[]): Promise<readonly (HostReport | undefined)[]>;
  /** The cells of one model, in the order of the hosts given. */
  readCells(model: string, hosts: readonly string[]): Promise<readonly (string | undefined)[]>;

  models(): Promise<readonly string[]>;
  model(name: string): Promise<ModelRecord | undefined>;
  /**
   * Writes cells outside of a rollout, with a new generation: hosts that joined later, re-assertion after lost writes,
   * models that are taken over. Refused ('conflict') while another generation than `expectGeneration` is stored, and with
   * `stable` while a rollout is active: it goes from the version that was stable when it started.
   */
  assertCells(change: {
    readonly model: string;
    readonly expectGeneration: number;
    readonly generationAbove?: number;
    readonly hosts: readonly string[];
    readonly writes: readonly CellWrite[];
    readonly stable?: number;
    readonly tombstones?: readonly number[];
    readonly intent: Intent;
  }): Promise<CommitAnswer>;

  startRollout(start: RolloutStart): Promise<StartAnswer>;
  rollout(id: string): Promise<RolloutRecord | undefined>;
  /** Without the plan: what a tick reads when it has the plan already. */
  rolloutState(id: string): Promise<Omit<RolloutRecord, 'plan'> | undefined>;
  /** Ids, of all models. */
  activeRollouts(): Promise<readonly string[]>;
  /** Ids of a model's rollouts, the latest first. */
  history(model: string, count: number): Promise<readonly string[]>;
  commit(commit: Commit): Promise<CommitAnswer>;

  /** Queues a verb; the tick answers it. The same operation again is the same verb. */
  addVerb(rollout: string, verb: RolloutVerb, intent: Intent): Promise<PendingVerb>;
  /** Verbs that no commit has answered, in order. */
  pendingVerbs(rollout: string): Promise<readonly PendingVerb[]>;
  /** By operation; undefined: not answered yet. */
  verbAnswer(rollout: string, operation: string): Promise<VerbAnswer | undefined>;

  /** Once per key: the first result stays, and is the answer. `key`: 'wave-gate-attempt'. */
  putGateResult(rollout: string, key: string, result: GateResult): Promise<GateResult>;
  gateResults(rollout: string): Promise<ReadonlyMap<string, GateResult>>;

  /** Of a model, oldest first, after the id given; '' as the model: changes of hosts, and imports. `count` is 100 by default. */
  audit(model: string, after?: string, count?: number): Promise<readonly AuditEntry[]>;
  /** The latest entries of such a trail, oldest first, of those before the id given; '' is the end. `count` is 100 by default. */
  latestAudit(model: string, before?: string, count?: number): Promise<readonly AuditEntry[]>;

  /** Waits until `replicas` replicas have everything that was written before, by whomever; the answer is how many have. */
  confirm(replicas: number, timeoutMs: number): Promise<number>;
  /** How many are connected; 0 also where that may not be asked. */
  replicas(): Promise<number>;
  health(): Promise<StoreHealth>;
  exportAll(): Promise<FleetExport>;
  /**
   * Into an empty store only: ERR_ROLLOUT_CONFLICT otherwise. Makes a new incarnation. What is no export of this fleet is
   * refused before anything is written, see checkExport(). The same operation goes on where one that broke off came to.
   */
  importAll(data: FleetExport, intent: Intent): Promise<FleetMeta>;
}
