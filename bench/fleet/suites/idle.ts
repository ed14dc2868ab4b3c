// What a fleet costs to which nothing happens.
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetController } from '#lib/fleet/controller/fleet-controller.js';
import type { Figure, Measured, Suite, TrialOptions, Variant } from '../../suite.js';
import { Bed, FLEET, NO_HEARTBEATS_MS } from '../bed.js';
import { describeUse, readUse } from '../redis-meter.js';

const HEARTBEAT_MS = 10_000;

async function measure(hosts: number, heartbeatIntervalMs: number, seconds: number): Promise<Measured> {
  return Bed.with({ hosts, heartbeatIntervalMs }, async (bed) => {
    const controller = await FleetController.start({
      fleet: FLEET,
      store: { redis: bed.server.url },
      onError: () => {},
    });
    try {
      // It looks at everything once.
      await sleep(3_000);
      const before = await readUse(bed.server);
      const own = process.cpuUsage();
      const ofHosts = await bed.hosts.cpuMicroseconds();
      const start = performance.now();
      await sleep(seconds * 1_000);
      const elapsed = (performance.now() - start) / 1_000;
      const { user, system } = process.cpuUsage(own);
      const used = await bed.use(before);
      if (process.env.ASPIRED_BENCH_VERBOSE) process.stderr.write(`${describeUse(used)}\n`);
      const percent = (microseconds: number): number => microseconds / elapsed / 1e4;
      return {
        redis: percent(used.cpuMicroseconds),
        commands: used.commands / elapsed,
        controller: percent(user + system),
        hosts: percent((await bed.hosts.cpuMicroseconds()) - ofHosts),
      };
    } finally {
      await controller.close();
    }
  });
}

function figures(aim: boolean): Figure[] {
  const lower = { better: 'lower' } as const;
  return [
    { key: 'redis', label: 'Redis', unit: '% of a core', ...lower, ...(aim ? { aim: '< 1' } : {}) },
    { key: 'commands', label: 'Redis commands', unit: '/s', ...lower },
    { key: 'controller', label: 'one controller', unit: '% of a core', ...lower, ...(aim ? { aim: '< 1' } : {}) },
    { key: 'hosts', label: 'all hosts together', unit: '% of a core', ...lower },
  ];
}

/** Processor time of a fleet that is at rest. */
export const idle: Suite = {
  name: 'idle',
  question: 'A fleet and one controller to which nothing happens: processor time per second.',
  variants: ({ quick }: TrialOptions): Variant[] => {
    const hosts = quick ? 100 : 1_000;
    const seconds = quick ? 3 : 30;
    const name = `${hosts.toLocaleString('en-US')} hosts`;
    return [
      {
        name: `${name}, no heartbeats`,
        figures: figures(true),
        run: () => measure(hosts, NO_HEARTBEATS_MS, seconds),
      },
      {
        name: `${name}, a heartbeat every 10 s`,
        figures: figures(false),
        run: () => measure(hosts, HEARTBEAT_MS, seconds),
      },
    ];
  },
};
