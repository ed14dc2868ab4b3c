// One controller's picture of the hosts: who is registered, who is alive, what they report. Read from the store in sweeps;
// reports are read only where their sequence changed, and only of models that are in a rollout.
import type { FleetStore, Lease } from '../store/types.js';
import type { FleetHost, HostReport, ModelReport } from '../types.js';
import { isMass, LeaseWatch } from './lease-watch.js';
import type { HostPicture } from './observe.js';

/** Reports that one call asks for. */
const REPORT_CHUNK = 500;
/** A report that is older than the lease says is read again so often: then it is what there is. */
const STALE_READS = 3;

interface Known {
  host: FleetHost | undefined;
  lease: Lease | undefined;
  report: HostReport | undefined;
  /** `boot/sequence` of the lease when the report was read, and for which set of models. */
  readAs: string;
  staleReads: number;
}

export interface FleetViewOptions {
  readonly store: FleetStore;
  /** Of the agents, in ms. */
  readonly heartbeatIntervalMs: number;
  /** A clock that only goes on, in ms. */
  readonly clock: () => number;
}

/** See the top of the file. Not a place of decisions: those are in the ticks. */
export class FleetView {
  readonly leases: LeaseWatch;
  private readonly store: FleetStore;
  private readonly clock: () => number;
  private readonly known = new Map<string, Known>();
  private watched: readonly string[] = [];
  /** Counts up when `watched` changes: all reports are read again then. */
  private watchEdition = 0;
  private sweeping: Promise<ReadonlySet<string>> | undefined;
  private sweptAt = Number.NEGATIVE_INFINITY;
  private registered = false;

  constructor({ store, heartbeatIntervalMs, clock }: FleetViewOptions) {
    this.store = store;
    this.clock = clock;
    this.leases = new LeaseWatch(2 * heartbeatIntervalMs);
  }

  /** Models whose reports are read: those in a rollout. */
  watch(models: readonly string[]): void {
    const sorted = [...models].sort();
    if (sorted.length === this.watched.length && sorted.every((name, index) => name === this.watched[index])) return;
    this.watched = sorted;
    this.watchEdition++;
  }

  /** Forgets everything: the store holds another fleet now. */
  reset(): void {
    this.known.clear();
    this.leases.reset();
    this.registered = false;
    this.sweptAt = Number.NEGATIVE_INFINITY;
    this.watchEdition++;
  }

  /** Reads who is registered. Hosts that are gone from the registry lose their picture. */
  async readRegistry(): Promise<void> {
    const hosts = await this.store.hosts();
    const listed = new Set<string>();
    for (const host of hosts) {
      listed.add(host.info.id);
      const known = this.known.get(host.info.id);
      if (known) known.host = host;
      else this.known.set(host.info.id, { host, lease: undefined, report: undefined, readAs: '', staleReads: 0 });
    }
    for (const id of this.known.keys()) if (!listed.has(id)) this.known.delete(id);
    this.registered = true;
  }

  /**
   * The picture, no older than that. Calls at the same time share one sweep, and a sweep that is under way does for those
   * that allow its age.
   */
  async fresh(maxAgeMs: number): Promise<void> {
    if (this.clock() - this.sweptAt > maxAgeMs) await this.sweep();
  }

  /** Reads leases, and the reports that changed; the answer is whose changed, or came, or went. */
  sweep(): Promise<ReadonlySet<string>> {
    this.sweeping ??= this.sweepOnce().finally(() => {
      this.sweeping = undefined;
    });
    return this.sweeping;
  }

  /** Of one host; a host that is not registered has a picture all the same. */
  picture(id: string): HostPicture {
    const known = this.known.get(id);
    if (!known) return { host: undefined, alive: false, report: undefined };
    const { host, lease, report } = known;
    // What an earlier boot reported says nothing of this one.
    const current = lease !== undefined && report?.status.bootId === lease.bootId ? report : undefined;
    return { host, alive: lease !== undefined, report: current };
  }

