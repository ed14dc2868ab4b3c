// What the store costs Redis, in commands and in bytes: numbers that do not depend on how busy the machine is. And what its
// scripts touch: keys that they declare, of one hash tag.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { Redis } from 'ioredis';
import { SCRIPTS } from '#lib/fleet/store/redis/scripts/index.js';
import { RedisStore } from '#lib/fleet/store/redis-store.js';
import type { ModelReport } from '#lib/fleet/types.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';
import { beat, commit, fullBeat, hostInfo, intent, start, until, withHosts } from './support.js';

const skip = withoutRedis;

async function storesOn(t: TestContext, server: RedisServer, count: number): Promise<readonly RedisStore[]> {
  const connect = () => RedisStore.connect({ url: server.url, fleet: 'f' });
  const stores = await Promise.all(Array.from({ length: count }, connect));
  t.after(async () => {
    await Promise.all(stores.map((store) => store.close()));
  });
  return stores;
}

test('a change costs at most 6 commands per host, over write, ring, pull, report and look', { skip }, async (t) => {
  const HOSTS = 100;
  const ROUNDS = 4;
  const server = await RedisServer.start(t);
  const ids = Array.from({ length: HOSTS }, (_, i) => `host-${i}`);
  const [controller, ...agents] = await storesOn(t, server, HOSTS + 1);
  assert.ok(controller);
  await withHosts(controller, ...ids);
  await controller.startRollout(start('r', 'm', ids));
  const sequences = ids.map(() => 1);
  let reported = 0;
  const pull = async (agent: RedisStore, i: number) => {
    const id = ids[i] as string;
    const { revision = 0 } = (await agent.readDesired(id)) ?? {};
    const sequence = (sequences[i] ?? 0) + 1;
    sequences[i] = sequence;
    const status = { bootId: id, sequence, revision, usedBytes: 123_456_789, clock: 1_764_000_000_000 };
    const versions: ModelReport['versions'] = [
      { version: 42, managerState: 'Available', ramBytes: 123_456_789, loadMs: 812.125 },
      { version: 43, managerState: 'Loading' },
    ];
    await agent.heartbeat(beat(id, id, sequence, { status, models: new Map([['m', { generation: 1, versions }]]) }));
    reported++;
  };
  await Promise.all(
    agents.map(async (agent, i) => {
      await agent.heartbeat({ ...fullBeat(ids[i] as string, ids[i] as string, 1), leaseMs: 600_000 });
      await agent.onDoorbell(ids[i] as string, () => void pull(agent, i));
    }),
  );
  await controller.readReports(ids, ['m']);
  const round = async (revision: number) => {
    reported = 0;
    const writes = ids.map((_, place) => ({ place, cell: { versions: [42, 43], primary: 42, watch: true } }));
    await controller.commit(commit('r', 'm', revision, { hosts: ids, writes }));
    await until('all reports', () => reported === HOSTS);
    await controller.readLeases(ids);
    const reports = await controller.readReports(ids, ['m']);
    assert.ok(reports.every((report, i) => report?.status.sequence === sequences[i]));
    assert.ok(reports.every((report) => report?.models.get('m')?.versions.length === 2));
  };
  await round(0);
  await server.command('CONFIG', 'RESETSTAT');
  for (let i = 0; i < ROUNDS; i++) await round(1 + i);
  const stats = await server.info('commandstats');
  let calls = 0;
  for (const [name, text] of Object.entries(stats)) {
    if (!/info|config|client/.test(name)) calls += Number(/calls=(\d+)/.exec(text)?.[1]);
  }
  const perChange = calls / (HOSTS * ROUNDS);
  t.diagnostic(`${perChange.toFixed(2)} commands per host and change`);
  assert.ok(perChange <= 6, `${perChange} commands per host and change`);
  assert.ok(perChange >= 4, 'fewer cannot be: the count is broken');
});

test('a usual cell takes at most 30 bytes of Redis, its share of the document with it', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const [store] = await storesOn(t, server, 1);
  assert.ok(store);
  await withHosts(store, 'a');
  const sizes: string[] = [];
  for (let models = 1; models <= 500; models++) {
    const cell = { versions: [42, 43], primary: 43 };
    const writes = { hosts: ['a'], writes: [{ place: 0, cell }] };
    await store.assertCells({
      ...writes,
      model: `ranker-${models}`,
      expectGeneration: 0,
      generationAbove: 56,
      intent: intent(),
    });
    if (models % 100 !== 0) continue;
    assert.equal(await server.command('OBJECT', 'ENCODING', '{f}:d:a'), 'listpack');
    const bytes = Number(await server.command('MEMORY', 'USAGE', '{f}:d:a')) / models;
    sizes.push(`${bytes.toFixed(1)} of ${models}`);
    assert.ok(bytes <= 30, `${bytes} bytes per cell of ${models}`);
  }
  t.diagnostic(`bytes per cell: ${sizes.join(', ')}`);
});

