import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredVersionsManager } from 'aspired';
import { LoopGaps } from '../../scripts/start/loop-gaps.js';
import type { Figure, Measured, Suite } from '../suite.js';
import { namesOf, noOpLoader } from '../support.js';

const figures = (count: number): Figure[] => [
  { key: 'total', label: 'all Available', unit: 'ms', better: 'lower', ...aim(count) },
  { key: 'each', label: 'per servable', unit: 'µs', better: 'lower', aim: 'the same for every N' },
  { key: 'call', label: 'of that in setAspiredVersions()', unit: 'µs', better: 'lower' },
  { key: 'cpu', label: 'processor time per servable, all threads', unit: 'µs', better: 'lower' },
  { key: 'gap', label: 'longest timer gap after the calls', unit: 'ms', better: 'lower' },
];

function aim(count: number): { aim?: string } {
  if (count === 1_000) return { aim: '50 or less' };
  return count === 10_000 ? { aim: '1,000 or less' } : {};
}

async function storm(count: number): Promise<Measured> {
  const manager = new AspiredVersionsManager();
  const names = namesOf(count);
  const loaders = names.map((_, i) => noOpLoader(i));
  const gaps = new LoopGaps();
  await sleep(50);
  const cpu = process.cpuUsage();
  const start = performance.now();
  const transitions = names.map((name, i) =>
    manager.setAspiredVersions(name, [{ version: 1, loader: loaders[i] as (typeof loaders)[number] }]),
  );
  const called = performance.now();
  const settled = Promise.all(transitions.map((transition) => transition.settled));
  const gapsFrom = performance.now();
  gaps.start();
  const results = await settled;
  const end = performance.now();
  const { user, system } = process.cpuUsage(cpu);
  // A gap counts when its tick has come.
  await sleep(5);
  gaps.stop();
  const bad = results.find(({ versions }) => versions[0]?.managerState !== 'Available');
  if (bad) throw new Error(`${bad.name} is not Available`);
  await manager.close();
  return {
    total: end - start,
    each: ((end - start) * 1e3) / count,
    call: ((called - start) * 1e3) / count,
    cpu: (user + system) / count,
    gap: gaps.longest(gapsFrom, performance.now()),
  };
}

/** Many servables at once. */
export const loadStorm: Suite = {
  name: 'load-storm',
  question:
    'N models with JavaScript loaders that do nothing are aspired in one turn of the event loop, with the default ' +
    'options: how long until all of them are Available?',
  variants: ({ quick }) =>
    (quick ? [100, 1_000] : [1_000, 10_000, 100_000]).map((count) => ({
      name: `${count} servables`,
      figures: figures(count),
      run: () => storm(count),
    })),
};
