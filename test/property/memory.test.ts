// Memory, standbys, bakes and contents together, under random operations: what is promised never exceeds the limit, nothing
// is read after its unload, everything that fits comes, and in the end nothing is left. ASPIRED_PROPERTY_SEED=n repeats one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import {
  type AspiredVersion,
  AspiredVersionsManager,
  type BakeOptions,
  type LoadContext,
  type Loader,
  type ResourceAllocation,
  type ServableHandle,
  type StandbyOptions,
  type Transition,
} from 'aspired';
import { deadline, eventually } from '../support/deadline.js';

const MiB = 2 ** 20;
const NAMES = ['a', 'b', 'c'];
const RUNS = 30 * Number(process.env.ASPIRED_PROPERTY_RUNS ?? 1);

/** A seeded source of chance (mulberry32). */
class Chance {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  below(n: number): number {
    return Math.floor(this.next() * n);
  }
  in(share: number): boolean {
    return this.next() < share;
  }
  pick<T>(...items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}

interface Servable {
  readonly version: number;
  closed: boolean;
}

/** One manager, readers that never pause, and what they found wrong. */
class World {
  readonly wrong: string[] = [];
  private readonly chance: Chance;
  private readonly manager: AspiredVersionsManager;
  private readonly transitions: Transition[] = [];
  private readonly handles: ServableHandle[] = [];
  private readonly lists = new Map<string, AspiredVersion[]>();
  private limit = 100 * MiB;
  private reading = true;

  constructor(seed: number) {
    this.chance = new Chance(seed);
    const { chance } = this;
    const [numLoadThreads, numUnloadThreads] = chance.pick([0, 0], [2, 0], [0, 2], [4, 4]) as [number, number];
    this.manager = new AspiredVersionsManager({
      numLoadThreads,
      numUnloadThreads,
      maxNumLoadRetries: chance.below(2),
      loadRetryIntervalMs: 1,
      slowRetryIntervalMs: chance.pick(2, 3_600_000),
      cancelGraceMs: 5,
      resources: { ram: this.limit },
      aspiredVersionPolicy: chance.pick('availability-preserving', 'resource-preserving'),
      onError: ({ code, message }) => {
        if (!['ERR_CONTENT_CHANGED', 'ERR_BAKE_FAILED'].includes(code)) this.wrong.push(`onError: ${message}`);
      },
      ...this.options(),
    });
  }

  private options() {
    const { chance } = this;
    return {
      standby: chance.pick<StandbyOptions | false>(false, { versions: 1 }, { versions: 2, for: 4 }),
      bake: chance.pick<BakeOptions | false>(false, { for: 20, minRequests: 5, maxErrorRate: 0.2 }),
      onInsufficientMemory: chance.pick('wait' as const, 'resource-preserving' as const),
      onContentChange: chance.pick('refuse' as const, 'reload' as const),
    };
  }

  private loader(version: number): Loader<Servable> {
    const { chance } = this;
    const kind = chance.pick('good', 'good', 'good', 'good', 'no load', 'no estimate', 'errs');
    const ram = chance.pick(0, 5, 20, 40, 60, 90, 120) * MiB;
    const estimate = async (): Promise<ResourceAllocation> => {
      await nextTurn();
      if (kind === 'no estimate') throw new Error(kind);
      return { ram };
    };
    const load = async ({ signal }: LoadContext): Promise<Servable> => {
      await nextTurn();
      if (signal.aborted) throw signal.reason;
      if (kind === 'no load') throw new Error(kind);
      return { version: kind === 'errs' ? -1 : version, closed: false };
    };
    const unload = (servable: Servable): void => {
      if (servable.closed) this.wrong.push(`${version} was unloaded twice`);
      servable.closed = true;
    };
    return { load, unload, ...(chance.in(0.8) ? { estimateResources: estimate } : {}) };
  }

  private async read(name: string): Promise<void> {
    while (this.reading) {
      try {
        await this.manager.withServable(name, async (servable: Servable) => {
          await nextTurn();
          if (servable.closed) this.wrong.push(`${name} was unloaded under a reader`);
          if (servable.version === -1) throw new RangeError('it errs');
        });
      } catch (error) {
        const code = (error as { code?: string }).code;
        if (!(error instanceof RangeError) && code !== 'ERR_SERVABLE_NOT_FOUND') this.wrong.push(String(error));
      }
      await nextTurn();
    }
  }

