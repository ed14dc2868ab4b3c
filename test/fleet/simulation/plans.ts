// Plans of the simulation, made once: ordering a thousand hosts a hundred times would cost more than the rollouts.
import type { Gate } from '#lib/fleet/gates/types.js';
import { layoutOf } from '#lib/fleet/rollout/layout.js';
import { makePlan } from '#lib/fleet/rollout/plan.js';
import type { RolloutPlan, RolloutState } from '#lib/fleet/rollout/types.js';
import { makeUndo } from '#lib/fleet/rollout/undo.js';
import type { FleetHost } from '#lib/fleet/types.js';
import { Dice } from './dice.js';
import { HOSTS, ZONES } from './timeline.js';

const PLANS = 48;
export const BAKE_MS = 5000;
export const DEADLINE_MS = 150_000;
export const PROGRESS_MS = 30_000;
export const NEED_MIB = 100;

export interface SimPlan {
  readonly plan: RolloutPlan;
  readonly undo: { readonly plan: RolloutPlan; readonly state: RolloutState };
  /** By place: the host, of all of the fleet. */
  readonly hostOf: Int32Array;
  /** By host: its place, or -1. */
  readonly placeOf: Int32Array;
  readonly hasOld: boolean;
}

const FLEET: readonly FleetHost[] = Array.from({ length: HOSTS }, (_, index) => ({
  index,
  cordoned: false,
  info: {
    id: `h${index}`,
    zone: `zone-${index % ZONES}`,
    labels: {},
    capacityBytes: 0,
    agentVersion: '1.0.0',
    schema: 1,
  },
}));

let made: readonly SimPlan[] | undefined;

/** The same ones in every worker. */
export function simPlans(): readonly SimPlan[] {
  made ??= Array.from({ length: PLANS }, (_, index) => makeSimPlan(index, new Dice(index + 1)));
  return made;
}

function makeSimPlan(index: number, dice: Dice): SimPlan {
  const size = index % 24 === 0 ? HOSTS : index % 8 === 0 ? dice.between(200, 600) : dice.between(8, 90);
  const first = dice.between(0, HOSTS - 1);
  // A stride that has no factor in common with the fleet: a spread of hosts, none twice.
  const hosts = Array.from({ length: size }, (_, i) => FLEET[(first + i * 7) % HOSTS] as FleetHost);
  const hasOld = !dice.chance(0.1);
  const gates: Gate[] = dice.chance(0.7) ? [{ kind: 'load' }, traffic(dice)] : [];
  const plan = makePlan(
    {
      model: `model-${index}`,
      version: 2,
      waves: dice.pick([
        [{ hosts: 1 }, { percent: 10 }, { percent: 50 }, { percent: 100 }],
        [{ hosts: 2 }, { percent: 100 }],
        [{ percent: 100 }],
        [{ percent: 20 }, { percent: 40 }, { percent: 60 }, { percent: 100 }],
      ]),
      maxUnavailable: dice.pick(['10%', '10%', '25%', 1, 3]),
      readyQuorum: dice.pick([100, 100, 90, 75]),
      minAlive: dice.pick([80, 80, 50]),
      bake: dice.chance(0.7) ? BAKE_MS : 0,
      gates,
      deadline: DEADLINE_MS,
      progressDeadline: PROGRESS_MS,
      onDeadline: dice.chance(0.9) ? 'abort' : 'freeze',
      onFailure: dice.chance(0.85) ? 'rollback' : 'freeze',
      bytes: NEED_MIB * 1_048_576,
      prefetch: dice.chance(0.5),
      keepWarm: dice.chance(0.5) ? 'rollout' : 'wave',
    },
    { hosts, ...(hasOld ? { stable: 1 } : {}) },
  );
  const { maxUnavailable } = plan;
  const undo = makeUndo(
    { model: plan.model, version: 2, maxUnavailable, progressDeadline: PROGRESS_MS, bytes: plan.bytes, bake: 0 },
    { hosts },
    { to: 1, actor: 'ops', reason: 'simulated' },
  );
  // Arrays of an undo lie in the order of the rollout that it undoes.
  const undoPlan = { ...undo.plan, hosts: plan.hosts, zoneOf: plan.zoneOf, zones: plan.zones };
  layoutOf(plan);
  const hostOf = Int32Array.from(plan.hosts, (id) => Number(id.slice(1)));
  const placeOf = new Int32Array(HOSTS).fill(-1);
  for (const [place, host] of hostOf.entries()) placeOf[host] = place;
  return { plan, undo: { plan: undoPlan, state: undo.state }, hostOf, placeOf, hasOld };
}

function traffic(dice: Dice): Gate {
  return { kind: 'traffic', onInsufficientData: dice.pick(['hold', 'hold', 'pass', 'fail']) };
}
