// The rollouts that are active, as one controller knows them.
import type { Hold } from '../rollout/types.js';
import type { FleetStore, RolloutRecord } from '../store/types.js';

interface Active {
  /** When it was first seen: enough to close it, should the store lose it. */
  readonly record: RolloutRecord;
  readonly hosts: ReadonlySet<string>;
  hold: Hold | undefined;
}

/** What a look at the store came to. */
export interface ActiveChange {
  readonly started: readonly string[];
  /** Ended, or lost. */
  readonly gone: readonly string[];
  /** Verbs wait for an answer. */
  readonly wanted: readonly string[];
}

/** See the top of the file. */
export class ActiveRollouts {
  private readonly active = new Map<string, Active>();

  constructor(private readonly store: FleetStore) {}

  get size(): number {
    return this.active.size;
  }

  ids(): readonly string[] {
    return [...this.active.keys()];
  }

  /** Models with a rollout. */
  models(): readonly string[] {
    return [...this.active.values()].map(({ record }) => record.model);
  }

  records(): readonly RolloutRecord[] {
    return [...this.active.values()].map(({ record }) => record);
  }

  holds(): ReadonlyMap<string, Hold | undefined> {
    return new Map([...this.active].map(([id, { hold }]) => [id, hold]));
  }

  /** Rollouts that one of these hosts is in. */
  touchedBy(hosts: ReadonlySet<string>): readonly string[] {
    return [...this.active].flatMap(([id, { hosts: own }]) => ([...hosts].some((host) => own.has(host)) ? [id] : []));
  }

  setHold(id: string, hold: Hold | undefined): void {
    const active = this.active.get(id);
    if (active) active.hold = hold;
  }

  /** Looks at the store. */
  async refresh(): Promise<ActiveChange> {
    const ids = await this.store.activeRollouts();
    const started: string[] = [];
    for (const id of ids) {
      if (this.active.has(id)) continue;
      const record = await this.store.rollout(id);
      if (!record) continue;
      this.active.set(id, { record, hosts: new Set(record.plan.hosts), hold: record.state.hold });
      started.push(id);
    }
    const listed = new Set(ids);
    const gone = this.ids().filter((id) => !listed.has(id));
    const pending = await Promise.all(ids.map(async (id) => (await this.store.pendingVerbs(id)).length > 0));
    return { started, gone, wanted: ids.filter((_, index) => pending[index]) };
  }

  /** It has ended. A rollout that the store lost stays until it is known what happened to the store. */
  delete(id: string): void {
    this.active.delete(id);
  }
}
