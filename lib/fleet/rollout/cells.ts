// What a host is to be told: targetOf(), from the stage of its wave, what it was told last and what is seen of it.
//
// Level-triggered: a step writes to the hosts whose target is not what they were told. Nothing remembers how far the last
// step came, so a step that was lost, or done twice, or a host that comes back after an hour, needs no care.
import type { DesiredCell } from '../types.js';
import { SEEN, TOLD } from './types.js';

/** How far a wave is to come. */
export const STAGE = {
  /** Left alone; control hosts are watched. */
  IDLE: 0,
  PREFETCH: 1,
  /** Old and new are resident, the old one is primary. */
  EXPAND: 2,
  /** The new one is primary where it is ready, the old one stays. */
  FLIP: 3,
  /** Without the old one where the new one serves. */
  CONTRACT: 4,
  /** As the new stable version, everywhere. */
  FINAL: 5,
  ROLLBACK: 6,
} as const;
export type Stage = (typeof STAGE)[keyof typeof STAGE];

/** What a host makes of its target; the arrays of an observation at its place. */
export interface Spot {
  told: number;
  seen: number;
  /** It has accepted what it was told last. */
  current: boolean;
  /** The version that is to come has room beside the one that is there. */
  fits: boolean;
  /** The phase has lasted so long that room which is not there yet will not come by itself. */
  overdue: boolean;
}

const { OLD, NEW, PRIMARY_NEW, PREFETCH, COLD, ROLLED_BACK, WATCH } = TOLD;
/** A host that was told one of these is, or was, in a rollout. */
const IN_ROLLOUT = NEW | PRIMARY_NEW | PREFETCH | COLD | WATCH;
const SEES_NEW = SEEN.NEW_READY | SEEN.PRIMARY_NEW | SEEN.NEW_ERROR;

/** Whether a rollback has anything to take back here, by what the host was told or by what it says. */
export function isTouched(told: number, seen: number): boolean {
  return (told & IN_ROLLOUT) !== 0 || ((told & ROLLED_BACK) === 0 && (seen & SEES_NEW) !== 0);
}

/** Told to let go of one version before it has the other. */
export function isDisruptive(told: number, target: number): boolean {
  return (target & COLD) !== 0 && ((told ^ target) & (OLD | NEW | COLD)) !== 0;
}

/**
 * What a host may have been told to be told nothing else at this stage, whatever is seen of it: 1 at the place of those
 * bits. Most hosts are there most of the time, and a tick passes them over. In IDLE it is for control hosts.
 */
export function arrivalsOf(stage: Stage, hasOld: boolean, overdue: boolean): Uint8Array {
  return (!hasOld ? ARRIVALS_WITHOUT_OLD : overdue ? ARRIVALS_OVERDUE : ARRIVALS)[stage] as Uint8Array;
}

/** Told to have both versions at once, the new one for the first time. */
function isExpanded(told: number): boolean {
  return (told & (OLD | NEW | PRIMARY_NEW | COLD)) === (OLD | NEW);
}

const ALL_TOLD = OLD | NEW | PRIMARY_NEW | PREFETCH | COLD | ROLLED_BACK | WATCH;

const ARRIVALS = makeArrivals(true, false);
const ARRIVALS_OVERDUE = makeArrivals(true, true);
const ARRIVALS_WITHOUT_OLD = makeArrivals(false, false);

function makeArrivals(hasOld: boolean, overdue: boolean): readonly Uint8Array[] {
  return Object.values(STAGE).map((stage) =>
    Uint8Array.from({ length: ALL_TOLD + 1 }, (_, told) => {
      const mayBeCrowded = overdue && stage === STAGE.EXPAND && isExpanded(told);
      return hasArrived(stage, told, hasOld) && !mayBeCrowded ? 1 : 0;
    }),
  );
}

function hasArrived(stage: Stage, told: number, hasOld: boolean): boolean {
  switch (stage) {
    case STAGE.IDLE:
      return (told & (OLD | NEW | PREFETCH | WATCH)) !== OLD;
    case STAGE.PREFETCH:
    case STAGE.EXPAND:
      return (told & NEW) !== 0;
    case STAGE.FLIP:
      return (told & (NEW | PRIMARY_NEW)) === (NEW | PRIMARY_NEW);
    case STAGE.CONTRACT:
    case STAGE.FINAL:
      return told === (NEW | PRIMARY_NEW);
    case STAGE.ROLLBACK:
      // With an old version, whoever has no room for it is told more: see isStuck().
      return !hasOld && told === ROLLED_BACK;
  }
}

