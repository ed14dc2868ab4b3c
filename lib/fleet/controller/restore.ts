// A fleet whose store is empty, from what its hosts still know.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseDuration } from '../../duration.js';
import { AspiredError } from '../../errors.js';
import { checkInteger, checkKeys, checkSignal } from '../../options.js';
import type { FleetMeta, FleetStore } from '../store/types.js';
import type { HostReport, Intent } from '../types.js';
import { exportOfHosts } from './testimony.js';

/** Between two looks, in ms. */
const LOOK_MS = 100;

/** How long is waited for hosts that have not reported yet. */
export interface RestoreOptions {
  /** Enough when so many have reported. @default none: `quiet` decides */
  readonly hosts?: number;
  /** Enough when no further host has reported for as long: '15s' or ms. @default '15s', one and a half heartbeats */
  readonly quiet?: string | number;
  readonly signal?: AbortSignal;
}

/**
 * Fills an empty store from the reports of the hosts; see exportOfHosts(). Hosts that report later join as new ones.
 *
 * @throws AspiredError ERR_ROLLOUT_CONFLICT: the store is not empty. ERR_HOST_NOT_FOUND: no host reported.
 */
export async function restoreFromHosts(
  store: FleetStore,
  intent: Intent,
  options: RestoreOptions = {},
): Promise<FleetMeta> {
  checkKeys('restore options', options, ['hosts', 'quiet', 'signal']);
  const enough = checkInteger('hosts', options.hosts, Number.MAX_SAFE_INTEGER, 1);
  const quietMs = parseDuration('quiet', options.quiet ?? '15s');
  const signal = checkSignal('signal', options.signal);
  if (await store.meta()) {
    throw new AspiredError(
      'ERR_ROLLOUT_CONFLICT',
      `The fleet ${store.fleet} is there: only an empty store is restored.`,
    );
  }
  const reports = await gather(store, enough, quietMs, signal);
  if (reports.length === 0) {
    throw new AspiredError(
      'ERR_HOST_NOT_FOUND',
      `No host of the fleet ${store.fleet} has reported to the empty store.`,
    );
  }
  return store.importAll(exportOfHosts(store.fleet, reports), intent);
}

async function gather(
  store: FleetStore,
  enough: number,
  quietMs: number,
  signal: AbortSignal | undefined,
): Promise<readonly HostReport[]> {
  let known = 0;
  let quietSince = performance.now();
  for (;;) {
    const { hosts } = await store.readHints('');
    const ids = [...new Set(hosts)].sort();
    const reports = (await store.readReports(ids)).filter((report) => report !== undefined);
    if (reports.length > known) {
      known = reports.length;
      quietSince = performance.now();
    }
    if (known >= enough || performance.now() - quietSince >= quietMs) return reports;
    await sleep(LOOK_MS, undefined, { signal });
  }
}
