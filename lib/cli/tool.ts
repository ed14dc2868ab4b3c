// What the commands ask of the fleet. The real one is a client of the store; tests bring their own.
import type {
  AuditEntry,
  Finding,
  FleetExport,
  FleetMeta,
  HostView,
  Intent,
  RolloutPlanOptions,
  RolloutRecord,
  RolloutVerb,
  RolloutView,
  VerbDone,
} from '../fleet/index.js';

/** `rollout` is an id, or a model: its active rollout then, else its last one. */
export interface FleetTool extends AsyncDisposable {
  create(): Promise<FleetMeta>;
  start(plan: RolloutPlanOptions, intent: Intent): Promise<VerbDone>;
  verb(rollout: string, verb: RolloutVerb, intent: Intent, options?: { readonly force?: boolean }): Promise<VerbDone>;
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
