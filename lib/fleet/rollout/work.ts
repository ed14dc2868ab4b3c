// Passes over the hosts of a rollout: what is to be written now, and how far a wave is.
import { isAvailable, openBudget, takeBudget } from './budget.js';
import { cellOf, isDisruptive, isTouched, type Spot, STAGE, type Stage, targetOf } from './cells.js';
import type { Layout } from './layout.js';
import {
  type CellWrite,
  MAX_WRITES,
  type Observation,
  type RolloutPlan,
  type RolloutState,
  SEEN,
  TOLD,
} from './types.js';

const MIB = 1_048_576;
const UNKNOWN_MIB = 0xffffffff;

/** What one call of reduce() goes by. */
export interface Tick {
  readonly plan: RolloutPlan;
  readonly layout: Layout;
  /** As it was stored. */
  readonly state: RolloutState;
  readonly seen: Observation;
  /** It goes from a version, not from none. */
  readonly hasOld: boolean;
  /** Room that the version needs, in MiB; 0: any host has it, or nobody knows. */
  readonly needMib: number;
}

/** Room that a version needs on a host that has another one of the model. */
export function needMib(plan: RolloutPlan, state: RolloutState, measuredBytes: number): number {
  const bytes = Math.max(measuredBytes, state.measuredBytes ?? 0) || plan.bytes;
  return Math.max(0, Math.ceil((bytes - plan.surgeBytes) / MIB));
}

/** What is to be written now. */
export interface Work {
  readonly writes: readonly CellWrite[];
  /** Hosts that wait for others to become available, as the budget wants it. */
  readonly blocked: readonly number[];
}

/** How far the current wave is to come in this phase; `open`: no gate stands before the wave. */
function stageOf({ plan, layout }: Tick, state: RolloutState, open: boolean): Stage {
  switch (state.phase) {
    case 'Prefetch':
      return open && plan.prefetch ? STAGE.PREFETCH : STAGE.IDLE;
    case 'Expand':
    case 'WaitReady':
      return STAGE.EXPAND;
    case 'Flip':
    case 'Bake':
      return STAGE.FLIP;
    case 'Contract':
      return isLast(layout, state) ? STAGE.FINAL : STAGE.CONTRACT;
    case 'Rollback':
      return STAGE.ROLLBACK;
    default:
      return STAGE.IDLE;
  }
}

/** Whether there is no wave after this one. */
export function isLast(layout: Layout, state: RolloutState): boolean {
  return state.wave >= layout.waveCount - 1;
}

/** The hosts whose target is not what they were told, as far as the budget and MAX_WRITES allow. */
export function collect(tick: Tick, state: RolloutState, open: boolean): Work {
  const { plan, layout } = tick;
  const rollback = state.phase === 'Rollback';
  const now = stageOf(tick, state, open);
  const before = now === STAGE.FINAL || rollback ? now : plan.keepWarm === 'wave' ? STAGE.CONTRACT : STAGE.FLIP;
  const after = rollback ? now : STAGE.IDLE;
  const work = new Collector(tick, state);
  openBudget(layout, tick.seen, rollback);
  // In a rollback those that serve come first: hosts that are away would take the budget and give nothing for it.
  for (const away of rollback ? [false, true] : [undefined]) {
    for (let place = 0; place < layout.size && work.writes.length < MAX_WRITES; place++) {
      if (away !== undefined && away === (((tick.seen.seen[place] as number) & SEEN.ALIVE) !== 0)) continue;
      const wave = layout.waveOf[place] as number;
      work.look(place, wave < state.wave ? before : wave === state.wave ? now : after);
    }
  }
  return work;
}

class Collector implements Work {
  readonly writes: CellWrite[] = [];
  readonly blocked: number[] = [];
  private readonly spot: Spot = { told: 0, seen: 0, current: false, fits: true };
  /** One cell object per kind of cell. */
  private readonly cells: CellWrite['cell'][] = [];

  constructor(
    private readonly tick: Tick,
    private readonly state: RolloutState,
  ) {}

  look(place: number, stage: Stage): void {
    const { tick, spot } = this;
    const { seen } = tick;
    spot.told = seen.told[place] as number;
    spot.seen = seen.seen[place] as number;
    if (stage === STAGE.ROLLBACK) {
      if (!this.state.rollback?.everywhere && !isTouched(spot.told, spot.seen)) {
        if ((spot.told & TOLD.ROLLED_BACK) === 0) return;
      }
    } else if ((spot.seen & SEEN.CORDONED) !== 0) return;
    spot.current = seen.upToDate[place] === 1;
    const free = seen.freeMib[place] as number;
    spot.fits = free === UNKNOWN_MIB || free >= tick.needMib;
    const target = targetOf(stage, spot, tick.hasOld, tick.layout.control[place] === 1);
    if (target !== spot.told && this.allows(place, target, stage)) this.write(place, target);
  }

