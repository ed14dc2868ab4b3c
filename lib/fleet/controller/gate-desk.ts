// Gates as one controller sees to them: load and traffic are judged here, from what the hosts report, with each tick;
// webhooks are asked by somebody else (a job, or a call in this process), and their answers lie in the store.
import { judge } from '../gates/index.js';
import type { GateResult, TrafficGate } from '../gates/types.js';
import { type Observation, type RolloutPlan, type RolloutState, SEEN, TOLD } from '../rollout/types.js';
import { type HostPicture, loadErrorsOf, versionOf } from './observe.js';
import { type TrafficSample, TrafficWindow } from './traffic-window.js';

/** A webhook that is to be asked. */
export interface GateErrand {
  readonly rollout: string;
  readonly wave: number;
  /** Index in the plan. */
  readonly gate: number;
  /** RolloutState.gateAttempt: an operator wants another answer. */
  readonly attempt: number;
  /** From 0; a new one after an answer that was no verdict. */
  readonly round: number;
}

type GatePlace = Pick<GateErrand, 'wave' | 'gate' | 'attempt'>;

/** Under which a result is written down, once. */
export function gateKey({ wave, gate, attempt }: GatePlace, round: number): string {
  return round === 0 ? `${wave}-${gate}-${attempt}` : `${wave}-${gate}-${attempt}-${round}`;
}

/** The last round that has a result; -1: none has. */
export function lastRound(results: ReadonlyMap<string, GateResult>, place: GatePlace): number {
  let round = -1;
  while (results.has(gateKey(place, round + 1))) round++;
  return round;
}

export interface GateLook {
  readonly rollout: string;
  readonly plan: RolloutPlan;
  readonly state: RolloutState;
  readonly pictures: readonly HostPicture[];
  readonly observation: Observation;
  /** As they lie in the store. */
  readonly stored: ReadonlyMap<string, GateResult>;
}

/** See the top of the file. Keeps the traffic windows of the rollouts that are ticked here. */
export class GateDesk {
  private readonly windows = new Map<string, TrafficWindow>();

  /** The results that there are for the current wave, by index in the plan. */
  results(look: GateLook): ReadonlyMap<number, GateResult> {
    const results = new Map<number, GateResult>();
    const { plan, state, stored } = look;
    const phase = state.phase === 'Frozen' ? state.frozenIn : state.phase;
    const isBaking = phase === 'Bake';
    if (isBaking && plan.gates.some(({ kind }) => kind === 'traffic')) this.countTraffic(look);
    const loadErrors = loadErrorsOf(plan, look.observation.told, look.pictures);
    plan.gates.forEach((gate, index) => {
      if (gate.kind === 'webhook') {
        const place = placeOf(state, index);
        const result = stored.get(gateKey(place, lastRound(stored, place)));
        if (result) results.set(index, result);
      } else if (gate.kind === 'load') {
        results.set(index, judge(gate, { canary: new Map(), control: new Map(), loadErrors }));
      } else if (isBaking) results.set(index, this.judgeTraffic(gate, look, loadErrors));
    });
    return results;
  }

  /** The webhooks that a step asked for; the other gates are judged anyway. */
  errands(
    { rollout, plan, stored }: Pick<GateLook, 'rollout' | 'plan' | 'stored'>,
    state: RolloutState,
    ask: readonly number[],
  ): GateErrand[] {
    return ask.flatMap((gate) => {
      if (plan.gates[gate]?.kind !== 'webhook') return [];
      const place = placeOf(state, gate);
      const last = lastRound(stored, place);
      const verdict = stored.get(gateKey(place, last))?.verdict;
      return verdict === 'pass' || verdict === 'fail' ? [] : [{ rollout, ...place, round: last + 1 }];
    });
  }

  /** The rollout has ended. */
  forget(rollout: string): void {
    this.windows.delete(rollout);
  }

  private judgeTraffic(
    gate: TrafficGate,
    { rollout, state }: GateLook,
    loadErrors: ReturnType<typeof loadErrorsOf>,
  ): GateResult {
    const groups = this.windows.get(rollout)?.groups() ?? { canary: new Map(), control: new Map() };
    return judge(gate, { ...groups, first: state.from === undefined, loadErrors });
  }

  private countTraffic({ rollout, plan, state, pictures, observation }: GateLook): void {
    let window = this.windows.get(rollout);
    if (!window) {
      window = new TrafficWindow();
      this.windows.set(rollout, window);
    }
    window.update(state.wave, samplesOf(plan, state, pictures, observation));
  }
}

function placeOf({ wave, gateAttempt = 0 }: RolloutState, gate: number): GatePlace {
  return { wave, gate, attempt: gateAttempt };
}

/** Who is canary, who is control, and what they have counted. */
function samplesOf(
  plan: RolloutPlan,
  { from }: RolloutState,
  pictures: readonly HostPicture[],
  { told, seen }: Observation,
): TrafficSample[] {
  return plan.hosts.flatMap((host, place): TrafficSample[] => {
    const bits = seen[place] as number;
    const report = pictures[place]?.report;
    if (!report || bits & SEEN.CORDONED) return [];
    const model = report.models.get(plan.model);
    const next = versionOf(model, plan.version)?.traffic;
    const old = from === undefined ? undefined : versionOf(model, from)?.traffic;
    const common = {
      host,
      zone: plan.zones[plan.zoneOf[place] as number] as string,
      bootId: report.status.bootId,
    };
    if ((told[place] as number) & TOLD.PRIMARY_NEW) {
      if (!(bits & SEEN.PRIMARY_NEW)) return [];
      return [{ ...common, group: 'canary', ...(next && { traffic: next }), ...(old && { before: old }) }];
    }
    if (!(bits & SEEN.OLD_READY) || bits & SEEN.PRIMARY_NEW) return [];
    return [{ ...common, group: 'control', ...(old && { traffic: old }) }];
  });
}
