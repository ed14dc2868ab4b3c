// Hosts that ask to join, and models that hosts should have by now: what no rollout sees to.
import { randomUUID } from 'node:crypto';
import { count } from '../rollout/text.js';
import { MAX_WRITES } from '../rollout/types.js';
import type { FleetStore, ModelRecord } from '../store/types.js';
import type { DesiredCell, FleetHost } from '../types.js';
import { decoded } from './cell-book.js';
import { crampedCells, type Tenant } from './cramped.js';
import type { FleetView } from './fleet-view.js';

/** Reports that one call asks for. */
const REPORT_CHUNK = 500;

/** See the top of the file. */
export class Registrar {
  private hintsAfter = '';
  /** Entered and not yet given what the fleet has. */
  private readonly fresh = new Set<string>();
  private nextModel = 0;

  constructor(
    private readonly store: FleetStore,
    private readonly view: FleetView,
  ) {}

  /** After the store was filled anew: everybody asks again. */
  reset(): void {
    this.hintsAfter = '';
    this.fresh.clear();
  }

  /** Enters hosts that asked for it, as they describe themselves. The answer is how many. */
  async enter(): Promise<number> {
    const { hosts, next } = await this.store.readHints(this.hintsAfter);
    if (hosts.length > 0) {
      const reports = await this.store.readReports(hosts, []);
      const infos = reports.flatMap((report) => (report ? [report.info] : []));
      if (infos.length > 0) {
        await this.store.enterHosts(infos);
        await this.view.readRegistry();
        for (const { id } of infos) this.fresh.add(id);
      }
    }
    // Only now: what failed is done again.
    this.hintsAfter = next;
    return hosts.length;
  }

  /** Gives hosts that were entered lately the stable version of every model. */
  async settleFresh(): Promise<void> {
    if (this.fresh.size === 0) return;
    const hosts = [...this.fresh];
    for (const model of await this.store.models()) await this.settle(model, hosts);
    for (const host of hosts) this.fresh.delete(host);
  }

  /** Looks at one model on all hosts; the next call looks at the next one. */
  async settleNext(): Promise<void> {
    const models = await this.store.models();
    const model = models[this.nextModel++ % Math.max(1, models.length)];
    if (model === undefined) return;
    await this.settle(
      model,
      this.view.hosts.map(({ info }) => info.id),
    );
    await this.makeRoom(model);
  }

  /** See cramped.ts. Rollouts see to their own hosts. */
  private async makeRoom(name: string): Promise<void> {
    const { store, view } = this;
    const model = await store.model(name);
    if (model?.stable === undefined || model.active !== undefined) return;
    const hosts = view.hosts.filter(({ info }) => view.isRegistered(info.id));
    if (!hosts.some(({ info }) => info.capacityBytes > 0)) return;
    const ids = hosts.map(({ info }) => info.id);
    const [cells, leases] = [await store.readCells(name, ids), await store.readLeases(ids)];
    const tenants: Tenant[] = [];
    for (let from = 0; from < ids.length; from += REPORT_CHUNK) {
      const reports = await store.readReports(ids.slice(from, from + REPORT_CHUNK), [name]);
      for (const [offset, report] of reports.entries()) {
        const index = from + offset;
        const lives = report && leases[index]?.bootId === report.status.bootId;
        tenants.push({
          host: hosts[index] as FleetHost,
          cell: decoded(cells[index]),
          report: lives ? report : undefined,
        });
      }
    }
    const writes = [...crampedCells(name, model.stable, tenants)].map(([place, cell]) => ({ place, cell }));
    if (writes.length === 0) return;
    await store.assertCells({
      ...{ model: name, expectGeneration: model.generation, hosts: ids, writes: writes.slice(0, MAX_WRITES) },
      intent: {
        actor: 'controller',
        reason: `${count(writes.length, 'host')} without room for version ${model.stable} beside another one`,
        operation: randomUUID(),
      },
    });
  }

  /**
   * Tells hosts that are not told to have the stable version of a model to have it. While the model is in a rollout, only
   * those that are not told anything: they came later, and the rollout does not know them.
   */
  private async settle(name: string, ids: readonly string[]): Promise<void> {
    const model = await this.store.model(name);
    if (model?.stable === undefined) return;
    const inRollout = model.active === undefined ? undefined : await this.hostsOf(model.active);
    const cordoned = new Set(this.view.hosts.flatMap(({ info, cordoned }) => (cordoned ? [info.id] : [])));
    const hosts = ids.filter((id) => this.view.isRegistered(id) && !cordoned.has(id) && !inRollout?.has(id));
    const cells = (await this.store.readCells(name, hosts)).map(decoded);
    const lacking = hosts.filter((_, index) => {
      const cell = cells[index];
      return inRollout ? cell === undefined : !isSettled(cell, model.stable as number);
    });
    let { generation } = model;
    for (let from = 0; from < lacking.length; from += MAX_WRITES) {
      const answer = await this.assert(model, generation, lacking.slice(from, from + MAX_WRITES));
      // Somebody is at it: the next look comes soon enough.
      if (answer.outcome === 'conflict') return;
      generation = answer.generation;
    }
  }

  private async hostsOf(rollout: string): Promise<ReadonlySet<string>> {
    return new Set((await this.store.rollout(rollout))?.plan.hosts);
  }

  private assert({ name, stable }: ModelRecord, expectGeneration: number, hosts: readonly string[]) {
    const version = stable as number;
    return this.store.assertCells({
      model: name,
      expectGeneration,
      hosts,
      writes: hosts.map((_, place) => ({ place, cell: { versions: [version], primary: version } })),
      intent: {
        actor: 'controller',
        reason: `${hosts.length} ${hosts.length === 1 ? 'host' : 'hosts'} without the stable version ${version}`,
        operation: randomUUID(),
      },
    });
  }
}

function isSettled(cell: DesiredCell | undefined, stable: number): boolean {
  return cell !== undefined && cell.primary === stable && cell.versions.length === 1 && cell.versions[0] === stable;
}
