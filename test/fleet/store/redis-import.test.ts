// Imports that do not get to their end, and two at once.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Redis } from 'ioredis';
import { decodeCell } from '#lib/fleet/codec.js';
import { RedisStore, type RedisStoreOptions } from '#lib/fleet/store/redis-store.js';
import type { FleetExport, FleetStore } from '#lib/fleet/store/types.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';
import { coded, intent, withHosts } from './support.js';

const skip = withoutRedis;

async function connect(t: TestContext, options: Partial<RedisStoreOptions>): Promise<RedisStore> {
  const store = await RedisStore.connect({ fleet: 'f', ...options });
  t.after(() => store.close());
  return store;
}

/** Writes a cell for each host: another generation each time. */
async function tell(store: FleetStore, hosts: readonly string[], version: number): Promise<void> {
  const expectGeneration = (await store.model('m'))?.generation ?? 0;
  const writes = hosts.map((_, place) => ({ place, cell: { versions: [version] } }));
  const { outcome } = await store.assertCells({ model: 'm', expectGeneration, hosts, writes, intent: intent() });
  assert.equal(outcome, 'committed');
}

/** The export of a fleet with a model of these hosts; the store is empty behind it. */
async function exportOf(server: RedisServer, store: FleetStore, ...hosts: string[]): Promise<FleetExport> {
  await withHosts(store, ...hosts);
  await tell(store, hosts, 1);
  const saved = await store.exportAll();
  await server.command('FLUSHALL');
  return saved;
}

test('an import that fails makes room for another one, and leaves nothing of its own in it', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url });
  const saved = await exportOf(server, store, 'a', 'b');
  const other = await exportOf(server, store, 'b');
  await server.command('ACL', 'SETUSER', 'half', 'on', '>pw', '~{f}:*', '&*', '+@all', '-sadd');
  const half = await connect(t, { url: server.url.replace('redis://', 'redis://half:pw@') });
  await assert.rejects(half.importAll(saved, intent()), coded('ERR_STORE_DENIED'));
  assert.equal(await server.command('HLEN', '{f}:hosts'), 2, 'the hosts were written before');
  assert.equal(await server.command('EXISTS', '{f}:importing'), 0);
  await store.importAll(other, intent());
  assert.deepEqual(
    (await store.hosts()).map(({ info, index }) => [info.id, index]),
    [['b', 0]],
  );
  assert.equal(await store.readDesired('a'), undefined);
});

test('an import that was killed is taken over by the same operation', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url });
  const saved = await exportOf(server, store, 'a', 'b');
  const gate = await gated(t, server, 'aspiredFleetImportPart');
  const killed = intent('restore-1');
  const first = gate.store.importAll(saved, killed);
  await gate.reached;
  await assert.rejects(store.importAll(saved, intent()), (error: Error) => {
    coded('ERR_ROLLOUT_CONFLICT')(error);
    return /restore-1/.test(error.message);
  });
  const meta = await store.importAll(saved, killed);
  // It was not dead: what controllers wrote since stays.
  await tell(store, ['a', 'b'], 2);
  gate.open();
  assert.deepEqual(await first, meta);
  const cell = (await store.readDesired('a'))?.cells.get('m') ?? '';
  assert.deepEqual(decodeCell(cell).versions, [2]);
});

test('of two runs of the same import the one that was taken over writes nothing more', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url });
  const saved = await exportOf(server, store, 'a', 'b');
  const [slow, taker] = [
    await gated(t, server, 'aspiredFleetImportPart'),
    await gated(t, server, 'aspiredFleetImportEnd'),
  ];
  const both = intent();
  const first = slow.store.importAll(saved, both);
  await slow.reached;
  const second = taker.store.importAll(saved, both);
  await taker.reached;
  slow.open();
  await assert.rejects(first, coded('ERR_ROLLOUT_CONFLICT'));
  assert.equal(await server.command('EXISTS', '{f}:importing'), 1, 'it is that of the other one');
  taker.open();
  assert.deepEqual(await second, await store.meta());
});

test('a document with thousands of models is imported whole', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url });
  const saved = await exportOf(server, store, 'a');
  const cells = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`m${i}`, '1;1;1*']));
  await store.importAll({ ...saved, desired: { a: cells } }, intent());
  assert.equal((await store.readDesired('a'))?.cells.size, 5_000);
});

/** A store that stops before the first call of a script. */
async function gated(t: TestContext, server: RedisServer, script: string) {
  const redis = new Redis(server.url);
  t.after(() => redis.disconnect());
  const store = await connect(t, { redis });
  const commands = redis as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  const original = commands[script];
  assert.ok(original);
  let open = () => {};
  let reach = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  commands[script] = async (...args) => {
    reach();
    await opened;
    return original.apply(redis, args);
  };
  return { store, open, reached };
}
