import { setImmediate as nextTurn } from 'node:timers/promises';
import { CountingMap } from '../compare/map-refcount.js';
import { Latencies, shuffled, throughput, throughputAsync } from '../measure.js';
import type { Figure, Measured, Suite, Variant } from '../suite.js';
import { managerOf, type NoOp, namesOf, noOpLoader } from '../support.js';

const COUNTS = [64, 1_000, 10_000];
/** Names that are read while versions change. */
const CHANGING = 1_000;
const READS_PER_TURN = 100;

// What a read answers goes here, so that no read can be optimized away.
let sink = 0;

/** Acquires, reads and releases each name once. */
type ReadAll = () => void;

/** A way to read: `names` are there, and are read in the order `order`. */
type MakeReadAll = (names: readonly string[], order: readonly string[]) => ReadAll | Promise<ReadAll>;

const WAYS: Readonly<Record<string, MakeReadAll>> = {
  handle: async (names, order) => {
    const manager = await managerOf(names);
    return () => {
      for (let i = 0; i < order.length; i++) {
        const handle = manager.getServableHandle<NoOp>(order[i] as string);
        sink += handle.servable.value;
        handle.release();
      }
    };
  },
  withServableSync: async (names, order) => {
    const manager = await managerOf(names);
    const use = (servable: NoOp): number => servable.value;
    return () => {
      for (let i = 0; i < order.length; i++) sink += manager.withServableSync(order[i] as string, use);
    };
  },
};

const COMPETITORS: typeof WAYS = {
  'Map and counter': (names, order) => {
    const map = new CountingMap<NoOp>();
    for (const [i, name] of names.entries()) map.set(name, { value: i });
    return () => {
      for (let i = 0; i < order.length; i++) {
        const reference = map.acquire(order[i] as string);
        sink += reference.servable.value;
        reference.release();
      }
    };
  },
  'floor: Map.get() and one object': (names, order) => {
    const map = new Map(names.map((name, i) => [name, { value: i }]));
    let last: { readonly servable: NoOp | undefined } | undefined;
    return () => {
      for (let i = 0; i < order.length; i++) {
        last = { servable: map.get(order[i] as string) };
        sink += last.servable?.value ?? 0;
      }
    };
  },
};

/** The names in an order that no cache line likes. */
function mixUp(names: readonly string[]): string[] {
  return shuffled(names.length).map((i) => names[i] as string);
}

/** How often the names are read in one batch, so that a batch takes some microseconds. */
const passes = (count: number): number => Math.ceil(1_000 / count);

function aimOf(count: number): string {
  return count === 64 ? '30 or less' : count === 10_000 ? 'at most 2x that of 64' : '';
}

function figureFor(count: number): Figure {
  return { key: 'ns', label: 'acquire + release', unit: 'ns', better: 'lower', aim: aimOf(count) };
}

function syncVariant(way: string, make: MakeReadAll, count: number, competitor: boolean): Variant {
  return {
    name: `${way}, ${count} names`,
    competitor,
    figures: [figureFor(count)],
    run: async ({ quick }) => {
      const names = namesOf(count);
      const readAll = await make(names, mixUp(names));
      const batch = (): void => {
        for (let pass = 0; pass < passes(count); pass++) readAll();
      };
      return { ns: await throughput(batch, count * passes(count), quick) };
    },
  };
}

function asyncVariant(count: number): Variant {
  return {
    name: `withServable, ${count} names`,
    figures: [{ ...figureFor(count), aim: '' }],
    run: async ({ quick }) => {
      const names = namesOf(count);
      const order = mixUp(names);
      const manager = await managerOf(names);
      const use = (servable: NoOp): number => servable.value;
      const batch = async (): Promise<void> => {
        for (let i = 0; i < count * passes(count); i++) {
          sink += await manager.withServable(order[i % count] as string, use);
        }
      };
      return { ns: await throughputAsync(batch, count * passes(count), quick) };
    },
  };
}

const changeFigures: Figure[] = [
  { key: 'p50', label: 'p50 of one', unit: 'ns', better: 'lower' },
  { key: 'p99', label: 'p99 of one', unit: 'ns', better: 'lower', aim: '300 or less' },
  { key: 'clock', label: 'p99 of the clock alone, contained in it', unit: 'ns', better: 'lower' },
  { key: 'changes', label: 'versions changed', unit: '1/s', better: 'higher', aim: '1,000' },
];

/** Reads single names by the clock while `change` is called once per millisecond. */
async function readWhileChanging(
  read: (name: string) => void,
  change: (name: string, version: number) => void,
  quick: boolean,
): Promise<Measured> {
  const order = mixUp(namesOf(CHANGING));
  const reads = new Latencies();
  const clock = new Latencies();
  const duration = quick ? 300 : 4_000;
  const warm = performance.now() + duration / 4;
  const end = warm + duration;
  let changes = 0;
  let next = performance.now();
  for (let at = 0, version = 2; performance.now() < end; ) {
    for (let i = 0; i < READS_PER_TURN; i++) {
      const name = order[at++ % CHANGING] as string;
      const before = performance.now();
      const start = performance.now();
      read(name);
      const done = performance.now();
      if (done < warm) continue;
      reads.add(done - start);
      clock.add(start - before);
    }
    for (const now = performance.now(); next <= now; next++) {
      if (now >= warm) changes++;
      change(order[changes % CHANGING] as string, version++);
    }
    await nextTurn();
  }
  return {
    p50: reads.percentile(50) * 1e6,
    p99: reads.percentile(99) * 1e6,
    clock: clock.percentile(99) * 1e6,
    changes: changes / (duration / 1000),
  };
}

const changing: Variant[] = [
  {
    name: `handle, ${CHANGING} names, a version changes each ms`,
    figures: changeFigures,
    run: async ({ quick }) => {
      const manager = await managerOf(namesOf(CHANGING));
      const read = (name: string): void => {
        const handle = manager.getServableHandle<NoOp>(name);
        sink += handle.servable.value;
        handle.release();
      };
      const change = (name: string, version: number): void => {
        manager.setAspiredVersions(name, [{ version, loader: noOpLoader(version) }]);
      };
      return readWhileChanging(read, change, quick);
    },
  },
  {
    name: `Map and counter, ${CHANGING} names, a version changes each ms`,
    competitor: true,
    figures: changeFigures,
    run: ({ quick }) => {
      const map = new CountingMap<NoOp>();
      for (const [i, name] of namesOf(CHANGING).entries()) map.set(name, { value: i });
      const read = (name: string): void => {
        const reference = map.acquire(name);
        sink += reference.servable.value;
        reference.release();
      };
      return readWhileChanging(read, (name, version) => map.set(name, { value: version }), quick);
    },
  },
];

/** Reads of Latest. */
export const acquire: Suite = {
  name: 'acquire',
  question:
    'Acquire and release of Latest, by every way there is, over few and many servables in a mixed-up order. The ' +
    'competitors read the same names with the same body.',
  variants: () => [
    ...Object.entries(WAYS).flatMap(([way, make]) => COUNTS.map((count) => syncVariant(way, make, count, false))),
    ...COUNTS.map(asyncVariant),
    ...Object.entries(COMPETITORS).flatMap(([way, make]) => COUNTS.map((count) => syncVariant(way, make, count, true))),
    ...changing,
  ],
};

/** Keeps `sink` alive. */
export function checksum(): number {
  return sink;
}
