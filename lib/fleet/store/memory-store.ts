// The store in memory. Each call is one turn: nothing of another connection comes between.
import { randomUUID } from 'node:crypto';
import { AspiredError } from '../../errors.js';
import type { GateResult } from '../gates/types.js';
import type { PendingVerb, RolloutVerb, VerbAnswer } from '../rollout/types.js';
import { FLEET_SCHEMA, type FleetHost, type HostInfo, type HostReport, type Intent } from '../types.js';
import * as change from './memory-commit.js';
import { type FleetData, type ModelData, SharedMemory } from './memory-fleet.js';
import * as hosts from './memory-hosts.js';
import type {
  AuditEntry,
  Commit,
  CommitAnswer,
  FleetExport,
  FleetMeta,
  FleetStore,
  Heartbeat,
  HeartbeatAnswer,
  Lease,
  ModelRecord,
  RolloutRecord,
  RolloutStart,
  StartAnswer,
  StoredDocument,
  StoreHealth,
} from './types.js';

export type { MemoryFault } from './memory-fleet.js';

/** A fleet in memory: for unit tests and simulation. Not for anything that is to outlive the process. */
export class MemoryFleet extends SharedMemory {
  /** One more connection; the name is for faults. */
  connect(name = 'store'): MemoryStore {
    return new MemoryStore(this, name);
  }
}

/** Operations that need the fleet to be there: a store that has lost it takes no change. */
const NEEDS_FLEET = true;

/** One connection to a {@link MemoryFleet}. */
export class MemoryStore implements FleetStore {
  /** This connection alone is cut: ERR_STORE_UNAVAILABLE. */
  away = false;
  readonly #fleet: SharedMemory;
  readonly #name: string;
  readonly #bells = new Set<() => void>();
  #closed = false;

  /** @internal MemoryFleet.connect() makes stores. */
  constructor(fleet: SharedMemory, name: string) {
    this.#fleet = fleet;
    this.#name = name;
  }

  get fleet(): string {
    return this.#fleet.name;
  }

  heartbeat(beat: Heartbeat): Promise<HeartbeatAnswer> {
    return this.#call('heartbeat', () => hosts.heartbeat(this.#fleet, beat));
  }