  /** Another one with each report that was sent; undefined: no lease. */
  markOf(id: string): string | undefined {
    const lease = this.known.get(id)?.lease;
    return lease && `${lease.bootId}/${lease.sequence}`;
  }

  /** All registered hosts. */
  get hosts(): readonly FleetHost[] {
    return [...this.known.values()].flatMap(({ host }) => (host ? [host] : []));
  }

  /** More hosts than can be believed to be dead have no lease. */
  get isMostlySilent(): boolean {
    const expected = [...this.known.values()].filter(({ host }) => host && !host.cordoned);
    return isMass(expected.filter(({ lease }) => lease === undefined).length, expected.length);
  }

  isRegistered(id: string): boolean {
    return this.known.has(id);
  }

  private async sweepOnce(): Promise<ReadonlySet<string>> {
    const startedAt = this.clock();
    if (!this.registered) await this.readRegistry();
    const ids = [...this.known.keys()];
    const leases = await this.store.readLeases(ids);
    const changed = new Set<string>();
    const toRead: string[] = [];
    ids.forEach((id, index) => {
      const known = this.known.get(id);
      if (!known) return;
      const lease = leases[index];
      if ((known.lease === undefined) !== (lease === undefined)) changed.add(id);
      known.lease = lease;
      if (lease && this.watched.length > 0 && known.readAs !== this.readingOf(lease)) toRead.push(id);
    });
    const wereAlive = this.sweptAt === Number.NEGATIVE_INFINITY ? await this.silentWithReport() : undefined;
    this.leases.update(
      this.clock(),
      [...this.known].flatMap(([host, { host: entry, lease }]) =>
        entry?.cordoned ? [] : [{ host, alive: lease !== undefined, wasAlive: wereAlive?.has(host) === true }],
      ),
    );
    for (let from = 0; from < toRead.length; from += REPORT_CHUNK) {
      const chunk = toRead.slice(from, from + REPORT_CHUNK);
      for (const id of await this.readReports(chunk)) changed.add(id);
    }
    this.sweptAt = startedAt;
    return changed;
  }

  /** Hosts without a lease that were alive once; asked only where they may be too many to have died. */
  private async silentWithReport(): Promise<ReadonlySet<string>> {
    if (!this.isMostlySilent) return new Set();
    const silent = [...this.known].flatMap(([id, { host, lease }]) => (host?.cordoned || lease ? [] : [id]));
    const found = new Set<string>();
    for (let from = 0; from < silent.length; from += REPORT_CHUNK) {
      const chunk = silent.slice(from, from + REPORT_CHUNK);
      const reports = await this.store.readReports(chunk, []);
      for (const [index, id] of chunk.entries()) if (reports[index]) found.add(id);
    }
    return found;
  }

  private async readReports(ids: readonly string[]): Promise<readonly string[]> {
    const edition = this.watchEdition;
    const reports = await this.store.readReports(ids, this.watched);
    return ids.filter((id, index) => {
      const known = this.known.get(id);
      const lease = known?.lease;
      if (!known || !lease || edition !== this.watchEdition) return false;
      const report = reports[index];
      known.report = report;
      const isOlder = report === undefined || isBefore(report, lease);
      if (isOlder && known.staleReads < STALE_READS) known.staleReads++;
      else {
        known.staleReads = 0;
        known.readAs = this.readingOf(lease);
      }
      return true;
    });
  }

  private readingOf({ bootId, sequence }: Lease): string {
    return `${this.watchEdition}/${bootId}/${sequence}`;
  }
}

function isBefore({ status }: HostReport, lease: Lease): boolean {
  return status.bootId !== lease.bootId || status.sequence < lease.sequence;
}

/** What a report says of a model, where the host is alive and has reported. */
export function modelOf(picture: HostPicture, model: string): ModelReport | undefined {
  return picture.report?.models.get(model);
}
