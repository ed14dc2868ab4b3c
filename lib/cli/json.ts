// What --output json prints: one shape per command, with every field always there (null where there is nothing). Fields may
// be added; none is renamed or taken away under the same schema.
import type {
  AuditEntry,
  FleetHost,
  HostView,
  RolloutRecord,
  RolloutState,
  RolloutView,
  VerbDone,
} from '../fleet/index.js';
import { countStates, type HostCounts, type HostState, hostState, NEEDS_ATTENTION } from './view.js';

/** Of every shape below. */
export const JSON_SCHEMA = 1;

/** Hosts that are listed under `attention`. */
const ATTENTION_LIMIT = 100;

export interface RolloutSummaryJson {
  readonly schema: number;
  readonly rollout: string;
  readonly model: string;
  readonly version: number;
  readonly from: number | null;
  readonly revision: number;
  readonly phase: string;
  readonly outcome: string | null;
  readonly paused: boolean;
  /** The current one, from 1. */
  readonly wave: number;
  readonly waveCount: number;
  readonly hostCount: number;
  /** Times in ms since the epoch, by the store's clock. */
  readonly startedAt: number;
  readonly phaseAt: number;
  readonly endedAt: number | null;
  readonly actor: string;
  readonly reason: string;
  /** Why it went back. */
  readonly why: string | null;
}

export interface RolloutJson extends RolloutSummaryJson {
  readonly now: number;
  readonly deadlineAt: number;
  /** In Bake: when it is over at the earliest. */
  readonly bakeUntil: number | null;
  readonly hosts: HostCounts;
  readonly waves: readonly { readonly wave: number; readonly selector: string; readonly hosts: HostCounts }[];
  readonly gates: readonly {
    readonly kind: string;
    readonly verdict: string | null;
    readonly message: string | null;
    readonly figures: Readonly<Record<string, number>>;
  }[];
  readonly hold: {
    readonly code: string;
    readonly message: string;
    readonly hosts: readonly string[];
    readonly hostCount: number;
    readonly until: number | null;
  } | null;
  readonly attention: readonly {
    readonly host: string;
    readonly zone: string;
    readonly state: HostState;
    readonly message: string | null;
  }[];
}

/** Of `list` and `history`, and the first part of `rollout get`. */
export function summaryJson({ id, model, revision, plan, state, stamps }: RolloutRecord): RolloutSummaryJson {
  return {
    schema: JSON_SCHEMA,
    rollout: id,
    model,
    version: plan.version,
    from: state.from ?? null,
    revision,
    phase: state.phase,
    outcome: state.outcome ?? null,
    paused: state.paused,
    wave: state.wave + 1,
    waveCount: plan.waves.length,
    hostCount: plan.hosts.length,
    startedAt: stamps.startedAt,
    phaseAt: stamps.phaseAt,
    endedAt: stamps.endedAt ?? null,
    actor: state.actor,
    reason: state.reason,
    why: state.rollback?.reason ?? null,
  };
}

/** Of `rollout get` and `rollout status`. */
export function rolloutJson(view: RolloutView): RolloutJson {
  const { plan, state, stamps } = view.record;
  const places = [...plan.hosts.keys()];
  return {
    ...summaryJson(view.record),
    now: view.now,
    deadlineAt: (state.deadlineFrom ?? stamps.startedAt) + plan.deadlineMs,
    bakeUntil: state.phase === 'Bake' ? stamps.phaseAt + plan.bakeMs : null,
    hosts: countStates(view, places),
    waves: plan.waves.map((selector, wave) => ({
      wave: wave + 1,
      selector,
      hosts: countStates(
        view,
        places.filter((place) => plan.waveOf[place] === wave),
      ),
    })),
    gates: plan.gates.map(({ kind }, index) => {
      const result = state.verdicts?.[index];
      return {
        kind,
        verdict: result?.verdict ?? null,
        message: result?.message ?? null,
        figures: result?.figures ?? {},
      };
    }),
    hold: holdJson(state),
    attention: attentionJson(view, places),
  };
}

function holdJson({ hold }: RolloutState): RolloutJson['hold'] {
  if (!hold) return null;
  const { code, message, hosts, hostCount, until } = hold;
  return { code, message, hosts, hostCount, until: until ?? null };
}

function attentionJson(view: RolloutView, places: readonly number[]): RolloutJson['attention'] {
  const { plan } = view.record;
  return places
    .filter((place) => NEEDS_ATTENTION.has(hostState(view, place)))
    .slice(0, ATTENTION_LIMIT)
    .map((place) => ({
      host: plan.hosts[place] as string,
      zone: plan.zones[plan.zoneOf[place] as number] as string,
      state: hostState(view, place),
      message: view.errors.get(place) ?? null,
    }));
}

/** Of every verb, and of `rollout start`. */
export function verbJson(verb: string, done: VerbDone): Record<string, unknown> {
  const { rollout, outcome, message, revision, replicated, replicas } = done;
  return { schema: JSON_SCHEMA, rollout, verb, outcome, message, revision, replicated, replicas };
}

/** Of `audit`: one line per entry. */
export function auditJson(entry: AuditEntry): Record<string, unknown> {
  return { schema: JSON_SCHEMA, ...entry, revision: entry.revision ?? null };
}

/** Of `hosts`: one element per host; of `host describe`: one alone. */
export function hostJson({ host, lease, report, desired }: HostView): Record<string, unknown> {
  const models = new Set([...desired.keys(), ...(report?.models.keys() ?? [])]);
  return {
    schema: JSON_SCHEMA,
    ...hostInfoJson(host),
    alive: lease !== undefined,
    bootId: lease?.bootId ?? null,
    usedBytes: report?.status.usedBytes ?? null,
    revision: report?.status.revision ?? null,
    findings: report?.status.findings ?? [],
    models: [...models].sort().map((name) => {
      const wanted = desired.get(name);
      const has = report?.models.get(name);
      return {
        model: name,
        desired: wanted
          ? { generation: wanted.generation, versions: wanted.versions, primary: wanted.primary ?? null }
          : null,
        reported: has
          ? {
              generation: has.generation,
              primary: has.primary ?? null,
              versions: has.versions.map(({ version, managerState, error, ramBytes, loadMs, traffic }) => ({
                version,
                managerState,
                error: error ?? null,
                ramBytes: ramBytes ?? null,
                loadMs: loadMs ?? null,
                requests: traffic?.requests ?? null,
                errors: traffic?.errors ?? null,
              })),
            }
          : null,
      };
    }),
  };
}

function hostInfoJson({ info, cordoned }: FleetHost): Record<string, unknown> {
  const { id, zone, labels, capacityBytes, agentVersion } = info;
  return { host: id, zone, labels, cordoned, capacityBytes, agentVersion };
}
