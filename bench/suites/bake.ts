import { setTimeout as sleep } from 'node:timers/promises';
import { AspiredVersionsManager } from 'aspired';
import { Random } from '../../scripts/models/random.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../suite.js';

const NAME = 'model';
/** Requests per second, at times fixed beforehand. */
const RATE = 1_000;
const DEADLINE_MS = 60_000;

interface Flaky {
  answer(): void;
}

function flaky(share: number, seed: number): Flaky {
  const random = new Random(seed);
  return {
    answer() {
      if (random.uniform() < share) throw new Error('a bad answer');
    },
  };
}

/** Promotes a version that fails `share` of its requests, until readers are back on the one before. */
async function measure(share: number, { quick }: TrialOptions): Promise<Measured> {
  const manager = new AspiredVersionsManager({ bake: { for: '60s', maxErrorRate: 0.01 } });
  const aspire = (version: number, failing: number) =>
    manager.setAspiredVersions(NAME, [{ version, loader: { load: () => flaky(failing, process.pid + version) } }]);
  await aspire(1, 0).settled;
  // By a handle, which is not counted.
  const versionNow = (): number => {
    const handle = manager.getServableHandle<Flaky>(NAME);
    const { version } = handle.id;
    handle.release();
    return version;
  };
  let served = 0;
  let hurt = 0;
  const request = (): void => {
    manager
      .withServable(NAME, (servable: Flaky, { version }) => {
        if (version === 2) served++;
        servable.answer();
      })
      .catch(() => hurt++);
  };
  let due = performance.now();
  const traffic = setInterval(() => {
    for (const now = performance.now(); due <= now; due += 1_000 / RATE) request();
  }, 1);
  // The version before has a history of its own.
  await sleep(quick ? 200 : 1_000);
  const start = performance.now();
  const { settled } = aspire(2, share);
  void settled;
  while (versionNow() !== 2) await sleep(1);
  const switched = performance.now();
  while (versionNow() === 2 && performance.now() - start < DEADLINE_MS) await sleep(1);
  const gone = versionNow() === 1;
  const end = performance.now();
  clearInterval(traffic);
  await manager.close();
  if (!gone) throw new Error(`The version was still there after ${DEADLINE_MS} ms`);
  return { hurt, served, time: end - switched };
}

const figures: Figure[] = [
  { key: 'hurt', label: 'requests that failed', unit: '', better: 'lower' },
  { key: 'served', label: 'requests that the version got', unit: '', better: 'lower' },
  { key: 'time', label: 'until readers were back', unit: 'ms', better: 'lower' },
];

/** What a bad version costs. */
export const bake: Suite = {
  name: 'bake',
  question:
    `A version that fails some of its requests is promoted beside ${RATE.toLocaleString('en-US')} requests per second, ` +
    'with maxErrorRate 0.01 and a bake of 60 s: whom did it hurt until readers were back on the one before?',
  variants: ({ quick }) =>
    (quick ? [0.5] : [0.02, 0.05, 0.5]).map(
      (share): Variant => ({
        name: `fails ${share * 100} %`,
        figures,
        run: (options) => measure(share, options),
      }),
    ),
};
