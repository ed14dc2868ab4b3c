import { setImmediate as nextTurn } from 'node:timers/promises';
import { AspiredVersionsManager, type Loader } from 'aspired';
import { Latencies } from '../measure.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../suite.js';
import { aspireAll, type NoOp, namesOf } from '../support.js';

/** What one version reserves: little, because the machine must have it. */
const UNIT = 100_000;
/** What is left of the limit; more than a load that does nothing can be taken for. */
const ROOM = 200_000_000;

/** How full the manager is. */
interface Fill {
  readonly managed: number;
  readonly reserved: number;
  readonly waiting: number;
}

interface Probe {
  readonly loader: Loader<NoOp>;
  readonly loaded: Promise<number>;
  /** When it gave its estimate; undefined: it has none. */
  readonly estimatedAt: () => number | undefined;
}

/** A loader that tells when its load begins. */
function probe(ram: number | undefined): Probe {
  let tell = (_at: number): void => {};
  const loaded = new Promise<number>((resolve) => {
    tell = resolve;
  });
  const load = (): NoOp => {
    tell(performance.now());
    return { value: 1 };
  };
  let at: number | undefined;
  const estimateResources = (): { ram: number } => {
    at = performance.now();
    return { ram: ram as number };
  };
  return { loader: ram === undefined ? { load } : { estimateResources, load }, loaded, estimatedAt: () => at };
}

function reserving(ram: number): Loader<NoOp> {
  return { estimateResources: () => ({ ram }), load: () => ({ value: 1 }) };
}

/** A manager with so many versions, of which some hold a reservation, and loads that wait for more than is left. */
async function fill({ managed, reserved, waiting }: Fill): Promise<AspiredVersionsManager> {
  const manager = new AspiredVersionsManager({ resources: { ram: UNIT * reserved + ROOM } });
  await aspireAll(manager, namesOf(managed - reserved - waiting), 1);
  const holds = Array.from({ length: reserved }, (_, i) =>
    manager.setAspiredVersions(`holds-${i}`, [{ version: 1, loader: reserving(UNIT) }]),
  );
  await Promise.all(holds.map(({ settled }) => settled));
  for (let i = 0; i < waiting; i++) {
    manager.setAspiredVersions(`waits-${i}`, [{ version: 1, loader: reserving(ROOM + UNIT) }]);
  }
  const isWaiting = (i: number): boolean => manager.getServableStates(`waits-${i}`)[0]?.waiting !== undefined;
  while (waiting > 0 && !isWaiting(waiting - 1)) await nextTurn();
  return manager;
}

async function measure(of: Fill, ram: number | undefined, { quick }: TrialOptions): Promise<Measured> {
  const manager = await fill(of);
  const [latencies, decisions] = [new Latencies(), new Latencies()];
  for (let i = 0; i < (quick ? 100 : 2_000); i++) {
    const { loader, loaded, estimatedAt } = probe(ram);
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    const start = performance.now();
    const { settled } = manager.setAspiredVersions('probe', [{ version: i + 1, loader }]);
    const at = await loaded;
    latencies.add(at - start);
    decisions.add(at - (estimatedAt() ?? start));
    await settled;
  }
  const burst = quick ? 200 : 2_000;
  const names = Array.from({ length: burst }, (_, i) => `burst-${i}`);
  const probes = names.map(() => probe(ram));
  const cpu = process.cpuUsage();
  const start = performance.now();
  const transitions = names.map((name, i) =>
    manager.setAspiredVersions(name, [{ version: 1, loader: (probes[i] as Probe).loader }]),
  );
  // Who waits for nothing of the manager ends with the event loop.
  await Promise.all(transitions.map(({ settled }) => settled));
  const times = await Promise.all(probes.map(({ loaded }) => loaded));
  const each = ((Math.max(...times) - start) * 1e3) / burst;
  const { user, system } = process.cpuUsage(cpu);
  await manager.close();
  return {
    decision: decisions.percentile(50) * 1e3,
    p50: latencies.percentile(50) * 1e3,
    p99: latencies.percentile(99) * 1e3,
    each,
    cpu: (user + system) / burst,
  };
}

const figures: Figure[] = [
  { key: 'decision', label: 'one: the decision, p50', unit: 'µs', better: 'lower', aim: '50 or less' },
  { key: 'p50', label: 'one: from setAspiredVersions() to load(), p50', unit: 'µs', better: 'lower' },
  { key: 'p99', label: 'p99', unit: 'µs', better: 'lower' },
  { key: 'each', label: 'per load of 2,000 at once', unit: 'µs', better: 'lower' },
  { key: 'cpu', label: 'processor time of these, all threads', unit: 'µs', better: 'lower' },
];

const fills = ({ quick }: TrialOptions): { readonly name: string; readonly fill: Fill; readonly ram?: number }[] => {
  const n = quick ? 1_000 : 10_000;
  const few = n / 20;
  const full = { managed: n, reserved: (n * 3) / 10, waiting: few };
  const count = (value: number): string => value.toLocaleString('en-US');
  return [
    { name: `${count(n)} versions, no estimates`, fill: { managed: n, reserved: 0, waiting: 0 } },
    { name: `the same, the newcomer has an estimate`, fill: { managed: n, reserved: 0, waiting: 0 }, ram: 1 },
    { name: `${count(full.reserved)} of them have a reservation`, fill: { ...full, waiting: 0 }, ram: 1 },
    { name: `and ${count(few)} more wait for memory`, fill: full, ram: 1 },
    { name: `the same, the newcomer has none`, fill: full },
  ];
};

/** The time until a load may begin. */
export const admission: Suite = {
  name: 'admission',
  question:
    'From the request that a version be loaded to its load, in a manager of 10,000 versions. A loader that gives an ' +
    'estimate is asked for it in a turn of the event loop of its own: the decision is from its answer to the load, ' +
    'otherwise from the request, with the ways to the thread that decides and back.',
  variants: (options) =>
    fills(options).map(
      ({ name, fill: of, ram }): Variant => ({ name, figures, run: (trial) => measure(of, ram, trial) }),
    ),
};
