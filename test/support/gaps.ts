// Which failed requests a storm forgives: those in a gap that 'resource-preserving' makes, or while a servable is dropped.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AspiredError, type HarnessState, type ServableVersionState } from 'aspired';

/** What there is of a servable at one moment. */
export interface Sight {
  /** It was dropped, and has no version for now. */
  readonly dropped: boolean;
  /** Its versions may go before the next one is there. */
  readonly mayGap: boolean;
  /** Readers of this thread find it. */
  readonly found: boolean;
  /** As the core knows them: what readers find follows by a message. Only looked at where `mayGap`. */
  readonly states: readonly Pick<ServableVersionState, 'state' | 'managerState' | 'aspired'>[];
}

/**
 * New: what the old one went for was replaced by a newer list, and the load of that is asked for in the next round. One that
 * is aspired and unloads, or has just ended well, went for another one and is wanted back: it is loaded again as soon as it is gone.
 */
const ON_ITS_WAY: ReadonlySet<HarnessState> = new Set(['New', 'LoadRequested', 'LoadApproved', 'Loading'] as const);
const OPENING_TURNS = 20;

/** Nothing is there, and the next one is on its way; or it was dropped. */
export function isGap({ dropped, mayGap, states }: Sight): boolean {
  if (dropped) return true;
  return (
    mayGap &&
    !states.some(({ managerState }) => managerState === 'Available') &&
    states.some(
      ({ state, managerState, aspired }) =>
        ON_ITS_WAY.has(state) || (aspired && (managerState === 'Unloading' || state === 'Disabled')),
    )
  );
}

/**
 * Whether a request that failed met a gap. `before`: what there was when it was looked up; `look`: what there is.
 * A gap ends when the core says so, and readers of this thread hear of it by a message: some turns later, no more.
 */
export async function metGap(error: unknown, before: Sight, look: () => Sight): Promise<boolean> {
  if (!(error instanceof AspiredError) || error.code !== 'ERR_SERVABLE_NOT_FOUND') return false;
  // What is there must be found, whatever else is on its way.
  if (before.found) return false;
  if (isGap(before) || isGap(look())) return true;
  for (let turn = 0; before.mayGap && turn < OPENING_TURNS; turn++) {
    await nextTurn();
    if (look().found) return true;
  }
  return false;
}
