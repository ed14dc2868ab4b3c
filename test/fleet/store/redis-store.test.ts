// The store in Redis keeps what every store promises: one server for all tests, a fleet of its own for each.
import { after } from 'node:test';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';
import { storeConformance } from './conformance.js';

const server = withoutRedis ? undefined : await RedisServer.start({ after });
let fleets = 0;

storeConformance(
  'redis',
  async (t) => {
    const { url = '' } = server ?? {};
    const fleet = `fleet-${++fleets}`;
    return {
      connect: async () => {
        const store = await RedisStore.connect({ url, fleet });
        t.after(() => store.close());
        return store;
      },
      clear: async () => void (await server?.command('FLUSHALL')),
    };
  },
  withoutRedis,
);