/** Makes use of every script. */
async function exercise(store: RedisStore, server: RedisServer): Promise<void> {
  await withHosts(store, 'a', 'b');
  await store.heartbeat(fullBeat('a', 'x', 1));
  await store.heartbeat(beat('a', 'x', 2, { models: new Map([['m', null]]) }));
  await store.heartbeat(fullBeat('a', 'x', 3));
  await store.confirm(0, 1);
  await store.leave('a', 'x');
  await store.setCordoned('a', true, intent());
  for (let i = 0; i < 22; i++) {
    await store.startRollout(start(`r${i}`, 'm', ['a', 'b']));
    await store.addVerb(`r${i}`, 'pause', intent());
    await store.putGateResult(`r${i}`, '0-0-0', { verdict: 'pass', message: '' });
    const [verb] = await store.pendingVerbs(`r${i}`);
    const answers = [{ id: verb?.id ?? '', verb: 'pause' as const, outcome: 'applied' as const, message: '' }];
    const more = {
      hosts: ['a', 'b'],
      writes: [{ place: 1, cell: { versions: [i] } }],
      verbs: { upTo: verb?.id ?? '', answers },
    };
    const modelChange = { stable: i, tombstone: i + 100, release: true as const };
    await store.commit(commit(`r${i}`, 'm', 0, { ...more, modelChange }));
  }
  await store.assertCells({
    model: 'n',
    expectGeneration: 0,
    hosts: ['a'],
    writes: [],
    intent: intent(),
    tombstones: [1],
  });
  await store.enterHosts([hostInfo('c')]);
  await store.removeHost('c', intent());
  const saved = await store.exportAll();
  await server.command('FLUSHALL');
  // One that fails, and one that does not.
  await server.command('SET', '{f}:models', 'no set');
  await assert.rejects(store.importAll(saved, intent()));
  await server.command('DEL', '{f}:models');
  await store.importAll(saved, intent());
}

test('scripts touch the keys that they declare, and all keys have one hash tag', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const [store] = await storesOn(t, server, 1);
  assert.ok(store);
  const names = new Map(SCRIPTS.map(({ name, lua }) => [createHash('sha1').update(lua).digest('hex'), name]));
  const seen = new Set<string>();
  const breaches: string[] = [];
  let touched = 0;
  let running = { name: '', keys: new Set<string>() };
  // Once unseen: from then on each script goes by its digest.
  await exercise(store, server);
  await server.command('FLUSHALL');
  const client = new Redis(server.url);
  t.after(() => client.disconnect());
  const monitor = await client.monitor();
  t.after(() => monitor.disconnect());
  monitor.on('monitor', (_time: string, [command = '', ...args]: string[], source: string) => {
    if (/^eval(sha)?$/i.test(command)) {
      const [digest = '', count, ...keys] = args;
      const name = names.get(digest) ?? `an unknown script ${digest.slice(0, 40)}`;
      running = { name, keys: new Set(keys.slice(0, Number(count))) };
      seen.add(name);
    } else if (source === 'lua' && !/^(time|info)$/i.test(command)) {
      const keys = /^unlink$/i.test(command) ? args : args.slice(0, 1);
      for (const key of keys) {
        touched++;
        if (!running.keys.has(key) || !key.startsWith('{f}:')) breaches.push(`${running.name}: ${command} ${key}`);
      }
    }
  });
  await exercise(store, server);
  await store.create();
  await until('the last script', () => running.name === 'aspiredFleetCreate');
  assert.deepEqual(breaches, []);
  await server.command('EVAL', "return redis.call('SET', 'elsewhere', '1')", '0');
  await until('the control', () => breaches.length > 0);
  assert.match(breaches.join(), /^an unknown script .*: SET elsewhere$/i, 'the check sees what it looks for');
  await server.command('DEL', 'elsewhere');
  assert.ok(touched > 500, `${touched} keys were looked at`);
  const unused = SCRIPTS.map(({ name }) => name).filter((name) => !seen.has(name));
  assert.deepEqual(unused, [], 'every script was run');
  const keys = (await server.command('KEYS', '*')) as string[];
  assert.deepEqual(
    keys.filter((key) => !key.startsWith('{f}:')),
    [],
  );
});
