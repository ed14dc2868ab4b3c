// What a client shows of hosts and rollouts: read once, from the store alone.
import { toldOf } from '../rollout/cells.js';
import type { FleetStore, Lease, RolloutRecord } from '../store/types.js';
import type { DesiredCell, FleetHost, HostReport } from '../types.js';
import { decoded } from './cell-book.js';
import { type HostPicture, seenBits, versionOf } from './observe.js';

/** Hosts that are read at once. */
const CHUNK = 200;

/** A host with what it is to have and what it reported last. */
export interface HostView {
  readonly host: FleetHost;
  /** Undefined: it has run out. */
  readonly lease: Lease | undefined;
  /** Undefined: it has never reported. */
  readonly report: HostReport | undefined;
  /** By model; what cannot be decoded is left out. */
  readonly desired: ReadonlyMap<string, DesiredCell>;
}

/** A rollout and its hosts at one moment. Arrays are by place, and all of the length of record.plan.hosts. */
export interface RolloutView {
  readonly record: RolloutRecord;
  /** Bits of TOLD. */
  readonly told: Uint8Array;
  /** Bits of SEEN. */
  readonly seen: Uint8Array;
  /** By place: why the new version failed there, where a host said so. */
  readonly errors: ReadonlyMap<number, string>;
  /** The store's clock, in ms. */
  readonly now: number;
}

/** All hosts. */
export async function readHostViews(store: FleetStore): Promise<readonly HostView[]> {
  const hosts = await store.hosts();
  const views: HostView[] = [];
  for (let from = 0; from < hosts.length; from += CHUNK) {
    const chunk = hosts.slice(from, from + CHUNK);
    const ids = chunk.map(({ info }) => info.id);
    const [leases, reports, documents] = await Promise.all([
      store.readLeases(ids),
      store.readReports(ids),
      Promise.all(ids.map((id) => store.readDesired(id))),
    ]);
    chunk.forEach((host, index) => {
      const desired = new Map<string, DesiredCell>();
      for (const [model, text] of documents[index]?.cells ?? []) {
        const cell = decoded(text);
        if (cell) desired.set(model, cell);
      }
      views.push({ host, lease: leases[index], report: reports[index], desired });
    });
  }
  return views;
}

/** The hosts of one rollout. */
export async function readRolloutView(store: FleetStore, record: RolloutRecord): Promise<RolloutView> {
  const { plan, state } = record;
  const [now, registry, leases, reports, texts] = await Promise.all([
    store.now(),
    store.hosts(),
    store.readLeases(plan.hosts),
    store.readReports(plan.hosts, [plan.model]),
    store.readCells(plan.model, plan.hosts),
  ]);
  const known = new Map(registry.map((host) => [host.info.id, host]));
  const told = new Uint8Array(plan.hosts.length);
  const seen = new Uint8Array(plan.hosts.length);
  const errors = new Map<number, string>();
  plan.hosts.forEach((id, place) => {
    const lease = leases[place];
    const last = reports[place];
    const report = lease && last?.status.bootId === lease.bootId ? last : undefined;
    const picture: HostPicture = { host: known.get(id), alive: lease !== undefined, report };
    told[place] = toldOf(decoded(texts[place]), plan.version, state.from);
    seen[place] = seenBits(picture, plan, state.from);
    const error = versionOf(report?.models.get(plan.model), plan.version)?.error;
    if (error) errors.set(place, `${error.code}: ${error.message}`);
  });
  return { record, told, seen, errors, now };
}
