// Hosts that are nothing but what they report: for tests of what controllers make of reports, without agents and time.
import { decodeCell } from '#lib/fleet/codec.js';
import { MemoryFleet, type MemoryStore } from '#lib/fleet/store/memory-store.js';
import type { HostInfo, ModelReport } from '#lib/fleet/types.js';
import { MODEL } from './fleet.js';

const LEASE_MS = 3_600_000;

/** Hosts h0, h1, ... of one zone, with a store in memory. */
export class WrittenFleet {
  readonly memory = new MemoryFleet();
  readonly store: MemoryStore = this.memory.connect('test');
  readonly ids: readonly string[];
  private sequence = 0;

  private constructor(count: number) {
    this.ids = Array.from({ length: count }, (_, index) => `h${index}`);
  }

  static async of(count: number): Promise<WrittenFleet> {
    const fleet = new WrittenFleet(count);
    await fleet.store.create();
    await fleet.store.enterHosts(fleet.ids.map(infoOf));
    return fleet;
  }

  /** Writes the same cell for all hosts. */
  async tell(cell: { versions: readonly number[]; primary?: number; rolledBack?: readonly number[] }, stable?: number) {
    const expectGeneration = (await this.store.model(MODEL))?.generation ?? 0;
    return this.store.assertCells({
      ...{ model: MODEL, expectGeneration, hosts: this.ids, ...(stable !== undefined && { stable }) },
      writes: this.ids.map((_, place) => ({ place, cell })),
      intent: { actor: 'test', reason: 'test', operation: `tell-${expectGeneration}` },
    });
  }

  /** What a host has and has accepted, from now on. */
  async report(host: string, model: ModelReport): Promise<void> {
    const sequence = ++this.sequence;
    const status = { bootId: 'b', sequence, revision: 1, usedBytes: 0, clock: 0 };
    const models = new Map([[MODEL, model]]);
    await this.store.heartbeat({
      ...{ host, bootId: 'b', sequence, leaseMs: LEASE_MS, info: infoOf(host), status, models },
    });
  }

  /** All hosts have these versions, `ahead` generations above what they are told. */
  async reportAll(versions: readonly number[], ahead = 0, rolledBack: readonly number[] = []): Promise<void> {
    for (const [index, text] of (await this.store.readCells(MODEL, this.ids)).entries()) {
      const generation = (text === undefined ? 0 : decodeCell(text).generation) + ahead;
      await this.report(this.ids[index] as string, reportOf(generation, versions, rolledBack));
    }
  }

  /** Generations that hosts are told, in order. */
  async told(): Promise<readonly number[]> {
    return (await this.store.readCells(MODEL, this.ids)).map((text) => decodeCell(text ?? '').generation);
  }
}

/** The last of the versions is the primary. */
export function reportOf(
  generation: number,
  versions: readonly number[],
  rolledBack: readonly number[] = [],
): ModelReport {
  const primary = versions.at(-1);
  return {
    ...{ generation, rolledBack, ...(primary !== undefined && { primary }) },
    versions: versions.map((version) => ({ version, managerState: 'Available' })),
  };
}

export function infoOf(id: string): HostInfo {
  return { id, zone: 'z', labels: {}, capacityBytes: 0, agentVersion: '0', schema: 1 };
}
