import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredVersionsManager, type Loader } from 'aspired';
import { cpuMicroseconds, settleMemory } from '../measure.js';
import type { Figure, Measured, Suite, TrialOptions } from '../suite.js';
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

async function beIdle(count: number, { quick }: TrialOptions): Promise<Measured> {
  const names = namesOf(count);
  const loaders = names.map((_, i) => noOpLoader(i));
  // What the code itself costs is no part of what a servable costs.
  const manager = new AspiredVersionsManager();
  await fill(manager, ['warm-up'], [noOpLoader(0)]);
  await settleMemory();
  const before = process.memoryUsage();
  await fill(manager, names, loaders);
  await settleMemory();
  const after = process.memoryUsage();
  const seconds = quick ? 0.5 : 10;
  const cpu = process.cpuUsage();
  await sleep(seconds * 1_000);
  const used = cpuMicroseconds(cpu);
  const { managedVersions } = manager.stats();
  if (managedVersions !== count + 1) throw new Error(`${managedVersions} versions are managed`);
  await manager.close();
  const heap = (after.heapUsed - before.heapUsed) / count;
  const native = (outsideHeap(after) - outsideHeap(before)) / count;
  return {
    cpu: (used / 1e3 / seconds) * 10,
    bytes: heap + native,
    heap,
    native,
    rss: (after.rss - before.rss) / count,
  };
}

function outsideHeap({ rss, heapTotal }: NodeJS.MemoryUsage): number {
  return rss - heapTotal;
}

async function fill(
  manager: AspiredVersionsManager,
  names: readonly string[],
  loaders: readonly Loader[],
): Promise<void> {
  const transitions = names.map((name, i) =>
    manager.setAspiredVersions(name, [{ version: 1, loader: loaders[i] as Loader }]),
  );
  await Promise.all(transitions.map(({ settled }) => settled));
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
      run: async () => {
        await settleMemory();
        const seconds = quick ? 0.5 : 10;
        const cpu = process.cpuUsage();
        await sleep(seconds * 1_000);
        return { cpu: (cpuMicroseconds(cpu) / 1e3 / seconds) * 10 };
      },
    },
    ...(quick ? [1_000] : [10_000, 100_000]).map((count) => ({
      name: `${count} servables`,
      figures: [cpuFigure, ...memoryFigures],
      run: (options: TrialOptions) => beIdle(count, options),
    })),
  ],
};
