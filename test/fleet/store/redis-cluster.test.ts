// The store on a real Redis Cluster of three nodes: a script that touched a key of another slot would fail there. Each
// fleet lives on the node that has its slot.
import { after } from 'node:test';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';
import { storeConformance } from './conformance.js';
import { until } from './support.js';

const SLOTS = 16384;
const NODES = 3;

const nodes = withoutRedis ? [] : await makeCluster();
let fleets = 0;

async function makeCluster(): Promise<readonly RedisServer[]> {
  const servers: RedisServer[] = [];
  for (let i = 0; i < NODES; i++) {
    // The port of the bus, port + 10,000 else, may not exist.
    const busPort = await RedisServer.freePort();
    const args = ['--cluster-enabled', 'yes', '--cluster-port', String(busPort)];
    const server = await RedisServer.start({ after }, { args });
    const from = Math.ceil((i * SLOTS) / NODES);
    await server.command('CLUSTER', 'ADDSLOTSRANGE', from, Math.ceil(((i + 1) * SLOTS) / NODES) - 1);
    await servers[0]?.command('CLUSTER', 'MEET', '127.0.0.1', server.port, busPort);
    servers.push(server);
  }
  for (const server of servers) {
    const isWhole = async () => {
      const info = String(await server.command('CLUSTER', 'INFO'));
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${NODES}`);
    };
    await until('the cluster', isWhole);
  }
  return servers;
}

storeConformance(
  'cluster',
  async (t) => {
    const fleet = `fleet-${++fleets}`;
    const slot = Number(await nodes[0]?.command('CLUSTER', 'KEYSLOT', `{${fleet}}:meta`));
    const node = nodes[Math.floor((slot * NODES) / SLOTS)];
    return {
      connect: async () => {
        const store = await RedisStore.connect({ url: node?.url ?? '', fleet });
        t.after(() => store.close());
        return store;
      },
      clear: async () => void (await node?.command('FLUSHALL')),
    };
  },
  withoutRedis,
);
