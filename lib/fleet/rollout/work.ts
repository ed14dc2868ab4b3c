// Passes over the hosts of a rollout: what is to be written now, and how far a wave is.
import { isAvailable, isSwitching, openBudget, takeBudget } from './budget.js';
import { arrivalsOf, cellOf, isDisruptive, isTouched, type Spot, STAGE, type Stage, targetOf } from './cells.js';
import type { Layout, Run } from './layout.js';
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
/** Share of the progress deadline in which room may come by itself: another model gives up its old version. */
const ROOM_PATIENCE = 0.25;

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
  /** By wave, and behind the last one for all of them: what tallyOf() has counted in this call. */
  readonly tallies: Tally[];
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

/** Whom the phase waits for: the hosts of its wave, at the very end all (undefined). */
export function scopeOf(layout: Layout, state: RolloutState): number | undefined {
  return state.phase === 'Contract' && isLast(layout, state) ? undefined : state.wave;
}

/** The hosts whose target is not what they were told, as far as the budget and MAX_WRITES allow. */
export function collect(tick: Tick, state: RolloutState, open: boolean): Work {
  const { plan } = tick;
  const rollback = state.phase === 'Rollback';
  const now = stageOf(tick, state, open);
  const before = now === STAGE.FINAL || rollback ? now : plan.keepWarm === 'wave' ? STAGE.CONTRACT : STAGE.FLIP;
  const after = rollback ? now : STAGE.IDLE;
  const work = new Collector(tick, state);
  // In a rollback those that serve come first: hosts that are away would take the budget and give nothing for it.
  for (const turn of rollback ? TURNS : [SEEN.ALIVE]) work.scan(turn, before, now, after);
  return work;
}

/** The bit ALIVE of those whose turn it is. */
const TURNS = [SEEN.ALIVE, 0] as const;

class Collector implements Work {
  readonly writes: CellWrite[] = [];
  readonly blocked: number[] = [];
  private readonly spot: Spot = { told: 0, seen: 0, current: false, fits: true, overdue: false };
  /** One cell object per kind of cell. */
  private readonly cells: CellWrite['cell'][] = [];
  private budgetIsOpen = false;

  constructor(
    private readonly tick: Tick,
    private readonly state: RolloutState,
  ) {
    this.spot.overdue = isOverdue(tick, state);
  }

  scan(turn: number, before: Stage, now: Stage, after: Stage): void {
    const { wave } = this.state;
    for (const run of this.tick.layout.runs) {
      const stage = run.wave < wave ? before : run.wave === wave ? now : after;
      if (stage !== STAGE.IDLE || run.hasControl) this.scanRun(turn, run, stage);
    }
  }

  private scanRun(turn: number, { from, to }: Run, stage: Stage): void {
    const { layout, hasOld, seen } = this.tick;
    const { told, seen: bits } = seen;
    const { control } = layout;
    const arrivals = arrivalsOf(stage, hasOld, this.spot.overdue);
    for (let place = from; place < to; place++) {
      if (arrivals[told[place] as number] === 1) continue;
      if (stage === STAGE.IDLE && control[place] === 0) continue;
      if (stage === STAGE.ROLLBACK && ((bits[place] as number) & SEEN.ALIVE) !== turn) continue;
      if (this.writes.length >= MAX_WRITES) return;
      this.look(place, stage);
    }
  }

  private look(place: number, stage: Stage): void {
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
    // In the middle of a switch a host is told nothing else, but to go back: what it says is of before.
    if (stage !== STAGE.ROLLBACK && !spot.current && (spot.told & TOLD.COLD) !== 0) return;
    const free = seen.freeMib[place] as number;
    spot.fits = free === UNKNOWN_MIB || free >= tick.needMib;
    const target = targetOf(stage, spot, tick.hasOld, tick.layout.control[place] === 1);
    if (target !== spot.told && this.allows(place, target, stage)) this.write(place, target);
  }

