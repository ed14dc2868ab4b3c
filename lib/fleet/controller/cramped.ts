// Hosts that have no room for the stable version beside the one that they serve, and were told of it outside of a rollout:
// they returned after it, or the store was mended or restored. Their manager keeps the old version until the new one is
// there, and waits for room until then: for ever. So the old one has to go first, on few hosts at a time. Pure.
import { isAvailable } from '../rollout/budget.js';
import { toldOf } from '../rollout/cells.js';
import { SEEN } from '../rollout/types.js';
import type { DesiredCell, FleetHost, HostReport, ModelReport } from '../types.js';

/** Of the hosts of a zone that have a model, those that may lack it at once: as in a rollout that does not say otherwise. */
const MOST_AWAY = 0.1;

/** What there is to know of one host. */
export interface Tenant {
  readonly host: FleetHost;
  /** What it was told of the model; undefined: nothing. */
  readonly cell: DesiredCell | undefined;
  /** Of the boot that has the lease; undefined: it is away. */
  readonly report: HostReport | undefined;
}

/** Cells to write, by index in `tenants`: into hosts whose old version is to go first, and out again where that is done. */
export function crampedCells(
  model: string,
  stable: number,
  tenants: readonly Tenant[],
): ReadonlyMap<number, Omit<DesiredCell, 'generation'>> {
  const cells = new Map<number, Omit<DesiredCell, 'generation'>>();
  const plain = { versions: [stable], primary: stable };
  const reports = tenants.map(({ report }) => report?.models.get(model));
  const bytes = Math.max(0, ...reports.map((report) => bytesOf(report, stable)));
  const left = new Map<string, number>();
  for (const [index, { host, cell, report }] of tenants.entries()) {
    if (host.cordoned) continue;
    const { zone } = host.info;
    if (!left.has(zone)) left.set(zone, mayBeAway(tenants, zone));
    if (!isThere(cell, stable, report, reports[index])) left.set(zone, (left.get(zone) as number) - 1);
  }
  for (const [index, { host, cell, report }] of tenants.entries()) {
    const said = reports[index];
    if (host.cordoned || !cell || !report || !said || said.generation < cell.generation) continue;
    if (cell.versions.join() !== String(stable)) continue;
    const { zone } = host.info;
    if (cell.resourcePreserving) {
      if (hasAvailable(said, stable)) cells.set(index, plain);
    } else if (isStuck(report, said, stable, bytes) && (left.get(zone) as number) > 0) {
      left.set(zone, (left.get(zone) as number) - 1);
      cells.set(index, { ...plain, resourcePreserving: true });
    }
  }
  return cells;
}

function mayBeAway(tenants: readonly Tenant[], zone: string): number {
  const count = tenants.filter(({ host }) => host.info.zone === zone && !host.cordoned).length;
  return Math.max(1, Math.floor(MOST_AWAY * count));
}

/** As the budget of a rollout sees it: a host that was told to let go counts from then on. */
function isThere(
  cell: DesiredCell | undefined,
  stable: number,
  report: HostReport | undefined,
  said: ModelReport | undefined,
): boolean {
  const serves = said?.versions.some(({ managerState }) => managerState === 'Available') === true;
  const seen = (report ? SEEN.ALIVE : 0) | (hasAvailable(said, stable) ? SEEN.NEW_READY : serves ? SEEN.OLD_READY : 0);
  return isAvailable(toldOf(cell, stable), seen, (said?.generation ?? 0) >= (cell?.generation ?? 0));
}

/** It serves another version, and the stable one does not fit beside that. */
function isStuck({ info, status }: HostReport, said: ModelReport, stable: number, bytes: number): boolean {
  if (info.capacityBytes <= 0 || hasAvailable(said, stable)) return false;
  const others = said.versions.filter(
    ({ version, managerState }) => version !== stable && managerState === 'Available',
  );
  return others.length > 0 && bytes > info.capacityBytes - status.usedBytes;
}

function hasAvailable(said: ModelReport | undefined, version: number): boolean {
  return said?.versions.some((other) => other.version === version && other.managerState === 'Available') === true;
}

function bytesOf(said: ModelReport | undefined, version: number): number {
  return said?.versions.find((other) => other.version === version)?.ramBytes ?? 0;
}