  private aspire(name: string): void {
    const { chance } = this;
    const before = this.lists.get(name) ?? [];
    const versions = new Set(Array.from({ length: chance.below(3) }, () => 1 + chance.below(4)));
    const list = [...versions].map((version): AspiredVersion => {
      const same = before.find((item) => item.version === version);
      if (same && chance.in(0.3)) return same;
      return { version, loader: this.loader(version), ...(chance.in(0.5) ? { digest: chance.pick('x', 'y') } : {}) };
    });
    this.lists.set(name, list);
    this.transitions.push(this.manager.setAspiredVersions(name, list, { priority: chance.below(3) }));
  }

  private step(): void {
    const { chance, manager } = this;
    const name = chance.pick(...NAMES);
    const what = chance.pick('aspire', 'aspire', 'aspire', 'aspire', 'options', 'limit', 'hold', 'release');
    if (what === 'aspire') this.aspire(name);
    else if (what === 'options') manager.setServableOptions(name, this.options());
    else if (what === 'release') this.handles.shift()?.release();
    else if (what === 'limit') {
      this.limit += chance.below(2) * 20 * MiB;
      manager.setResourceLimits({ ram: this.limit });
    } else if (manager.getServableStates(name).some(({ state, aspired }) => aspired && state === 'Ready')) {
      try {
        this.handles.push(manager.getServableHandle(name));
      } catch {
        // It went in this moment.
      }
    }
  }

  private check(): void {
    const { devices, versions } = this.manager.resources();
    const reserved = devices[0]?.reserved ?? -1;
    const sum = versions.flatMap(({ shares }) => shares).reduce((total, share) => total + share.reserved, 0);
    if (reserved > this.limit) this.wrong.push(`${reserved} bytes are reserved of ${this.limit}`);
    if (sum !== reserved) this.wrong.push(`${reserved} bytes are reserved, and ${sum} by versions`);
    for (const row of NAMES.flatMap((name) => this.manager.getServableStates(name))) {
      const { state, standby, aspired, waiting } = row;
      if (waiting !== undefined && state !== 'LoadRequested') this.wrong.push(`waits, and is ${state}`);
      if (standby && (state !== 'Quiesced' || aspired)) this.wrong.push(`a standby that is ${state}, ${aspired}`);
    }
  }

  /** What fits comes; what was dropped goes; the ledger ends where it began. */
  private async end(): Promise<void> {
    const { manager } = this;
    for (const handle of this.handles) handle.release();
    manager.setResourceLimits({ ram: '1GiB' });
    const last: Loader<Servable> = {
      estimateResources: () => ({ ram: '50MiB' }),
      load: () => ({ version: 9, closed: false }),
    };
    const final = NAMES.map((name) =>
      manager.setAspiredVersions(name, [{ version: 9, loader: last }], { bake: false }),
    );
    for (const { settled, name } of final) {
      const { versions } = await deadline(settled, `${name}/9`);
      assert.equal(versions[0]?.managerState, 'Available', name);
    }
    for (const name of NAMES) await deadline(manager.setAspiredVersions(name, []).settled, `the end of ${name}`);
    await eventually(() => manager.stats().managedVersions === 0, 'the end of all versions');
    const { devices, versions } = manager.resources();
    assert.deepEqual([devices[0]?.estimated, devices[0]?.reserved, devices[0]?.measured, versions], [0, 0, 0, []]);
  }

  async run(): Promise<void> {
    const readers = NAMES.map((name) => this.read(name));
    for (let i = 0; i < 60; i++) {
      this.step();
      if (this.chance.in(0.3)) await pause(this.chance.below(8)); // for the others to do something, not for an answer
      this.check();
    }
    if (this.chance.in(0.7)) await this.end();
    for (const handle of this.handles) handle.release();
    this.reading = false;
    await deadline(Promise.all(readers), 'the readers');
    const { abandoned } = await deadline(this.manager.close(), 'close()');
    assert.deepEqual(abandoned, []);
    await deadline(Promise.all(this.transitions.map(({ settled }) => settled)), 'what was settled by close()');
    assert.deepEqual(this.wrong, []);
  }
}

const given = process.env.ASPIRED_PROPERTY_SEED;
const first = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
test(`memory, standbys, bakes and contents under random operations, from seed ${first}`, async () => {
  for (let seed = first; seed < first + RUNS; seed++) {
    try {
      await new World(seed).run();
    } catch (error) {
      throw new Error(`ASPIRED_PROPERTY_SEED=${seed}: ${error}`, { cause: error });
    }
  }
});
