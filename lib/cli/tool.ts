// What the commands ask of the fleet. The real one is a client of the store; tests bring their own.
import type {
  AuditEntry,
  DesiredCell,
  FleetExport,
  FleetHost,
  FleetMeta,
  HostReport,
  Intent,
  Lease,
  RolloutPlanOptions,
  RolloutRecord,
  RolloutVerb,
  VerbAnswer,
} from '../fleet/index.js';
import type { RolloutView } from './view.js';

/** What became of a verb, and how safe it is. */
export interface VerbDone {
  /** Id of the rollout that it was for; of the new one, for undo and retry. */
  readonly rollout: string;
  readonly outcome: VerbAnswer['outcome'];
  readonly message: string;
  readonly revision: number;
  /** How many replicas have it. */
  readonly replicated: number;
}

/** A host with what it is to have and what it reported last. */
export interface HostView {
  readonly host: FleetHost;
  /** Undefined: it has run out. */
  readonly lease: Lease | undefined;
  /** Undefined: it has never reported. */
  readonly report: HostReport | undefined;
  /** By model; what cannot be decoded is left out. */
  readonly desired: ReadonlyMap<string, DesiredCell>;
}

export interface Finding {
  readonly level: 'ok' | 'warning' | 'error';
  /** A code of the table of errors; undefined where all is well. */
  readonly code?: string;
  readonly message: string;
}

/** `rollout` is an id, or a model: its active rollout then, else its last one. */
export interface FleetTool extends AsyncDisposable {
  create(): Promise<FleetMeta>;
  start(plan: RolloutPlanOptions, intent: Intent): Promise<VerbDone>;
  verb(rollout: string, verb: RolloutVerb, intent: Intent): Promise<VerbDone>;
  view(rollout: string): Promise<RolloutView>;
  explain(rollout: string): Promise<string>;
  /** Active rollouts. */
  list(): Promise<readonly RolloutView[]>;
  /** Rollouts of a model, the latest first. */
  history(model: string, count: number): Promise<readonly RolloutRecord[]>;
  audit(model: string, count: number): Promise<readonly AuditEntry[]>;
  hosts(): Promise<readonly HostView[]>;
  setCordoned(host: string, cordoned: boolean, intent: Intent): Promise<void>;
  removeHost(host: string, intent: Intent): Promise<void>;
  exportAll(): Promise<FleetExport>;
  restore(data: FleetExport, intent: Intent): Promise<FleetMeta>;
  restoreFromHosts(intent: Intent): Promise<FleetMeta>;
  doctor(): Promise<readonly Finding[]>;
}
