import { setImmediate as nextTurn } from 'node:timers/promises';
import { type AspiredVersion, AspiredVersionsManager } from 'aspired';
import { Latencies, latencyFigures, median } from '../measure.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../suite.js';
import { aspireAll, type NoOp, namesOf, noOpLoader } from '../support.js';

const NAME = 'model';

const item = (version: number): AspiredVersion<NoOp> => ({ version, loader: noOpLoader(version) });
const rounds = ({ quick }: TrialOptions): number => (quick ? 100 : 2_000);

function servedVersion(manager: AspiredVersionsManager, name = NAME): number {
  return manager.withServableSync<NoOp, number>(name, (_, id) => id.version);
}

/** Resolves when a read answers the version; looks once per turn of the event loop. */
async function untilServed(manager: AspiredVersionsManager, version: number): Promise<void> {
  while (servedVersion(manager) !== version) await nextTurn();
}

async function aspire(manager: AspiredVersionsManager, ...versions: number[]): Promise<void> {
  await manager.setAspiredVersions(NAME, versions.map(item)).settled;
}

/** Resolves after some turns in which nothing happens: a request is not made in the turn in which another one ended. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await nextTurn();
}

async function switchByPolling(options: TrialOptions): Promise<Measured> {
  const manager = new AspiredVersionsManager();
  const latencies = new Latencies();
  await aspire(manager, 1);
  for (let version = 2; version < 2 + rounds(options); version++) {
    await quiet();
    const start = performance.now();
    const { settled } = manager.setAspiredVersions(NAME, [item(version)]);
    await untilServed(manager, version);
    latencies.add(performance.now() - start);
    await settled;
  }
  await manager.close();
  return latencies.figures();
}

async function switchByEvent(options: TrialOptions): Promise<Measured> {
  const manager = new AspiredVersionsManager();
  const latencies = new Latencies();
  await aspire(manager, 1);
  const events = manager.events();
  for (let version = 2; version < 2 + rounds(options); version++) {
    await quiet();
    const start = performance.now();
    const { settled } = manager.setAspiredVersions(NAME, [item(version)]);
    for await (const { id, managerState } of { [Symbol.asyncIterator]: () => ({ next: () => events.next() }) }) {
      if (id.version === version && managerState === 'Available') break;
    }
    if (servedVersion(manager) !== version) throw new Error(`${version} is Available and not served`);
    latencies.add(performance.now() - start);
    await settled;
  }
  await manager.close();
  return latencies.figures();
}

async function rollbackByList(options: TrialOptions): Promise<Measured> {
  const manager = new AspiredVersionsManager();
  const latencies = new Latencies();
  for (let round = 0; round < rounds(options); round++) {
    await aspire(manager, 1, 2);
    await quiet();
    const start = performance.now();
    const { settled } = manager.setAspiredVersions(NAME, [item(1)]);
    await untilServed(manager, 1);
    latencies.add(performance.now() - start);
    await settled;
  }
  await manager.close();
  return latencies.figures();
}

async function rollbackByPrimary(options: TrialOptions): Promise<Measured> {
  const manager = new AspiredVersionsManager();
  const latencies = new Latencies();
  await aspire(manager, 1, 2);
  for (let round = 0; round < rounds(options); round++) {
    manager.setVersionLabels(NAME, {}, { primary: 2 });
    await quiet();
    const start = performance.now();
    manager.setVersionLabels(NAME, {}, { primary: 1 });
    await untilServed(manager, 1);
    latencies.add(performance.now() - start);
  }
  await manager.close();
  return latencies.figures();
}

async function rollbackWhileDraining(options: TrialOptions): Promise<Measured> {
  const manager = new AspiredVersionsManager();
  const latencies = new Latencies();
  await aspire(manager, 1);
  for (let round = 0; round < rounds(options); round++) {
    const lease = manager.getServableHandle<NoOp>({ name: NAME, version: 1 });
    manager.setAspiredVersions(NAME, [item(2)]);
    while (!manager.getServableStates(NAME).some(({ id, state }) => id.version === 1 && state === 'Quiescing')) {
      await nextTurn();
    }
    await quiet();
    const start = performance.now();
    const { settled } = manager.setAspiredVersions(NAME, [item(1)]);
    await untilServed(manager, 1);
    latencies.add(performance.now() - start);
    lease.release();
    await settled;
  }
  await manager.close();
  return latencies.figures();
}

async function promoteMany(count: number, options: TrialOptions): Promise<Measured> {
  const manager = new AspiredVersionsManager();
  const names = namesOf(count);
  const served: number[] = [];
  const gone: number[] = [];
  await aspireAll(manager, names, 1);
  for (let version = 2; version < (options.quick ? 4 : 22); version++) {
    await quiet();
    const start = performance.now();
    const transitions = names.map((name) => manager.setAspiredVersions(name, [item(version)]));
    const settled = Promise.all(transitions.map((transition) => transition.settled));
    for (let left = count; left > 0; ) {
      while (left > 0 && servedVersion(manager, names[left - 1]) === version) left--;
      if (left > 0) await nextTurn();
    }
    served.push(performance.now() - start);
    await settled;
    gone.push(performance.now() - start);
  }
  await manager.close();
  return { served: median(served), gone: median(gone) };
}

const SWITCH_AIMS = { p50: '0.5 or less', p99: '2 or less' };
const ROLLBACK_AIMS = { p50: '0.2 or less', p99: '1 or less' };

const variants: readonly Variant[] = [
  { name: '1 to 2, polled by setImmediate', figures: latencyFigures(SWITCH_AIMS), run: switchByPolling },
  { name: '1 to 2, told by the event', figures: latencyFigures(SWITCH_AIMS), run: switchByEvent },
  { name: 'rollback, both resident: by the list', figures: latencyFigures(ROLLBACK_AIMS), run: rollbackByList },
  { name: 'rollback, both resident: by the primary', figures: latencyFigures(ROLLBACK_AIMS), run: rollbackByPrimary },
  { name: 'rollback to a version that drains', figures: latencyFigures(ROLLBACK_AIMS), run: rollbackWhileDraining },
];

const promotionFigures = (aim: string): Figure[] => [
  { key: 'served', label: 'all serve 2', unit: 'ms', better: 'lower', aim },
  { key: 'gone', label: 'and 1 is gone', unit: 'ms', better: 'lower' },
];

/** From intent to effect. */
export const versionSwitch: Suite = {
  name: 'version-switch',
  question:
    'From the call to the first read of the new version, of models that do nothing: the time that the manager adds to ' +
    'a load.',
  variants: ({ quick }) => [
    ...variants,
    ...(quick ? [100] : [100, 1_000]).map((count) => ({
      name: `${count} servables promoted at once`,
      figures: promotionFigures(count === 1_000 ? '100 or less' : ''),
      run: (options: TrialOptions) => promoteMany(count, options),
    })),
  ],
};
