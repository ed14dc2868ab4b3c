// Redis is away for a minute, in the middle of a rollout and under traffic.
import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_WRITES } from 'aspired/fleet';
import { decodeCell } from '#lib/fleet/codec.js';
import { FleetClient } from '#lib/fleet/controller/fleet-client.js';
import { FleetController } from '#lib/fleet/controller/fleet-controller.js';
import type { Figure, Measured, Suite, TrialOptions } from '../../suite.js';
import { Bed, FLEET, MODEL } from '../bed.js';
import { ended } from '../rollouts.js';

const HEARTBEAT_MS = 10_000;
const DEADLINE_MS = 120_000;
/** Hosts with a real manager, which requests go to. */
const REAL = 25;
/** The rollout has begun to load the new version on the second wave or so. */
const UNDER_WAY_MS = 1_000;

/** A model that is written to all hosts when Redis is back. */
const NEWS = 'news';

type Fault = 'stopped' | 'killed';

const intent = (operation: string) => ({ actor: 'bench', reason: 'to measure', operation });
const plan = (version: number) => ({ model: MODEL, version, bake: 0, gates: [{ kind: 'load' as const }] });

async function measure(fault: Fault, hosts: number, awayMs: number): Promise<Measured> {
  const options = { hosts, heartbeatIntervalMs: HEARTBEAT_MS, real: Math.min(REAL, hosts >> 2), aof: true };
  return Bed.with(options, async (bed) => {
    const store = { redis: bed.server.url };
    const controller = await FleetController.start({ fleet: FLEET, store, onError: () => {} });
    const client = await FleetClient.connect({ fleet: FLEET, store });
    try {
      const first = await client.start(plan(1), intent('v1'));
      await ended(bed.store, first.rollout, DEADLINE_MS);
      await bed.hosts.traffic(MODEL);
      const second = await client.start(plan(2), intent('v2'));
      await sleep(hosts < 1_000 ? UNDER_WAY_MS / 4 : UNDER_WAY_MS);
      if (fault === 'stopped') bed.server.pause();
      else await bed.server.kill();
      await sleep(awayMs);
      if (fault === 'stopped') bed.server.resume();
      else await bed.server.restart();
      const back = performance.now();
      const seconds = (): number => (performance.now() - back) / 1_000;
      await writeToAll(bed);
      await converged(bed);
      const convergedAfter = seconds();
      const outcome = await ended(bed.store, second.rollout, DEADLINE_MS);
      if (outcome !== 'Promoted') throw new Error(`The rollout ended as ${outcome}`);
      const endedAfter = seconds();
      const { requests, failures, examples } = await bed.hosts.counted();
      if (failures > 0) process.stderr.write(`${examples.join('\n')}\n`);
      return { converged: convergedAfter, ended: endedAfter, failures, requests };
    } finally {
      await client.close();
      await controller.close();
    }
  });
}

/** Something that no host can have yet, as soon as the store takes it: whoever has it is back. */
async function writeToAll({ store, ids }: Bed): Promise<void> {
  for (let from = 0, generation = 0; from < ids.length; from += MAX_WRITES) {
    const hosts = ids.slice(from, from + MAX_WRITES);
    const change = {
      ...{ model: NEWS, expectGeneration: generation, hosts, intent: intent(`news-${from}`) },
      writes: hosts.map((_, place) => ({ place, cell: { versions: [1], primary: 1 } })),
    };
    // The same operation again changes nothing, whatever became of the first attempt.
    const answer = await withPatience('a change after the outage', () => store.assertCells(change));
    generation = answer.generation;
  }
}

async function withPatience<T>(what: string, work: () => Promise<T>): Promise<T> {
  const end = performance.now() + DEADLINE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (performance.now() > end) throw new Error(`${what} took more than ${DEADLINE_MS} ms: ${error}`);
      await sleep(20);
    }
  }
}

/** Every host has its lease, and reports what it is told: the generation, and each of its versions Available. */
async function converged(bed: Bed): Promise<void> {
  for (const model of [NEWS, MODEL]) await convergedOn(bed, model);
}

async function convergedOn({ store, ids }: Bed, model: string): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  let why = 'it never answered';
  while (performance.now() < end) {
    await sleep(100);
    try {
      const [leases, reports, cells] = await Promise.all([
        store.readLeases(ids),
        store.readReports(ids, [model]),
        store.readCells(model, ids),
      ]);
      const behind = ids.filter((_, i) => {
        const text = cells[i];
        if (!leases[i]) return true;
        if (text === undefined) return false;
        const { generation, versions } = decodeCell(text);
        const report = reports[i]?.models.get(model);
        const isThere = (wanted: number): boolean =>
          report?.versions.some(({ version, managerState }) => version === wanted && managerState === 'Available') ??
          false;
        return report?.generation !== generation || !versions.every(isThere);
      });
      if (behind.length === 0) return;
      why = `${behind.length} hosts are behind, ${leases.filter((lease) => !lease).length} without a lease`;
    } catch (error) {
      why = String(error);
    }
  }
  throw new Error(`The fleet did not converge within ${DEADLINE_MS} ms: ${why}`);
}

const figures = (isAimedAt: boolean): Figure[] => [
  {
    key: 'converged',
    label: 'until all hosts have and report what is desired, a change after the return too',
    unit: 's',
    better: 'lower',
    ...(isAimedAt ? { aim: '<= 10' } : {}),
  },
  { key: 'ended', label: 'until the rollout has ended', unit: 's', better: 'lower' },
  { key: 'failures', label: 'requests that failed', unit: '', better: 'lower', aim: '0' },
  { key: 'requests', label: 'requests', unit: '', better: 'higher' },
];

/** A minute without Redis. */
export const outage: Suite = {
  name: 'outage',
  question:
    `Redis goes away in the middle of a rollout: stopped (its connections stay, nothing answers), or killed and started ` +
    `again on its append-only file. ${REAL} of the hosts have a real manager and 100 requests per second each. Counted ` +
    'from the return of Redis, when another model is written to all hosts at once. The rollout itself may wait for ' +
    'the observation grace of 20 s.',
  variants: ({ quick }: TrialOptions) => {
    const hosts = quick ? 100 : 1_000;
    const seconds = quick ? 5 : 60;
    return (['stopped', 'killed'] as const).map((fault) => ({
      name: `${fault} for ${seconds} s, ${hosts.toLocaleString('en-US')} hosts`,
      figures: figures(!quick),
      run: () => measure(fault, hosts, seconds * 1_000),
    }));
  },
};
