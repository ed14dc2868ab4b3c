// Rollouts that follow from one that has ended: the same again, or back.
import { firstState } from '../rollout/reduce.js';
import type { RolloutPlan, RolloutPlanOptions, RolloutState } from '../rollout/types.js';
import { makeUndo, undoTarget } from '../rollout/undo.js';
import type { ModelRecord, RolloutRecord } from '../store/types.js';
import type { FleetHost, Intent } from '../types.js';

export interface Predecessor {
  readonly record: RolloutRecord;
  readonly model: ModelRecord | undefined;
  /** Those that take part. */
  readonly hosts: readonly FleetHost[];
  readonly intent: Intent;
  readonly force: boolean;
}

/** What comes next, or why nothing does. */
export type Successor = { readonly plan: RolloutPlan; readonly state: RolloutState } | { readonly refused: string };

/** The same plan again, from what is stable now. */
export function retryOf({ record, model, hosts, intent, force }: Predecessor): Successor {
  const { version } = record.plan;
  if (model?.stable === version) return { refused: `Version ${version} is stable already` };
  if (!force && model?.tombstones.includes(version)) {
    return { refused: `Version ${version} was rolled back as bad; retry with force, or roll out another one` };
  }
  if (hosts.length === 0) return { refused: 'No host takes part' };
  const plan = withHosts(record.plan, hosts);
  const { actor, reason } = intent;
  return { plan, state: firstState(plan, { from: model?.stable, actor, reason }) };
}

/** Back to the version that was stable before, on all hosts at once. */
export function undoOf({ record, model, hosts, intent }: Predecessor): Successor {
  const { plan, state } = record;
  if (state.outcome !== 'Promoted' && state.outcome !== 'FastPromoted') {
    return { refused: `It has ended (${state.outcome}), and version ${plan.version} is not stable by it` };
  }
  if (model?.stable !== plan.version) {
    return { refused: `Version ${plan.version} is not the stable one any more: that is ${model?.stable ?? 'none'}` };
  }
  const to = undoTarget(model);
  if (to === undefined) return { refused: 'There is no version to go back to' };
  const { model: name, version } = plan;
  const { actor, reason } = intent;
  return makeUndo({ ...limitsOf(plan), model: name, version }, { hosts, stable: version }, { to, actor, reason });
}

/** What a rollout that follows from another one keeps of its plan: budgets and deadlines. */
export function limitsOf(
  plan: RolloutPlan,
): Pick<RolloutPlanOptions, 'maxUnavailable' | 'bytes' | 'surgeBytes' | 'deadline' | 'progressDeadline'> {
  const { maxUnavailable, bytes, surgeBytes, deadlineMs, progressDeadlineMs } = plan;
  return { maxUnavailable, bytes, surgeBytes, deadline: deadlineMs, progressDeadline: progressDeadlineMs };
}

/** The plan with the hosts of now: those that it knew keep their places, the others come last. */
export function withHosts(plan: RolloutPlan, hosts: readonly FleetHost[]): RolloutPlan {
  const now = new Map(hosts.map((host) => [host.info.id, host.info.zone]));
  const waves = new Map(plan.hosts.map((host, place) => [host, plan.waveOf[place] as number]));
  const ids = [...plan.hosts.filter((id) => now.has(id)), ...[...now.keys()].filter((id) => !waves.has(id))];
  const zoneNames = ids.map((id) => now.get(id) as string);
  const zones = [...new Set([...plan.zones, ...zoneNames])].filter((zone) => zoneNames.includes(zone));
  return {
    ...plan,
    hosts: ids,
    zones,
    zoneOf: zoneNames.map((zone) => zones.indexOf(zone)),
    waveOf: ids.map((id) => waves.get(id) ?? plan.waves.length - 1),
  };
}
