// What doctor finds: on real servers that are set up badly, and on hosts that report what is wrong.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Evidence, examine, type Finding, installedVersion, judge } from '#lib/fleet/doctor.js';
import { MemoryFleet } from '#lib/fleet/store/memory-store.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import { RedisServer, type RedisServerOptions, withoutRedis } from '../../support/redis-server.js';
import { beat, fullBeat, hostInfo, intent, withHosts } from './support.js';

const skip = withoutRedis;
const codes = (findings: readonly Finding[]) =>
  findings.filter(({ level }) => level !== 'ok').map(({ level, code }) => `${level} ${code ?? '-'}`);

async function onServer(t: TestContext, options: RedisServerOptions): Promise<[RedisServer, RedisStore]> {
  const server = await RedisServer.start(t, options);
  const store = await RedisStore.connect({ url: server.url, fleet: 'f' });
  t.after(() => store.close());
  return [server, store];
}

test('a server as it should be has nothing but good news', { skip }, async (t) => {
  const [server, store] = await onServer(t, { aof: true });
  await RedisServer.start(t, { replicaOf: server });
  await withHosts(store, 'a');
  await store.heartbeat(fullBeat('a', 'x', 1));
  const findings = await examine(store);
  assert.deepEqual(codes(findings), []);
  assert.match(findings[0]?.message ?? '', /^Redis \d+\.\d+/);
  assert.deepEqual(
    findings.slice(1).map(({ message }) => message.replace(/[\d.]{5,}/, 'N')),
    ['1 of 1 hosts alive', 'bullmq N'],
  );
});

test('no disk, eviction, no replica: each is found', { skip }, async (t) => {
  const [server, store] = await onServer(t, { maxmemory: 1 << 30, args: ['--maxmemory-policy', 'allkeys-lru'] });
  await store.create();
  const expected = ['error ERR_STORE_NOT_DURABLE', 'error ERR_STORE_EVICTS', 'warning -'];
  assert.deepEqual(codes(await examine(store)), expected);
  await server.command('CONFIG', 'SET', 'maxmemory', '0');
  assert.equal(codes(await examine(store))[1], 'warning ERR_STORE_EVICTS', 'nothing is evicted without a limit');
  await server.command('CONFIG', 'SET', 'appendonly', 'yes');
  await server.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
  await server.command('CONFIG', 'SET', 'maxmemory', (await store.health()).usedMemory as number);
  assert.deepEqual(codes(await examine(store)), ['warning ERR_STORE_READ_ONLY', 'warning -']);
});

test('a replica, and a store without the fleet, are found', { skip }, async (t) => {
  const master = await RedisServer.start(t, { aof: true });
  const [, store] = await onServer(t, { replicaOf: master, aof: true });
  assert.deepEqual(codes(await examine(store)), ['error ERR_STORE_READ_ONLY', 'error ERR_STORE_EMPTY']);
});

test('what hosts report is found, with their names', async () => {
  const fleet = new MemoryFleet();
  const store = fleet.connect();
  const ids = Array.from({ length: 8 }, (_, i) => `h${i}`);
  await withHosts(store, ...ids);
  await store.enterHosts([hostInfo('h7', { schema: 9 })]);
  const now = await store.now();
  const findings = [{ code: 'ERR_DOCUMENT_UNDECODABLE', message: 'm is broken' }];
  for (const id of ids.slice(1, 7)) {
    const status = { bootId: id, sequence: 1, revision: 0, usedBytes: 0, clock: now, findings };
    await store.heartbeat(beat(id, id, 1, { info: hostInfo(id), status }));
  }
  const late = { bootId: 'x', sequence: 1, revision: 0, usedBytes: 0, clock: now + 3_600_000 };
  await store.heartbeat(beat('h7', 'x', 1, { info: hostInfo('h7'), status: late }));
  const found = (await examine(store)).filter(({ level }) => level !== 'ok').slice(1);
  assert.deepEqual(found, [
    { level: 'warning', message: 'Hosts that are away: h0.' },
    {
      ...{ level: 'error', code: 'ERR_DOCUMENT_UNDECODABLE' },
      message: 'h1, h2, h3, h4, h5 and 1 more: m is broken',
    },
    {
      ...{ level: 'error', code: 'ERR_SCHEMA_UNSUPPORTED' },
      message: 'Agents that speak schema 9, this package 1: h7.',
    },
    {
      ...{ level: 'warning', code: 'ERR_HOST_CLOCK_WRONG' },
      message: 'Clocks that are far from that of the store: h7.',
    },
  ]);
});