/** The bits of the cell that a host at this stage is to have; `hasOld`: the rollout goes from a version, not from none. */
export function targetOf(stage: Stage, spot: Spot, hasOld: boolean, control: boolean): number {
  const { told, seen, current } = spot;
  switch (stage) {
    case STAGE.IDLE:
      return control && (told & (OLD | NEW | PREFETCH | WATCH)) === OLD ? told | WATCH : told;
    case STAGE.PREFETCH:
      return (told & NEW) !== 0 ? told : (hasOld ? OLD : 0) | PREFETCH | WATCH;
    case STAGE.EXPAND:
      return expanded(spot, hasOld);
    case STAGE.FLIP:
      return flipped(spot, hasOld);
    case STAGE.CONTRACT:
      return (told & PRIMARY_NEW) !== 0 && current && serves(seen, SEEN.NEW_READY)
        ? NEW | PRIMARY_NEW
        : flipped(spot, hasOld);
    case STAGE.FINAL:
      return final(spot, hasOld);
    case STAGE.ROLLBACK:
      return rolledBack(spot, hasOld);
  }
}

function serves(seen: number, ready: number): boolean {
  return (seen & SEEN.ALIVE) !== 0 && (seen & ready) !== 0;
}

function expanded(spot: Spot, hasOld: boolean): number {
  const { told, fits } = spot;
  const crowded = isCrowded(spot);
  if ((told & NEW) !== 0 && !crowded) return told;
  if (crowded || (hasOld && !fits)) return NEW | PRIMARY_NEW | COLD | WATCH;
  return (hasOld ? OLD : 0) | NEW | WATCH;
}

function flipped(spot: Spot, hasOld: boolean): number {
  const { told, seen, current } = spot;
  if ((told & NEW) === 0 || isCrowded(spot)) return expanded(spot, hasOld);
  return current && serves(seen, SEEN.NEW_READY) ? told | PRIMARY_NEW : told;
}

// There was room for both when it was told, and somebody else has it since: another model, say, that was told in the same
// moment by the same report. Its manager waits for room as long as it takes, and keeps the old version until then.
function isCrowded({ told, seen, current, fits, overdue }: Spot): boolean {
  if (!overdue || !current || fits || !isExpanded(told)) return false;
  return serves(seen, SEEN.OLD_READY) && (seen & (SEEN.PREFETCHED | SEEN.NEW_READY | SEEN.NEW_ERROR)) === 0;
}

// A host that is not ready yet gets the final cell too: its manager keeps the old version until the new one is there. Only
// where the old one went first does the mark stay until then.
function final({ told, seen, current, fits }: Spot, hasOld: boolean): number {
  const done = NEW | PRIMARY_NEW;
  if ((told & COLD) !== 0 && (told & NEW) !== 0) return current && serves(seen, SEEN.NEW_READY) ? done : done | COLD;
  const noRoom = (told & NEW) === 0 && hasOld && !fits;
  return noRoom ? done | COLD : done;
}

// Where the old version is resident it is primary at once, and the new one goes. Elsewhere it is loaded beside the bad one,
// or, without room, after it.
function rolledBack(spot: Spot, hasOld: boolean): number {
  const { told, seen, current, fits } = spot;
  if (!hasOld) return ROLLED_BACK;
  const done = OLD | ROLLED_BACK;
  if (told === done) return isStuck(spot) ? done | COLD : done;
  if ((told & ~COLD) === done) return current && serves(seen, SEEN.OLD_READY) ? done : told;
  // After lost writes a host may have given up the old version although the store does not know that it was told to.
  const noRoom = (told & COLD) !== 0 || (!fits && (seen & SEEN.OLD_RESIDENT) === 0);
  return noRoom ? done | COLD : done;
}

// Told to go back while it was away, or while the store did not know what it has: it waits for room that nobody makes.
function isStuck({ seen, current, fits }: Spot): boolean {
  return current && !fits && serves(seen, SEEN.NEW_READY) && (seen & SEEN.OLD_RESIDENT) === 0;
}

/** The cell of these bits. */
export function cellOf(told: number, version: number, from: number | undefined): Omit<DesiredCell, 'generation'> {
  const versions: number[] = [];
  if ((told & OLD) !== 0 && from !== undefined) versions.push(from);
  if ((told & NEW) !== 0) versions.push(version);
  const primary = (told & PRIMARY_NEW) !== 0 ? version : (told & OLD) !== 0 ? from : undefined;
  return {
    versions: versions.sort((a, b) => a - b),
    ...(primary === undefined ? {} : { primary }),
    ...((told & PREFETCH) === 0 ? {} : { prefetch: version }),
    ...((told & COLD) === 0 ? {} : { resourcePreserving: true }),
    ...((told & ROLLED_BACK) === 0 ? {} : { rolledBack: [version] }),
    ...((told & WATCH) === 0 ? {} : { watch: true }),
  };
}

/** The bits of a host's cell, for Observation.told; 0 where it has none. */
export function toldOf(cell: Omit<DesiredCell, 'generation'> | undefined, version: number, from?: number): number {
  if (!cell) return 0;
  return (
    (from !== undefined && cell.versions.includes(from) ? OLD : 0) |
    (cell.versions.includes(version) ? NEW : 0) |
    (cell.primary === version ? PRIMARY_NEW : 0) |
    (cell.prefetch === version ? PREFETCH : 0) |
    (cell.resourcePreserving ? COLD : 0) |
    (cell.rolledBack?.includes(version) ? ROLLED_BACK : 0) |
    (cell.watch ? WATCH : 0)
  );
}
