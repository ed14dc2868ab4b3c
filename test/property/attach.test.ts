// Attachments under random operations: registries that come and go beside a manager on its own threads, with copies that
// load late, fail, and drag their feet at the unload. A seed gives the same operations, not the same interleaving.
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import {
  AspiredVersionsManager,
  type AttachedVersionsManager,
  type Loader,
  type ServableHandle,
  type ServableId,
  type Transition,
} from 'aspired';
import fc from 'fast-check';
import { deadline } from '../support/deadline.js';
import { runs } from './support/operations.js';

type Operation =
  | { readonly do: 'aspire'; readonly name: string; readonly versions: readonly number[] }
  | { readonly do: 'primary'; readonly name: string; readonly version: number | null }
  | { readonly do: 'attach' | 'detach'; readonly slot: number }
  | { readonly do: 'hold'; readonly slot: number; readonly name: string }
  | { readonly do: 'release'; readonly index: number }
  | { readonly do: 'turns'; readonly count: number };

// Copies of 'c' fail now and then; those of 'a' and 'b' never do, and their lists are never empty.
const name = fc.constantFrom('a', 'b', 'c');
const version = fc.integer({ min: 1, max: 4 });
const slot = fc.nat(2);
const just = <T extends string>(value: T): fc.Arbitrary<T> => fc.constant(value);
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: just('aspire'),
      name,
      versions: fc.uniqueArray(version, { minLength: 1, maxLength: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: just('primary'), name, version: fc.option(version, { nil: null }) }) },
  { weight: 3, arbitrary: fc.record({ do: just('attach'), slot }) },
  { weight: 1, arbitrary: fc.record({ do: just('detach'), slot }) },
  { weight: 4, arbitrary: fc.record({ do: just('hold'), slot, name }) },
  { weight: 4, arbitrary: fc.record({ do: just('release'), index: fc.nat(9) }) },
  { weight: 8, arbitrary: fc.record({ do: just('turns'), count: fc.integer({ min: 1, max: 6 }) }) },
);

/** What a loader made, and where. */
interface Servable {
  readonly where: string;
  readonly id: ServableId;
  loaded: boolean;
}

class World {
  readonly problems: string[] = [];
  readonly servables: Servable[] = [];
  readonly manager = new AspiredVersionsManager({ manageStateIntervalMs: 10, leakDetection: 'off' });
  readonly slots: (AttachedVersionsManager | undefined)[] = [undefined, undefined, undefined];
  readonly detached: Promise<void>[] = [];
  readonly held: ServableHandle<Servable>[] = [];
  readonly transitions: Transition[] = [];
  /** Names that each slot has had: under availability-preserving it has them from then on. */
  private readonly served = [new Set<string>(), new Set<string>(), new Set<string>()];
  private calls = 0;

  /** Pauses that differ from call to call, and are the same in each run of a seed. */
  private pause(): number {
    return (this.calls++ * 7919) % 5;
  }

  private loader(where: string, id: ServableId): Loader<Servable> {
    return {
      load: async () => {
        const turns = this.pause();
        for (let i = 0; i < turns; i++) await turn();
        if (where !== 'manager' && id.name === 'c' && turns === 3) throw new Error('no memory for a copy');
        const servable = { where, id, loaded: true };
        this.servables.push(servable);
        return servable;
      },
      unload: async (servable) => {
        if (!servable.loaded) this.problems.push(`${where}: ${id.name}/${id.version} was unloaded twice`);
        servable.loaded = false;
        for (let i = this.pause(); i > 2; i--) await turn();
      },
    };
  }

  perform(operation: Operation): void {
    switch (operation.do) {
      case 'aspire': {
        const { name: servable, versions } = operation;
        const list = versions.map((number) => ({
          version: number,
          loader: this.loader('manager', { name: servable, version: number }),
        }));
        this.transitions.push(this.manager.setAspiredVersions(servable, list));
        break;
      }
      case 'primary':
        this.manager.setVersionLabels(operation.name, {}, { primary: operation.version });
        break;
      case 'attach':
        this.attach(operation.slot);
        break;
      case 'detach':
        this.detach(operation.slot);
        break;
      case 'hold':
        this.hold(operation);
        break;
      case 'release':
        this.held.splice(operation.index % Math.max(1, this.held.length), 1)[0]?.release();
        break;
    }
  }

  private attach(index: number): void {
    this.slots[index] ??= AspiredVersionsManager.attach(this.manager.attachToken, {
      loaders: (id) => this.loader(`slot ${index}`, id),
      loadRetryIntervalMs: 1,
      leakDetection: 'off',
      onError: () => {},
    });
  }

  detach(index: number): void {
    const attached = this.slots[index];
    this.slots[index] = undefined;
    this.served[index]?.clear();
    if (attached) this.detached.push(attached.close());
  }

  private hold({ slot: index, name: servable }: { slot: number; name: string }): void {
    const reader = this.slots[index] ?? this.manager;
    try {
      this.held.push(reader.getServableHandle<Servable>(servable));
    } catch {
      // Not there (yet).
    }
  }

  look(): void {
    for (const { id, servable } of this.held) {
      if (!servable.loaded)
        this.problems.push(`${servable.where}: ${id.name}/${id.version} was unloaded under a handle`);
    }
    for (const [index, attached] of this.slots.entries()) {
      const now = new Set(attached?.listAvailableServableIds().map((id) => id.name));
      for (const servable of this.served[index] ?? []) {
        if (!now.has(servable)) this.problems.push(`slot ${index} had ${servable}, and has none now`);
      }
      for (const servable of ['a', 'b']) if (now.has(servable)) this.served[index]?.add(servable);
    }
  }

  check(after: string): void {
    this.look();
    if (this.problems.length > 0) throw new Error(`${after}:\n  ${this.problems.join('\n  ')}`);
  }
}

async function play(list: readonly Operation[]): Promise<void> {
  const world = new World();
  for (const [index, operation] of list.entries()) {
    world.perform(operation);
    world.check(`operation ${index}, ${operation.do}`);
    if (operation.do !== 'turns') continue;
    for (let i = 0; i < operation.count; i++) {
      await turn();
      world.check(`operation ${index}, turn ${i}`);
    }
  }
  for (const handle of world.held.splice(0)) handle.release();
  for (const { settled } of world.transitions) await deadline(settled, 'a transition');
  world.check('when every list had settled');
  // Half of the attachments end before the manager, half with it.
  world.detach(0);
  const attached = world.slots.filter((other) => other !== undefined);
  const { abandoned } = await deadline(world.manager.close(), 'close()');
  if (abandoned.length > 0) world.problems.push(`abandoned ${JSON.stringify(abandoned)}`);
  await deadline(Promise.all([...world.detached, ...attached.map((other) => other.close())]), 'the attachments');
  for (const { where, id, loaded } of world.servables) {
    if (loaded) world.problems.push(`${where}: ${id.name}/${id.version} was never unloaded`);
  }
  world.slots.fill(undefined);
  if (world.problems.length > 0) throw new Error(world.problems.join('\n  '));
}

test('attachments: leases, availability and the life of copies hold under random operations', async () => {
  const operations = fc.array(operation, { minLength: 1, maxLength: 40, size: 'max' });
  await fc.assert(fc.asyncProperty(operations, play), { ...runs(300), endOnFailure: true });
});
