// A whole rollout, by a real controller: no-op models, zero bake.
import { FleetClient } from '#lib/fleet/controller/fleet-client.js';
import { FleetController } from '#lib/fleet/controller/fleet-controller.js';
import type { Figure, Measured, Suite, TrialOptions } from '../../suite.js';
import { Bed, FLEET, MODEL } from '../bed.js';
import { readUse } from '../redis-meter.js';
import { ended } from '../rollouts.js';

const HEARTBEAT_MS = 10_000;
const DEADLINE_MS = 240_000;

async function measure(hosts: number): Promise<Measured> {
  return Bed.with({ hosts, heartbeatIntervalMs: HEARTBEAT_MS }, async (bed) => {
    const store = { redis: bed.server.url };
    const controller = await FleetController.start({ fleet: FLEET, store, onError: () => {} });
    const client = await FleetClient.connect({ fleet: FLEET, store });
    try {
      const roll = async (version: number) => {
        const before = await readUse(bed.server);
        const own = process.cpuUsage();
        const start = performance.now();
        const plan = { model: MODEL, version, bake: 0, gates: [{ kind: 'load' as const }] };
        const { rollout: id } = await client.start(plan, {
          actor: 'bench',
          reason: 'to measure',
          operation: `v${version}`,
        });
        const outcome = await ended(bed.store, id, DEADLINE_MS);
        if (outcome !== 'Promoted') throw new Error(`The rollout ended as ${outcome}`);
        const seconds = (performance.now() - start) / 1_000;
        const { user, system } = process.cpuUsage(own);
        return { seconds, use: await bed.use(before), controllerCpu: (user + system) / 1e6 };
      };
      // The first version has none before it: another way, and everything is cold.
      await roll(1);
      const { seconds, use, controllerCpu } = await roll(2);
      return { seconds, cpu: use.cpuMicroseconds / hosts, commands: use.commands / hosts, controllerCpu };
    } finally {
      await client.close();
      await controller.close();
    }
  });
}

const figures = (hosts: number): Figure[] => [
  {
    key: 'seconds',
    label: 'start to end',
    unit: 's',
    better: 'lower',
    ...(hosts === 1_000 ? { aim: '<= 15' } : {}),
  },
  { key: 'commands', label: 'Redis commands per host', unit: '', better: 'lower' },
  { key: 'cpu', label: 'Redis CPU per host', unit: 'us', better: 'lower' },
  { key: 'controllerCpu', label: 'CPU of the controller', unit: 's', better: 'lower' },
];

/** A rollout from version 1 to 2 in the four usual waves. */
export const rollout: Suite = {
  name: 'rollout',
  question:
    'From version 1 to version 2 of a model that does nothing, in the usual waves (1 host, 10 %, 50 %, 100 %), with a bake ' +
    'of 0 and the gate of loads: prefetch, expand, flip, contract on all hosts, everything that a host does in it included.',
  variants: ({ quick }: TrialOptions) =>
    (quick ? [100] : [100, 1_000, 3_000]).map((hosts) => ({
      name: `${hosts.toLocaleString('en-US')} hosts`,
      figures: figures(hosts),
      run: () => measure(hosts),
    })),
};
