// maxUnavailable, by zone: who lacks an available version now, and whether one more may.
//
// A host that was told to let go of one version before it has the other counts as unavailable from the moment it was told,
// also when its last report says that it serves: counting reports only would give the same budget away again and again.
import type { Layout } from './layout.js';
import { type Observation, SEEN, TOLD } from './types.js';

const READY = SEEN.OLD_READY | SEEN.NEW_READY;

/** Whether the host serves the model, as far as it can be known, and goes on to. */
export function isAvailable(told: number, seen: number, current: boolean): boolean {
  return (seen & SEEN.ALIVE) !== 0 && isSettled(told, seen, current);
}

/** The same, for a host that is away: what it last said, and whether it was in the middle of a switch. */
export function isSettled(told: number, seen: number, current: boolean): boolean {
  // Told with room for both, a host gives up neither before it has the other.
  if ((told & TOLD.COLD) === 0) return (seen & READY) !== 0;
  if (!current) return false;
  const kept = ((told & TOLD.NEW) !== 0 ? SEEN.NEW_READY : 0) | ((told & TOLD.OLD) !== 0 ? SEEN.OLD_READY : 0);
  return (seen & kept) !== 0;
}

/** Told to let go of one version before it has the other, and not done with it. */
export function isSwitching(told: number, seen: number, current: boolean): boolean {
  return (told & TOLD.COLD) !== 0 && !isSettled(told, seen, current);
}

/**
 * Fills `layout.left` with what each zone has left; less than 0: others are away already. Cordoned hosts do not count.
 *
 * @param rollback Hosts that are away by themselves do not count either: they are no reason to keep others on a version
 * that is taken back.
 */
export function openBudget(layout: Layout, seen: Observation, rollback: boolean): void {
  const { left, zoneOf } = layout;
  left.set(layout.allowed);
  for (let place = 0; place < layout.size; place++) {
    const bits = seen.seen[place] as number;
    const told = seen.told[place] as number;
    if ((bits & SEEN.CORDONED) !== 0 || isAvailable(told, bits, seen.upToDate[place] === 1)) continue;
    if (rollback && (bits & SEEN.ALIVE) === 0 && !isSwitching(told, bits, seen.upToDate[place] === 1)) continue;
    const zone = zoneOf[place] as number;
    left[zone] = (left[zone] as number) - 1;
  }
}

/** Takes one host of the zone out of the budget, unless there is none left. */
export function takeBudget(layout: Layout, place: number): boolean {
  const zone = layout.zoneOf[place] as number;
  const left = layout.left[zone] as number;
  if (left <= 0) return false;
  layout.left[zone] = left - 1;
  return true;
}