test('hosts with more models than Redis packs together are found, with what to type', { skip }, async (t) => {
  const [server, store] = await onServer(t, { args: ['--hash-max-listpack-entries', '4'] });
  await withHosts(store, 'a', 'b');
  const names = ['m1', 'm2', 'm3', 'm4', 'm5', 'm6'];
  for (const model of names) {
    const writes = [{ place: model < 'm4' ? 0 : 1, cell: { versions: [1] } }];
    await store.assertCells({ model, expectGeneration: 0, hosts: ['b', 'a'], writes, intent: intent() });
  }
  const found = async () =>
    (await examine(store)).filter(({ message }) => message.includes('listpack')).map(({ message }) => message);
  const said = 'take three times the memory. Type: CONFIG SET hash-max-listpack-entries';
  assert.deepEqual(await found(), [`Documents of 4 models and more ${said} 12`], 'nobody has so many yet');
  const report = async (host: string, models: readonly string[]) => {
    const reports = new Map(models.map((model) => [model, { generation: 1, versions: [] }]));
    await store.heartbeat({ ...fullBeat(host, host, 1), models: reports });
  };
  await report('a', names.slice(0, 3));
  await report('b', names);
  assert.deepEqual(await found(), [
    `Documents of 4 models and more, as those of b, ${said} 12; those that are there shrink when Redis is restarted with it`,
  ]);
  await server.command('CONFIG', 'SET', 'hash-max-listpack-entries', '12');
  assert.deepEqual(await found(), []);
});

test('a server that takes fewer connections than there are hosts is found, with what to type', { skip }, async (t) => {
  const [server, store] = await onServer(t, { args: ['--maxclients', '102'] });
  await withHosts(store, 'a', 'b', 'c');
  const found = async () =>
    (await examine(store)).filter(({ message }) => message.includes('maxclients')).map(({ message }) => message);
  const message = 'Redis takes 102 connections, and each of 3 hosts needs one. Type: CONFIG SET maxclients 106';
  assert.deepEqual(await found(), [message]);
  await server.command('CONFIG', 'SET', 'maxclients', '106');
  assert.deepEqual(await found(), []);
});

test('versions, clocks and settings are judged one by one', () => {
  const good: Evidence = {
    health: { kind: 'redis', version: '7.0.15', role: 'master', appendOnly: true, replicas: 1, clockSkewMs: 3 },
    meta: { schema: 1, incarnation: 'i', createdAt: 0 },
    ...{ hosts: [], leases: [], reports: [], models: 600, now: 0, bullmq: '6.3.5' },
  };
  const judged = (more: Partial<Evidence>) => codes(judge({ ...good, ...more }));
  const health = (more: Partial<Evidence['health']>) => judged({ health: { ...good.health, ...more } });
  assert.deepEqual(judged({}), []);
  assert.deepEqual(health({ version: '6.2.14' }), ['error ERR_STORE_UNSUPPORTED']);
  assert.deepEqual(health({ version: '10.0.0' }), []);
  assert.deepEqual(health({ clockSkewMs: -6000 }), ['warning ERR_HOST_CLOCK_WRONG']);
  assert.deepEqual(health({ listpackEntries: 512 }), ['warning -']);
  assert.deepEqual(health({ listpackEntries: 1024 }), []);
  assert.deepEqual(judged({ meta: { schema: 2, incarnation: 'i', createdAt: 0 } }), ['error ERR_SCHEMA_UNSUPPORTED']);
  for (const bullmq of ['6.3.4', '6.2.9', '5.70.1']) assert.deepEqual(judged({ bullmq }), ['error ERR_PEER_NOT_FOUND']);
  for (const bullmq of ['6.3.10', '6.10.0', '7.0.0']) assert.deepEqual(judged({ bullmq }), []);
  assert.deepEqual(judged({ bullmq: undefined }), ['warning ERR_PEER_NOT_FOUND']);
  assert.match(installedVersion('bullmq') ?? '', /^\d+\.\d+\.\d+/);
  assert.equal(installedVersion('no-such-package'), undefined);
});
