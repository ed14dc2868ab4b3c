// A plan as a tick reads it: typed arrays by place, made once per plan object.
import type { Gate } from '../gates/types.js';
import type { HostCount, RolloutPlan } from './types.js';

/** Hosts of a zone that are watched as the control group: the last ones to be updated. */
const CONTROL_HOSTS = 20;

export interface Layout {
  readonly size: number;
  readonly waveCount: number;
  readonly zoneOf: Uint16Array;
  readonly waveOf: Uint16Array;
  /** By zone: hosts that may be unavailable at once. */
  readonly allowed: Int32Array;
  /** All places, in their order. */
  readonly runs: readonly Run[];
  /** By place: its traffic is watched before its wave comes. */
  readonly control: Uint8Array;
  /** By zone: what a tick has left of `allowed`. Scratch: a tick is synchronous. */
  readonly left: Int32Array;
}

/** Places that lie side by side and are of the same wave. */
export interface Run {
  readonly wave: number;
  readonly from: number;
  /** The first one behind it. */
  readonly to: number;
  /** The traffic of some is watched before their wave comes. */
  readonly hasControl: boolean;
}

const layouts = new WeakMap<RolloutPlan, Layout>();

/** The layout of this plan. */
export function layoutOf(plan: RolloutPlan): Layout {
  let layout = layouts.get(plan);
  if (!layout) {
    layout = makeLayout(plan);
    layouts.set(plan, layout);
  }
  return layout;
}

function makeLayout(plan: RolloutPlan): Layout {
  const size = plan.hosts.length;
  const zoneOf = Uint16Array.from(plan.zoneOf);
  const sizes = new Int32Array(plan.zones.length);
  for (const zone of zoneOf) sizes[zone] = (sizes[zone] as number) + 1;
  const control = controlHosts(plan, zoneOf);
  return {
    size,
    runs: runsOf(plan, control),
    waveCount: plan.waves.length,
    zoneOf,
    waveOf: Uint16Array.from(plan.waveOf),
    allowed: sizes.map((count) => countOf(plan.maxUnavailable, count)),
    control,
    left: new Int32Array(plan.zones.length),
  };
}

function runsOf({ waveOf }: RolloutPlan, control: Uint8Array): Run[] {
  const runs: Run[] = [];
  for (let from = 0, to = 0; from < waveOf.length; from = to) {
    const wave = waveOf[from] as number;
    while (to < waveOf.length && waveOf[to] === wave) to++;
    runs.push({ wave, from, to, hasControl: control.subarray(from, to).includes(1) });
  }
  return runs;
}

const isTraffic = (gate: Gate): boolean => gate.kind === 'traffic';

function controlHosts(plan: RolloutPlan, zoneOf: Uint16Array): Uint8Array {
  const control = new Uint8Array(zoneOf.length);
  if (!plan.gates.some(isTraffic)) return control;
  const taken = new Int32Array(plan.zones.length);
  for (let place = zoneOf.length - 1; place >= 0; place--) {
    const zone = zoneOf[place] as number;
    if ((taken[zone] as number) >= CONTROL_HOSTS) continue;
    taken[zone] = (taken[zone] as number) + 1;
    control[place] = 1;
  }
  return control;
}

/** A count of hosts out of `total`: percentages are rounded down, but not to 0 unless they are 0. */
export function countOf(count: HostCount, total: number): number {
  if (typeof count === 'number') return count;
  const percent = Number.parseFloat(count);
  return percent === 0 ? 0 : Math.max(1, Math.floor((total * percent) / 100));
}
