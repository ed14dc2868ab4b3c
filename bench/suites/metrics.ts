import { AspiredVersionsManager } from 'aspired';
import { shuffled, throughput, throughputAsync } from '../measure.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../suite.js';
import { aspireAll, type NoOp, namesOf } from '../support.js';

const COUNT = 1_000;

// What a read answers goes here, so that no read can be optimized away.
let sink = 0;

const use = (servable: NoOp): number => servable.value;

/** Nanoseconds of one request, beside acquire and release in the same process: both awaited, or neither. */
async function measure(way: 'withServableSync' | 'withServable', metrics: boolean, quick: boolean): Promise<Measured> {
  const manager = new AspiredVersionsManager({ metrics });
  const names = namesOf(COUNT);
  await aspireAll(manager, names, 1);
  const order = shuffled(COUNT).map((i) => names[i] as string);
  const acquire = (): void => {
    for (let i = 0; i < COUNT; i++) {
      const handle = manager.getServableHandle<NoOp>(order[i] as string);
      sink += handle.servable.value;
      handle.release();
    }
  };
  const byHand = async (name: string): Promise<number> => {
    const held = manager.getServableHandle<NoOp>(name);
    try {
      return use(held.servable);
    } finally {
      held.release();
    }
  };
  const sync = (): void => {
    for (let i = 0; i < COUNT; i++) sink += manager.withServableSync(order[i] as string, use);
  };
  const async = async (): Promise<void> => {
    for (let i = 0; i < COUNT; i++) sink += await manager.withServable(order[i] as string, use);
  };
  const acquireAsync = async (): Promise<void> => {
    for (let i = 0; i < COUNT; i++) sink += await byHand(order[i] as string);
  };
  const call = (): void => {
    for (let i = 0; i < COUNT; i++) void manager.withServable(order[i] as string, use);
  };
  const handle = await throughput(acquire, COUNT, quick);
  const called = await throughput(way === 'withServable' ? call : sync, COUNT, quick);
  const like = way === 'withServable' ? await throughputAsync(acquireAsync, COUNT, quick) : handle;
  const ns = way === 'withServable' ? await throughputAsync(async, COUNT, quick) : await throughput(sync, COUNT, quick);
  await manager.close();
  return { called, over: called - handle, handle, ns, like, overLike: ns - like };
}

const figures = (aim?: string): Figure[] => [
  { key: 'called', label: 'one request: the call', unit: 'ns', better: 'lower' },
  { key: 'handle', label: 'acquire + release by handle', unit: 'ns', better: 'lower' },
  { key: 'over', label: 'above that', unit: 'ns', better: 'lower', ...(aim === undefined ? {} : { aim }) },
  { key: 'ns', label: 'one request, awaited where it can be', unit: 'ns', better: 'lower' },
  { key: 'like', label: 'by handle, awaited likewise', unit: 'ns', better: 'lower' },
  { key: 'overLike', label: 'above that', unit: 'ns', better: 'lower' },
];

const variant = (way: 'withServableSync' | 'withServable', metrics: boolean): Variant => ({
  name: `${way}, ${metrics ? 'counted' : 'not counted'}`,
  figures: figures(metrics ? '150 or less' : undefined),
  run: ({ quick }: TrialOptions) => measure(way, metrics, quick),
});

/** What counting requests, errors and latencies costs. */
export const metrics: Suite = {
  name: 'metrics',
  question:
    'A request by withServable() and withServableSync(), counted per version or not (option metrics), above acquiring ' +
    `and releasing a handle in the same process; ${COUNT.toLocaleString('en-US')} servables in a mixed-up order. ` +
    'An await takes its own time, whatever is awaited: so the call alone, and awaited beside an async function that acquires ' +
    'and releases.',
  variants: () =>
    (['withServableSync', 'withServable'] as const).flatMap((way) => [variant(way, true), variant(way, false)]),
};

/** Keeps `sink` alive. */
export function checksum(): number {
  return sink;
}