  readDesired(host: string): Promise<StoredDocument | undefined> {
    return this.#call('readDesired', ({ data }) => {
      const document = data.desired.get(host);
      return document && { revision: document.revision, cells: new Map(document.cells) };
    });
  }

  onDoorbell(host: string, ring: () => void): Promise<AsyncDisposable> {
    return this.#call('onDoorbell', (fleet) => {
      const takeOff = fleet.hang(host, () => {
        if (!this.away && !fleet.away) ring();
      });
      this.#bells.add(takeOff);
      return {
        [Symbol.asyncDispose]: async () => {
          takeOff();
          this.#bells.delete(takeOff);
        },
      };
    });
  }

  hint(host: string): Promise<void> {
    return this.#call('hint', (fleet) => hosts.hint(fleet, host));
  }

  leave(host: string, bootId: string): Promise<void> {
    return this.#call('leave', ({ data }) => {
      if (data.leases.get(host)?.bootId === bootId) data.leases.delete(host);
    });
  }

  now(): Promise<number> {
    return this.#call('now', (fleet) => Math.floor(fleet.now()));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const takeOff of this.#bells) takeOff();
    this.#bells.clear();
  }

  meta(): Promise<FleetMeta | undefined> {
    return this.#call('meta', ({ data }) => data.meta);
  }

  create(): Promise<FleetMeta> {
    return this.#call('create', (fleet) => {
      fleet.data.meta ??= { schema: FLEET_SCHEMA, incarnation: randomUUID(), createdAt: Math.floor(fleet.now()) };
      return fleet.data.meta;
    });
  }

  hosts(): Promise<readonly FleetHost[]> {
    return this.#call('hosts', ({ data }) => [...data.hosts.values()].sort((a, b) => a.index - b.index));
  }

  enterHosts(infos: readonly HostInfo[]): Promise<readonly FleetHost[]> {
    return this.#call('enterHosts', (fleet) => hosts.enterHosts(fleet, infos), NEEDS_FLEET);
  }

  setCordoned(host: string, cordoned: boolean, intent: Intent): Promise<void> {
    return this.#call('setCordoned', (fleet) => hosts.setCordoned(fleet, host, cordoned, intent), NEEDS_FLEET);
  }

  removeHost(host: string, intent: Intent): Promise<void> {
    return this.#call('removeHost', (fleet) => hosts.removeHost(fleet, host, intent), NEEDS_FLEET);
  }

  readHints(after: string): Promise<{ readonly hosts: readonly string[]; readonly next: string }> {
    return this.#call('readHints', (fleet) => hosts.readHints(fleet, after));
  }

  readLeases(ids: readonly string[]): Promise<readonly (Lease | undefined)[]> {
    return this.#call('readLeases', (fleet) => ids.map((id) => hosts.leaseOf(fleet, id)));
  }

  readReports(ids: readonly string[], models?: readonly string[]): Promise<readonly (HostReport | undefined)[]> {
    return this.#call('readReports', (fleet) => ids.map((id) => hosts.reportOf(fleet, id, models)));
  }

  readCells(model: string, ids: readonly string[]): Promise<readonly (string | undefined)[]> {
    return this.#call('readCells', ({ data }) => ids.map((id) => data.desired.get(id)?.cells.get(model)));
  }

  models(): Promise<readonly string[]> {
    return this.#call('models', ({ data }) => [...data.models.keys()].sort());
  }

  model(name: string): Promise<ModelRecord | undefined> {
    return this.#call('model', ({ data }) => {
      const model = data.models.get(name);
      return model && recordOfModel(name, model);
    });
  }

  assertCells(cells: change.AssertChange): Promise<CommitAnswer> {
    return this.#call('assertCells', (fleet) => change.assertCells(fleet, cells), NEEDS_FLEET);
  }

  startRollout(start: RolloutStart): Promise<StartAnswer> {
    return this.#call('startRollout', (fleet) => change.startRollout(fleet, start), NEEDS_FLEET);
  }

  rollout(id: string): Promise<RolloutRecord | undefined> {
    return this.#call('rollout', ({ data }) => {
      const rollout = data.rollouts.get(id);
      return rollout && change.recordOf(id, rollout);
    });
  }

  rolloutState(id: string): Promise<Omit<RolloutRecord, 'plan'> | undefined> {
    return this.#call('rolloutState', ({ data }) => {
      const rollout = data.rollouts.get(id);
      if (!rollout) return undefined;
      const { model, revision, state, stamps } = rollout;
      return { id, model, revision, state, stamps };
    });
  }

  activeRollouts(): Promise<readonly string[]> {
    return this.#call('activeRollouts', ({ data }) =>
      [...data.models.values()].flatMap(({ active }) => (active === undefined ? [] : [active])),
    );
  }

  history(model: string, count: number): Promise<readonly string[]> {
    return this.#call('history', ({ data }) => data.models.get(model)?.history.slice(0, count) ?? []);
  }

  commit(commit: Commit): Promise<CommitAnswer> {
    return this.#call('commit', (fleet) => change.commit(fleet, commit), NEEDS_FLEET);
  }

  addVerb(rollout: string, verb: RolloutVerb, intent: Intent): Promise<PendingVerb> {
    return this.#call('addVerb', (fleet) => change.addVerb(fleet, rollout, verb, intent), NEEDS_FLEET);
  }

  pendingVerbs(rollout: string): Promise<readonly PendingVerb[]> {
    return this.#call('pendingVerbs', ({ data }) => [...(data.rollouts.get(rollout)?.pending ?? [])]);
  }

  verbAnswer(rollout: string, operation: string): Promise<VerbAnswer | undefined> {
    return this.#call('verbAnswer', ({ data }) => data.rollouts.get(rollout)?.answers.get(operation));
  }

  putGateResult(rollout: string, key: string, result: GateResult): Promise<GateResult> {
    return this.#call(
      'putGateResult',
      (fleet) => {
        const { gates } = change.rolloutOf(fleet, rollout);
        const first = gates.get(key) ?? result;
        gates.set(key, first);
        return first;
      },
      NEEDS_FLEET,
    );
  }

  gateResults(rollout: string): Promise<ReadonlyMap<string, GateResult>> {
    return this.#call('gateResults', ({ data }) => new Map(data.rollouts.get(rollout)?.gates));
  }

  audit(model: string, after = '', count = 100): Promise<readonly AuditEntry[]> {
    return this.#call('audit', ({ data }) =>
      trailOf(data, model)
        .filter(({ id }) => id > after)
        .slice(0, count),
    );
  }

  latestAudit(model: string, before = '', count = 100): Promise<readonly AuditEntry[]> {
    return this.#call('latestAudit', ({ data }) =>
      trailOf(data, model)
        .filter(({ id }) => before === '' || id < before)
        .slice(-count),
    );
  }

  confirm(_replicas: number, _timeoutMs: number): Promise<number> {
    return this.#call('confirm', (fleet) => fleet.replicas);
  }

  replicas(): Promise<number> {
    return this.#call('replicas', (fleet) => fleet.replicas);
  }

  health(): Promise<StoreHealth> {
    return this.#call('health', () => ({ kind: 'memory' }));
  }

  exportAll(): Promise<FleetExport> {
    return this.#call(
      'exportAll',
      ({ name, data }) => ({
        schema: FLEET_SCHEMA,
        fleet: name,
        incarnation: data.meta?.incarnation ?? '',
        models: [...data.models].map(([model, record]) => recordOfModel(model, record)),
        hosts: [...data.hosts.values()].sort((a, b) => a.index - b.index),
        desired: Object.fromEntries([...data.desired].map(([host, { cells }]) => [host, Object.fromEntries(cells)])),
      }),
      NEEDS_FLEET,
    );
  }

  importAll(data: FleetExport, intent: Intent): Promise<FleetMeta> {
    return this.#call('importAll', (fleet) => hosts.importAll(fleet, data, intent));
  }

  async #call<T>(method: string, work: (fleet: SharedMemory) => T, needsFleet = false): Promise<T> {
    if (this.#closed) throw new AspiredError('ERR_FLEET_CLOSED', `The store of fleet ${this.fleet} is closed.`);
    const fault = this.away || this.#fleet.away ? 'ERR_STORE_UNAVAILABLE' : this.#fleet.fault?.(method, this.#name);
    if (fault !== undefined && fault !== 'lose-reply') throw new AspiredError(fault, `${method}: a fault of the test.`);
    if (needsFleet && !this.#fleet.data.meta) {
      const message = `The store does not know the fleet ${this.fleet}: it was never made here, or its data was lost.`;
      throw new AspiredError('ERR_STORE_EMPTY', message);
    }
    const answer = work(this.#fleet);
    if (fault === 'lose-reply') throw new AspiredError('ERR_STORE_UNAVAILABLE', `${method}: the answer was lost.`);
    return answer;
  }
}

function trailOf(data: FleetData, model: string): readonly AuditEntry[] {
  return model === '' ? data.audit : (data.models.get(model)?.audit ?? []);
}

function recordOfModel(name: string, { generation, stable, previous, tombstones, active }: ModelData): ModelRecord {
  return {
    ...{ name, generation, previous: [...previous], tombstones: [...tombstones] },
    ...(stable === undefined ? {} : { stable }),
    ...(active === undefined ? {} : { active }),
  };
}
