// Why it does not go on: the holds that are about hosts, and those of the store.
import { isTouched } from './cells.js';
import { count } from './text.js';
import { type Hold, type RolloutState, SEEN, TOLD } from './types.js';
import { isFlipped, isLost, isReady, scopeOf, type Tally, type Tick, type Work } from './work.js';

const NAMED_HOSTS = 20;

/** A hold for those hosts of a wave, or of all (undefined), for which `is` holds. */
export function holdFor(
  tick: Tick,
  wave: number | undefined,
  code: Hold['code'],
  message: string,
  is: (bits: number, told: number, current: boolean) => boolean,
): Hold {
  const { layout, seen, plan } = tick;
  const hosts: string[] = [];
  let hostCount = 0;
  for (const run of layout.runs) {
    if (wave !== undefined && run.wave !== wave) continue;
    for (let place = run.from; place < run.to; place++) {
      const told = seen.told[place] as number;
      if (!is(seen.seen[place] as number, told, seen.upToDate[place] === 1)) continue;
      if (hostCount++ < NAMED_HOSTS) hosts.push(plan.hosts[place] as string);
    }
  }
  return { code, message, hosts, hostCount };
}

/** A hold that is about no host. */
export function plainHold(code: Hold['code'], message: string): Hold {
  return { code, message, hosts: [], hostCount: 0 };
}

const STORE_MESSAGES: Readonly<Record<NonNullable<Tick['seen']['storeHold']>, string>> = {
  'observation-grace': 'The store was away: hosts get time to report before anything is concluded from their silence',
  'mass-expiry':
    'Too many leases ran out at once: that is taken for trouble between hosts and store, not for dead hosts',
  'store-regression': 'The store has lost writes: it is brought up to what hosts have seen before anything goes on',
  unconfirmed: 'Fewer replicas than wanted have what was written: going on could be lost in a failover',
};

/** The store's hold; undefined: it has none. */
export function storeHold(tick: Tick): Hold | undefined {
  const { storeHold: code, storeHosts = [] } = tick.seen;
  if (code === undefined) return undefined;
  const message = STORE_MESSAGES[code];
  if (code === 'observation-grace')
    return holdFor(tick, undefined, code, message, (bits) => (bits & (SEEN.ALIVE | SEEN.CORDONED)) === 0);
  return { code, message, hosts: storeHosts.slice(0, NAMED_HOSTS), hostCount: storeHosts.length };
}

/**
 * Whether the store's hold that is written down is of no help any more to whoever has to see to its hosts: none that it names
 * is left, or there are more than twice as many. Not at each change: hosts that come and go would fill the audit.
 */
export function isOutdated({ state, seen }: Tick): boolean {
  const { hold } = state;
  const { storeHosts } = seen;
  if (!hold || hold.code !== seen.storeHold || !storeHosts || storeHosts.length === 0) return false;
  return storeHosts.length > 2 * hold.hostCount || !storeHosts.some((host) => hold.hosts.includes(host));
}

/** Living hosts of a wave that are enough for it, by the quorum. */
export function quorumOf({ plan }: Tick, tally: Tally): number {
  return Math.ceil((tally.alive * plan.readyQuorum) / 100);
}

/** Too few hosts of the wave are alive; undefined: enough are. */
export function minAliveHold(tick: Tick, state: RolloutState, tally: Tally): Hold | undefined {
  const { plan } = tick;
  if (tally.alive * 100 >= plan.minAlive * tally.members) return undefined;
  const figures = `${tally.alive} of ${count(tally.members, 'host')}`;
  return holdFor(
    tick,
    state.wave,
    'min-alive',
    `${figures} of the wave are alive, ${plan.minAlive} % are needed`,
    (bits) => (bits & (SEEN.ALIVE | SEEN.CORDONED)) === 0,
  );
}

/** Hosts that wait for the budget; undefined: none does. */
export function budgetHold(tick: Tick, work: Work): Hold | undefined {
  if (work.blocked.length === 0) return undefined;
  const { plan } = tick;
  const message =
    `${count(work.blocked.length, 'host')} without room for two versions must wait: ` +
    `more than ${plan.maxUnavailable} unavailable per zone would be above maxUnavailable`;
  const hosts = work.blocked.slice(0, NAMED_HOSTS).map((place) => plan.hosts[place] as string);
  return { code: 'budget', message, hosts, hostCount: work.blocked.length };
}

/** What hosts of the wave have still to do in this phase. */
export function hostsHold(tick: Tick, state: RolloutState, tally: Tally): Hold {
  const of = `${count(quorumOf(tick, tally), 'host')} needed of ${tally.alive} alive`;
  const lost = tally.lost > 0 ? `; ${tally.lost} failed for good` : '';
  const { wave } = state;
  switch (state.phase) {
    case 'Prefetch':
      return holdFor(
        tick,
        wave,
        'prefetching',
        `${tally.fetched} have fetched the version, ${of}${lost}`,
        (bits, told) => counts(bits) && (bits & SEEN.PREFETCHED) === 0 && (told & TOLD.NEW) === 0,
      );
    case 'Flip':
      return holdFor(
        tick,
        wave,
        'switching',
        `${tally.flipped} have switched, ${of}${lost}`,
        (bits, told, current) => counts(bits) && !isFlipped(told, bits, current),
      );
    case 'Contract':
      return holdFor(
        tick,
        scopeOf(tick.layout, state),
        'contracting',
        `${tally.contracted} have accepted to give the old version up, ${of}`,
        (bits, told, current) => counts(bits) && (!current || (told & TOLD.OLD) !== 0),
      );
    default:
      return holdFor(
        tick,
        wave,
        'loading',
        `${tally.ready} have the version available, ${of}${lost}`,
        (bits, told, current) => counts(bits) && !isReady(told, bits, current),
      );
  }
}

/** A living host that is not cordoned. */
function counts(bits: number): boolean {
  return (bits & (SEEN.ALIVE | SEEN.CORDONED)) === SEEN.ALIVE;
}

/** So many failed for good that the quorum cannot be reached, as a reason to go back; undefined: it can. */
export function quorumLost(tick: Tick, tally: Tally): string | undefined {
  if (tally.lost === 0 || tally.alive - tally.lost >= quorumOf(tick, tally)) return undefined;
  for (const [place, message] of tick.seen.permanentErrors) {
    if (!isLost(tick.seen, place)) continue;
    const host = tick.plan.hosts[place];
    return `${tally.lost} of ${count(tally.alive, 'host')} failed for good, of ${host}: ${message}`;
  }
  return undefined;
}

/** Whether a host that was told to go back is back, as far as it says. */
export function isBack({ hasOld }: Tick, bits: number, current: boolean): boolean {
  return current && (!hasOld || (bits & SEEN.OLD_READY) !== 0) && (bits & SEEN.PRIMARY_NEW) === 0;
}

/** Whether a host is one that the rollback is for. */
export function isTaken(told: number, bits: number): boolean {
  return (told & TOLD.ROLLED_BACK) !== 0 || isTouched(told, bits);
}