  // A host that is away may be one that serves and that we do not hear: forward it is not told to let go of anything; back
  // it must be, within the budget.
  private allows(place: number, target: number, stage: Stage): boolean {
    const { told, seen, current, fits } = this.spot;
    const rollback = stage === STAGE.ROLLBACK;
    const blind = rollback && isBlind(this.tick.seen);
    // What was lost may be that it was told to switch: without room for two it is not known how to go back.
    if (blind && !fits && (told & (TOLD.NEW | TOLD.ROLLED_BACK)) === 0) return this.block(place);
    if (!isDisruptive(told, target) || (seen & SEEN.CORDONED) !== 0) return true;
    const alive = (seen & SEEN.ALIVE) !== 0;
    if (!alive && !rollback) return false;
    if (liftsBudget(this.tick, this.state)) return true;
    if (alive ? !isAvailable(told, seen, current) : isSwitching(told, seen, current)) {
      // It counts already, and costs nothing more as long as all who count are allowed; beyond that only if it will not
      // become available by itself in the meantime.
      const hopes = rollback ? (seen & SEEN.NEW_ERROR) === 0 : (seen & SEEN.OLD_RESIDENT) !== 0;
      return (alive && current && !hopes) || this.left(place) >= 0 || this.block(place);
    }
    if (blind || this.left(place) <= 0) return this.block(place);
    return takeBudget(this.tick.layout, place);
  }

  private left(place: number): number {
    const { layout, seen } = this.tick;
    if (!this.budgetIsOpen) openBudget(layout, seen, this.state.phase === 'Rollback');
    this.budgetIsOpen = true;
    return layout.left[layout.zoneOf[place] as number] as number;
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

/** Whoever waits for room in this phase has waited for a good part of what the progress deadline allows. */
function isOverdue({ plan, state, seen, needMib }: Tick, now: RolloutState): boolean {
  if (needMib === 0 || now.phase !== state.phase || now.wave !== state.wave) return false;
  const since = Math.max(seen.stamps.phaseAt, state.deadlineFrom ?? 0);
  return seen.now - since >= plan.progressDeadlineMs * ROOM_PATIENCE;
}

/** What is seen of hosts is not to be believed now: it is old, or missing. After lost writes it is all that is true. */
export function isBlind({ storeHold }: Observation): boolean {
  return storeHold === 'observation-grace' || storeHold === 'mass-expiry';
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
export function tallyOf(tick: Tick, wave: number | undefined): Tally {
  const { tallies, layout } = tick;
  const at = wave ?? layout.waveCount;
  tallies[at] ??= countUp(tick, wave);
  return tallies[at];
}

function countUp({ layout, seen }: Tick, wave: number | undefined): Tally {
  const { seen: bitsOf, told: toldOf, upToDate } = seen;
  let members = 0;
  let alive = 0;
  let untold = 0;
  let fetched = 0;
  let ready = 0;
  let flipped = 0;
  let contracted = 0;
  let lost = 0;
  for (const run of layout.runs) {
    if (wave !== undefined && run.wave !== wave) continue;
    for (let place = run.from; place < run.to; place++) {
      const bits = bitsOf[place] as number;
      if ((bits & SEEN.CORDONED) !== 0) continue;
      members++;
      if ((bits & SEEN.ALIVE) === 0) continue;
      alive++;
      const told = toldOf[place] as number;
      if ((bits & SEEN.PREFETCHED) !== 0 || (told & TOLD.NEW) !== 0) fetched++;
      if ((told & TOLD.NEW) === 0) untold++;
      else if (upToDate[place] === 1) {
        if ((told & TOLD.OLD) === 0) contracted++;
        if ((bits & SEEN.NEW_READY) === 0) continue;
        ready++;
        if ((told & TOLD.PRIMARY_NEW) !== 0 && (bits & SEEN.PRIMARY_NEW) !== 0) flipped++;
      }
    }
  }
  for (const place of seen.permanentErrors.keys()) {
    if ((wave === undefined || layout.waveOf[place] === wave) && isLost(seen, place)) lost++;
  }
  return { members, alive, untold, fetched, ready, flipped, contracted, lost };
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