  // Whom nobody serves from cannot become less available: it is switched without a budget. A host that is away may be one
  // that serves and that we do not hear: forward it is not told to let go of anything; back it must be, within the budget.
  private allows(place: number, target: number, stage: Stage): boolean {
    const { told, seen, current } = this.spot;
    if (!isDisruptive(told, target) || (seen & SEEN.CORDONED) !== 0) return true;
    const alive = (seen & SEEN.ALIVE) !== 0;
    if (stage !== STAGE.ROLLBACK) {
      if (!alive) return false;
      if (!isAvailable(told, seen, current)) return true;
    } else {
      if (liftsBudget(this.tick, this.state)) return true;
      if (alive ? !isAvailable(told, seen, current) : (told & TOLD.COLD) !== 0) return true;
      if (isBlind(this.tick.seen)) return this.block(place);
    }
    return takeBudget(this.tick.layout, place) || this.block(place);
  }

  private block(place: number): false {
    this.blocked.push(place);
    return false;
  }

  private write(place: number, target: number): void {
    this.cells[target] ??= cellOf(target, this.tick.plan.version, this.state.from);
    this.writes.push({ place, cell: this.cells[target] });
  }
}

/** What is seen of hosts is not to be believed now. */
export function isBlind({ storeHold }: Observation): boolean {
  return storeHold !== undefined && storeHold !== 'unconfirmed';
}

/** A rollback that hung for so long puts the end of the bad version above maxUnavailable. */
export function liftsBudget({ plan, state, seen }: Tick, now: RolloutState): boolean {
  return (
    now.phase === 'Rollback' &&
    state.phase === 'Rollback' &&
    !isBlind(seen) &&
    seen.now - seen.stamps.phaseAt >= plan.progressDeadlineMs
  );
}

/** How far a wave is; cordoned hosts count nowhere. */
export interface Tally {
  readonly members: number;
  readonly alive: number;
  /** Of those alive: not told of the new version. */
  readonly untold: number;
  /** Of those alive: fetched, or further. */
  readonly fetched: number;
  /** Of those alive: the new version is available. */
  readonly ready: number;
  /** Of those: a plain name resolves to it. */
  readonly flipped: number;
  /** Of those alive: have accepted what they were told last, without the old version. */
  readonly contracted: number;
  /** Of those alive: the new version will never be available. */
  readonly lost: number;
}

/** How far one wave is, or all of them (undefined). */
export function tallyOf({ layout, seen }: Tick, wave: number | undefined): Tally {
  const tally = { members: 0, alive: 0, untold: 0, fetched: 0, ready: 0, flipped: 0, contracted: 0, lost: 0 };
  for (let place = 0; place < layout.size; place++) {
    if (wave !== undefined && layout.waveOf[place] !== wave) continue;
    const bits = seen.seen[place] as number;
    if ((bits & SEEN.CORDONED) !== 0) continue;
    tally.members++;
    if ((bits & SEEN.ALIVE) === 0) continue;
    tally.alive++;
    const told = seen.told[place] as number;
    const current = seen.upToDate[place] === 1;
    if ((bits & SEEN.PREFETCHED) !== 0 || (told & TOLD.NEW) !== 0) tally.fetched++;
    if ((told & TOLD.NEW) === 0) tally.untold++;
    else if (current) {
      if (isReady(told, bits, current)) tally.ready++;
      if (isFlipped(told, bits, current)) tally.flipped++;
      if ((told & TOLD.OLD) === 0) tally.contracted++;
    }
  }
  for (const place of seen.permanentErrors.keys()) {
    if ((wave === undefined || layout.waveOf[place] === wave) && isLost(seen, place)) tally.lost++;
  }
  return tally;
}

/** It has the new version, and has accepted to have it. */
export function isReady(told: number, bits: number, current: boolean): boolean {
  return current && (told & TOLD.NEW) !== 0 && (bits & SEEN.NEW_READY) !== 0;
}

export function isFlipped(told: number, bits: number, current: boolean): boolean {
  return isReady(told, bits, current) && (told & TOLD.PRIMARY_NEW) !== 0 && (bits & SEEN.PRIMARY_NEW) !== 0;
}

/** It lives, was told to have the new version or to fetch it, and reports that it never will. */
export function isLost({ seen, told, upToDate, permanentErrors }: Observation, place: number): boolean {
  const bits = seen[place] as number;
  return (
    permanentErrors.has(place) &&
    upToDate[place] === 1 &&
    ((told[place] as number) & (TOLD.NEW | TOLD.PREFETCH)) !== 0 &&
    (bits & (SEEN.ALIVE | SEEN.CORDONED | SEEN.NEW_READY)) === SEEN.ALIVE
  );
}

/** Hosts that have the new version now, in all waves: what progress is measured by. */
export function readyHosts({ layout, seen }: Tick): number {
  let ready = 0;
  for (let place = 0; place < layout.size; place++) {
    const bits = (seen.seen[place] as number) & (SEEN.ALIVE | SEEN.NEW_READY);
    if (bits === (SEEN.ALIVE | SEEN.NEW_READY) && ((seen.told[place] as number) & TOLD.NEW) !== 0) ready++;
  }
  return ready;
}
