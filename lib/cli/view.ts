// What the screen makes of a rollout and the few bits that are known of each of its hosts.
import type { RolloutState, RolloutView } from '../fleet/index.js';
import { SEEN, TOLD } from '../fleet/index.js';

/** What one host is up to, in the order in which it is told. */
export const HOST_STATES = [
  'serving',
  'ready',
  'loading',
  'fetched',
  'fetching',
  'waiting',
  'back',
  'rolling-back',
  'failed',
  'away',
  'cordoned',
] as const;
export type HostState = (typeof HOST_STATES)[number];

/** How many hosts are in each state. */
export type HostCounts = Readonly<Record<HostState, number>>;

/** Those that somebody should look at. */
export const NEEDS_ATTENTION: ReadonlySet<HostState> = new Set<HostState>(['failed', 'away']);

/** What the host at this place is up to. */
export function hostState(view: RolloutView, place: number): HostState {
  const told = view.told[place] ?? 0;
  const seen = view.seen[place] ?? 0;
  if (seen & SEEN.CORDONED) return 'cordoned';
  if (!(seen & SEEN.ALIVE)) return 'away';
  if (told & TOLD.ROLLED_BACK) return wentBack(view.record.state, seen) ? 'back' : 'rolling-back';
  if (seen & SEEN.NEW_READY) return seen & SEEN.PRIMARY_NEW ? 'serving' : 'ready';
  if (seen & SEEN.NEW_ERROR) return 'failed';
  if (told & TOLD.NEW) return 'loading';
  if (seen & SEEN.PREFETCHED) return 'fetched';
  return told & TOLD.PREFETCH ? 'fetching' : 'waiting';
}

function wentBack({ from }: RolloutState, seen: number): boolean {
  return !(seen & (SEEN.PRIMARY_NEW | SEEN.NEW_READY)) && (from === undefined || (seen & SEEN.OLD_READY) !== 0);
}

/** How many of these places are in which state. */
export function countStates(view: RolloutView, places: Iterable<number>): HostCounts {
  const counts = Object.fromEntries(HOST_STATES.map((state) => [state, 0])) as Record<HostState, number>;
  for (const place of places) counts[hostState(view, place)]++;
  return counts;
}

/** The places of a wave, by zone in the order of plan.zones; zones without a host of the wave are left out. */
export function zonesOfWave(view: RolloutView, wave: number): ReadonlyMap<string, readonly number[]> {
  const { waveOf, zoneOf, zones } = view.record.plan;
  const byZone = new Map<string, number[]>();
  for (const [index, zone] of zones.entries()) {
    const places = waveOf.flatMap((of, place) => (of === wave && zoneOf[place] === index ? [place] : []));
    if (places.length > 0) byZone.set(zone, places);
  }
  return byZone;
}

/** Whether the hosts of the rollout are, or went, back to the old version. */
export function goesBack({ phase, outcome }: RolloutState): boolean {
  if (phase === 'Rollback') return true;
  return outcome !== undefined && outcome !== 'Promoted' && outcome !== 'FastPromoted';
}
