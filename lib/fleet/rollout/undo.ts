// Undo of a rollout that has ended: back to the stable version before.
//
// It is a rollout of its own, with a new id, that is nothing but a rollback of the version that is stable now: its plan
// has that version and all hosts, its state waits in Pending with `rollback` set. So it is warm where the old version is
// still resident, keeps maxUnavailable where it is not, asks no gate, cannot be paused, tombstones the version that it
// takes back, and makes the version before stable with its first step.
import { AspiredError } from '../../errors.js';
import { type PlanFleet, placed } from './plan.js';
import { planSettings } from './plan-options.js';
import { firstState } from './reduce.js';
import { type Witness, witnessText } from './text.js';
import type { RolloutPlan, RolloutPlanOptions, RolloutState } from './types.js';
import { orderHosts } from './waves.js';

/** The version that an undo of the model goes to: the latest stable one before that was not taken back; undefined: none. */
export function undoTarget(model: {
  readonly stable?: number;
  readonly previous: readonly number[];
  readonly tombstones: readonly number[];
}): number | undefined {
  return model.previous.find((version) => version !== model.stable && !model.tombstones.includes(version));
}

/** Where an undo goes to, and who wants it: an operator, or a host that knows what the store has lost. */
export type UndoCause = { readonly to: number } & (
  | { readonly actor: string; readonly reason: string; readonly witness?: undefined }
  | { readonly actor: string; readonly witness: Witness }
);

/**
 * The plan and the first state of an undo.
 *
 * @param options Of the rollout that is undone, as far as they are wanted: budgets and deadlines; `version` is the one to
 * get rid of. There is no bake, and no gate is asked.
 * @param cause `to`: what undoTarget() says. With a witness every host is told, also those that the store knows nothing of.
 * @throws AspiredError ERR_PLAN_IMPOSSIBLE without hosts, and what makePlan() throws for options
 */
export function makeUndo(
  options: Omit<RolloutPlanOptions, 'waves'>,
  fleet: PlanFleet,
  cause: UndoCause,
): { readonly plan: RolloutPlan; readonly state: RolloutState } {
  // The default of a bake may not fit into the deadline.
  const settings = planSettings({ ...options, bake: 0, gates: [] });
  const { to, actor } = cause;
  if (to === settings.version) {
    throw new AspiredError('ERR_PLAN_INVALID', `Version ${to} of ${settings.model} is the one to be undone.`);
  }
  const hosts = orderHosts(
    settings.model,
    fleet.hosts.filter((host) => !host.cordoned),
  );
  if (hosts.length === 0) {
    throw new AspiredError('ERR_PLAN_IMPOSSIBLE', 'The fleet has no host, or all of them are cordoned.');
  }
  const plan = placed(settings, [{ label: 'all', hosts }]);
  const reason = cause.witness ? witnessText(cause.witness, settings.version) : cause.reason;
  const rollback: RolloutState['rollback'] = cause.witness
    ? { outcome: 'RolledBack', reason, tombstone: true, everywhere: true, stable: to }
    : { outcome: 'Undone', reason: `undone by ${actor}: ${reason}`, tombstone: true, stable: to };
  return { plan, state: { ...firstState(plan, { from: to, actor, reason }), rollback } };
}
