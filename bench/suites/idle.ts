import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredVersionsManager, type Loader } from 'aspired';
import { cpuMicroseconds, settleMemory } from '../measure.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../suite.js';
import { namesOf, noOpLoader } from '../support.js';

const cpuFigure: Figure = {
  key: 'cpu',
  label: 'processor time of the idle process',
  unit: 'ms per 10 s',
  better: 'lower',
  aim: 'that of 0 servables',
};
const memoryFigures: Figure[] = [
  {
    key: 'bytes',
    label: 'memory per servable beyond its loader',
    unit: 'bytes',
    better: 'lower',
    aim: '2,048 or less',
  },
  { key: 'heap', label: 'of that on the JavaScript heap', unit: 'bytes', better: 'lower' },
  { key: 'native', label: 'and outside it', unit: 'bytes', better: 'lower' },
  { key: 'rss', label: 'resident set, with unused heap pages', unit: 'bytes', better: 'lower' },
];

// The young generation grows with what is allocated in a burst, by up to 32 MB, and stays as large: that is the burst's
// price, not the servables'. At its smallest it does not hide what is measured. And V8 collects once more some seconds
// after a burst, which is not what a manager does when it is idle.
const nodeOptions = ['--max-semi-space-size=1', '--no-memory-reducer'];

/** Milliseconds of processor time per 10 s, of a process that has been idle for a while. */
async function idleCpu(quick: boolean): Promise<number> {
  await sleep(quick ? 100 : 1_000);
  const seconds = quick ? 0.5 : 10;
  const cpu = process.cpuUsage();
  await sleep(seconds * 1_000);
  return (cpuMicroseconds(cpu) / 1e3 / seconds) * 10;
}

async function beIdle(count: number, atOnce: number, { quick }: TrialOptions): Promise<Measured> {
  const names = namesOf(count);
  const loaders = names.map((_, i) => noOpLoader(i));
  // What the code itself costs is no part of what a servable costs.
  const manager = new AspiredVersionsManager();
  await aspire(manager, ['warm-up'], [noOpLoader(0)]);
  await settleMemory();
  const before = process.memoryUsage();
  for (let i = 0; i < count; i += atOnce) {
    await aspire(manager, names.slice(i, i + atOnce), loaders.slice(i, i + atOnce));
  }
  await settleMemory();
  const after = process.memoryUsage();
  const cpu = await idleCpu(quick);
  const { managedVersions } = manager.stats();
  if (managedVersions !== count + 1) throw new Error(`${managedVersions} versions are managed`);
  await manager.close();
  const heap = (after.heapUsed - before.heapUsed) / count;
  const native = (outsideHeap(after) - outsideHeap(before)) / count;
  return { cpu, bytes: heap + native, heap, native, rss: (after.rss - before.rss) / count };
}

function outsideHeap({ rss, heapTotal }: NodeJS.MemoryUsage): number {
  return rss - heapTotal;
}

async function aspire(
  manager: AspiredVersionsManager,
  names: readonly string[],
  loaders: readonly Loader[],
): Promise<void> {
  const transitions = names.map((name, i) =>
    manager.setAspiredVersions(name, [{ version: 1, loader: loaders[i] as Loader }]),
  );
  await Promise.all(transitions.map(({ settled }) => settled));
}

function variantOf(count: number, atOnce: number): Variant {
  return {
    name: `${count} servables, aspired ${atOnce === count ? 'all at once' : `${atOnce} at a time`}`,
    figures: [cpuFigure, ...memoryFigures],
    nodeOptions,
    run: (options) => beIdle(count, atOnce, options),
  };
}

/** What it costs to have servables. */
export const idle: Suite = {
  name: 'idle',
  question: 'What do servables cost that nobody reads and nothing happens to?',
  variants: ({ quick }) => [
    {
      name: '0 servables, no manager',
      competitor: true,
      figures: [{ ...cpuFigure, aim: '' }],
      nodeOptions,
      run: async () => ({ cpu: await idleCpu(quick) }),
    },
    ...(quick ? [1_000] : [10_000, 100_000]).flatMap((count) => [variantOf(count, 100), variantOf(count, count)]),
  ],
};
