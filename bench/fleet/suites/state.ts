// What the desired state takes in Redis.
import { MAX_WRITES } from 'aspired/fleet';
import { Keys } from '#lib/fleet/store/redis/keys.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import { RedisServer } from '../../../test/support/redis-server.js';
import type { Figure, Measured, Suite } from '../../suite.js';
import { FLEET } from '../bed.js';
import { zoneOf } from '../hosts.js';
import { hostId } from '../protocol.js';

const HOSTS = 100;

async function measure(models: number, args: readonly string[]): Promise<Measured> {
  return { rest: await bytesPerCell(models, args, AT_REST), rollout: await bytesPerCell(models, args, IN_ROLLOUT) };
}

/** As most models are most of the time, and as those in the middle of a rollout are. */
const AT_REST = { versions: [43], primary: 43 };
const IN_ROLLOUT = { versions: [42, 43], primary: 42, watch: true };

async function bytesPerCell(models: number, args: readonly string[], cell: typeof AT_REST): Promise<number> {
  const ends: (() => Promise<void>)[] = [];
  const server = await RedisServer.start({ after: (end) => ends.push(end) }, { args });
  try {
    const store = await RedisStore.connect({ url: server.url, fleet: FLEET, role: 'controller' });
    ends.push(() => store.close());
    await store.create();
    const ids = Array.from({ length: HOSTS }, (_, i) => hostId(i));
    const info = { labels: {}, capacityBytes: 0, agentVersion: '0', schema: 1 };
    await store.enterHosts(ids.map((id, i) => ({ id, zone: zoneOf(i), ...info })));
    for (let model = 0; model < models; model++) {
      for (let from = 0; from < HOSTS; from += MAX_WRITES) {
        const hosts = ids.slice(from, from + MAX_WRITES);
        await store.assertCells({
          model: `ranker-${model}`,
          expectGeneration: 0,
          generationAbove: 1_000 + model,
          hosts,
          writes: hosts.map((_, place) => ({ place, cell })),
          intent: { actor: 'bench', reason: 'to measure', operation: `m${model}` },
        });
      }
    }
    const keys = new Keys(FLEET);
    let used = 0;
    for (const id of ids) used += Number(await server.command('MEMORY', 'USAGE', keys.desired(id), 'SAMPLES', 0));
    return used / (HOSTS * models);
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

const figures: Figure[] = [
  { key: 'rest', label: 'per host and model, at rest', unit: 'B', better: 'lower', aim: '<= 30' },
  { key: 'rollout', label: 'in the middle of a rollout', unit: 'B', better: 'lower' },
];

/** Memory of desired state. */
export const state: Suite = {
  name: 'state',
  question:
    `Cells of models are written to ${HOSTS} hosts, at rest and as in the middle of a rollout: what does each take, with the name ` +
    'of its model (ranker-0 to ranker-999) and everything that Redis needs for the documents?',
  variants: ({ quick }) =>
    (quick ? [50] : [100, 500, 1_000, -1_000]).map((signed) => {
      const models = Math.abs(signed);
      const isTuned = signed < 0;
      return {
        name: `${models.toLocaleString('en-US')} models${isTuned ? ', hash-max-listpack-entries 4096' : ''}`,
        figures,
        run: () => measure(models, isTuned ? ['--hash-max-listpack-entries', '4096'] : []),
      };
    }),
};
