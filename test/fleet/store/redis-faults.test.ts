// What the store does when Redis is away, refuses, forgets or answers into the void: coded errors, in time, and no effect
// twice.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Redis } from 'ioredis';
import { RedisStore, type RedisStoreOptions } from '#lib/fleet/store/redis-store.js';
import type { Heartbeat } from '#lib/fleet/store/types.js';
import { deadline } from '../../support/deadline.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';
import { LossyProxy } from './lossy-proxy.js';
import { beat, coded, commit, fullBeat, hostInfo, intent, start, until, withHosts } from './support.js';

const skip = withoutRedis;

async function connect(t: TestContext, options: Partial<RedisStoreOptions>): Promise<RedisStore> {
  const store = await RedisStore.connect({ fleet: 'f', commandTimeoutMs: 2000, ...options });
  t.after(() => store.close());
  return store;
}

test('a command whose answer was lost is sent again, and nothing is done twice', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const proxy = await LossyProxy.start(t, server.port);
  const store = await connect(t, { url: proxy.url });
  await withHosts(store, 'a');
  await store.setCordoned('a', true, intent());
  let lost = 0;
  /** Loses the first answer to a request of that name: its script is known to the server by its digest. */
  const losing = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const before = lost;
    proxy.loses = (request) => {
      if (lost > before || !/\r\neval(?:sha)?\r\n/i.test(request)) return false;
      lost++;
      return true;
    };
    const answer = await deadline(work(), name);
    assert.equal(lost, before + 1, `${name}: an answer was lost`);
    await until('the connection', () => store.now().then(Boolean, () => false));
    return answer;
  };
  const started = await losing('start', () => store.startRollout(start('r', 'm', ['a'])));
  assert.equal(started.outcome, 'duplicate', 'the second sending tells that the first one arrived');
  for (let revision = 0; revision < 3; revision++) {
    const change = commit('r', 'm', revision, { hosts: ['a'], writes: [{ place: 0, cell: { versions: [revision] } }] });
    const answer = await losing('commit', () => store.commit(change));
    assert.deepEqual([answer.outcome, answer.revision, answer.generation], ['duplicate', revision + 1, revision + 1]);
  }
  await losing('verb', () => store.addVerb('r', 'pause', intent()));
  assert.equal((await store.pendingVerbs('r')).length, 1);
  const gate = { verdict: 'pass' as const, message: '' };
  assert.deepEqual(await losing('gate', () => store.putGateResult('r', '0-0-1', gate)), gate);
  const cells = { model: 'n', expectGeneration: 0, hosts: ['a'], writes: [], intent: intent() };
  assert.equal((await losing('assert', () => store.assertCells(cells))).outcome, 'duplicate');
  await losing('uncordon', () => store.setCordoned('a', false, intent()));
  assert.deepEqual(await losing('heartbeat', () => store.heartbeat(fullBeat('a', 'x', 1))), {
    known: true,
    revision: (await store.readDesired('a'))?.revision,
  });
  assert.equal((await store.rolloutState('r'))?.revision, 3);
  assert.equal((await store.model('m'))?.generation, 3);
  assert.deepEqual(
    (await store.audit('m')).map(({ event }) => event),
    ['start', 'expand', 'expand', 'expand', 'pause'],
  );
  assert.equal((await store.audit('n')).length, 1);
  assert.equal((await store.audit('')).length, 2);
});

test('while Redis is away every call fails in time, and works again when it is back', { skip }, async (t) => {
  const server = await RedisServer.start(t, { aof: 'always' });
  const store = await connect(t, { url: server.url });
  await withHosts(store, 'a');
  await store.startRollout(start('r', 'm', ['a']));
  let rings = 0;
  await using _bell = await store.onDoorbell('a', () => rings++);
  await server.kill();
  const began = performance.now();
  const calls: readonly Promise<unknown>[] = [
    store.now(),
    store.meta(),
    store.readReports(['a']),
    store.heartbeat(fullBeat('a', 'x', 1)),
    store.commit(commit('r', 'm', 0)),
    store.onDoorbell('b', () => {}),
    store.confirm(1, 100),
    store.health(),
  ];
  await Promise.all(calls.map((call) => assert.rejects(deadline(call, 'a call'), coded('ERR_STORE_UNAVAILABLE'))));
  assert.ok(performance.now() - began < 4000, 'a connection that is known to be broken is not waited for');
  await server.restart();
  await until('the store', () => store.now().then(Boolean, () => false));
  assert.equal(rings, 1, 'a doorbell may have been lost meanwhile');
  const write = { hosts: ['a'], writes: [{ place: 0, cell: { versions: [1] } }] };
  assert.equal((await store.commit(commit('r', 'm', 0, write))).outcome, 'committed');
  await until('the bell', () => rings === 2);
});

test('after writes were lost no generation is given out twice, not even when that is lost too', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url });
  await withHosts(store, 'a');
  await store.startRollout(start('r', 'm', ['a']));
  const step = (revision: number) =>
    store.commit(commit('r', 'm', revision, { hosts: ['a'], writes: [{ place: 0, cell: { versions: [1] } }] }));
  await step(0);
  await server.command('SAVE');
  const given = [(await step(1)).generation, (await step(2)).generation];
  assert.deepEqual(given, [2, 3]);
  for (let life = 0; life < 2; life++) {
    await server.kill();
    await server.restart();
    await until('the store', () => store.now().then(Boolean, () => false));
    assert.equal((await store.model('m'))?.generation, 1, 'what was not saved is lost');
    const first = (await step(1)).generation;
    assert.ok(first > 1000, `${first}`);
    assert.equal((await step(2)).generation, first + 1, 'one jump for each life');
    assert.ok(!given.includes(first) && !given.includes(first + 1), `${first} of ${given}`);
    given.push(first, first + 1);
  }
});

/** The lease and the report as the last file of the server has them; the connection and the lease outlive its return. */
async function copy(server: RedisServer, from: string, to: string): Promise<void> {
  for (const key of ['l', 'h']) await server.command('COPY', `{f}:${from}${key}:a`, `{f}:${to}${key}:a`, 'REPLACE');
}

const status = (sequence: number) => ({ bootId: 'x', sequence, revision: 0, usedBytes: 5, clock: 1 });
const models = (generation: number) => new Map([['m', { generation, versions: [] }]]);

test('a small report after an older snapshot does not hide what the snapshot lacks', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url });
  await withHosts(store, 'a');
  await store.heartbeat({ ...fullBeat('a', 'x', 1), models: models(1) });
  await copy(server, '', 'old-');
  await store.heartbeat({ ...fullBeat('a', 'x', 2), models: models(2) });
  await store.heartbeat(beat('a', 'x', 3, { status: status(3) }));
  assert.equal((await store.readReports(['a']))[0]?.models.get('m')?.generation, 2);
  await copy(server, 'old-', '');
  const answer = await store.heartbeat(beat('a', 'x', 4, { status: status(4) }));
  assert.equal(answer.resend, true, 'the store has generation 1');
  assert.equal((await store.readLeases(['a']))[0]?.sequence, 0, 'a report with a gap');
  const whole = await store.heartbeat({ ...fullBeat('a', 'x', 5), models: models(2) });
  assert.equal(whole.resend, undefined);
  assert.equal((await store.readReports(['a']))[0]?.models.get('m')?.generation, 2);
});

test('what stood behind a lease in an older snapshot is not lost when its host has moved it since', {
  skip,
}, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url });
  await withHosts(store, 'a');
  const long = new Map([['n'.repeat(700), null]]);
  const next: Record<string, Heartbeat> = {
    'a beat that says nothing': beat('a', 'x', 2),
    'a small report': beat('a', 'x', 3, { status: status(3) }),
    'one too long to stand behind a lease': beat('a', 'x', 3, { status: status(3), models: long }),
  };
  for (const [what, following] of Object.entries(next)) {
    await store.heartbeat({ ...fullBeat('a', 'x', 1), models: models(1) });
    await store.heartbeat(beat('a', 'x', 2, { status: status(2), models: models(2) }));
    await copy(server, '', 'old-');
    // Says nothing: it renews the lease, and moves the report.
    await store.heartbeat(beat('a', 'x', 2));
    await copy(server, 'old-', '');
    assert.equal((await store.heartbeat(following)).resend, undefined, what);
    assert.equal((await store.readReports(['a']))[0]?.models.get('m')?.generation, 2, what);
    await store.leave('a', 'x');
    await server.command('DEL', '{f}:h:a');
  }
});

test('a Redis that holds its breath is not waited for, and its connection is made anew', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const proxy = await LossyProxy.start(t, server.port);
  const store = await connect(t, { url: proxy.url, commandTimeoutMs: 100 });
  await store.create();
  proxy.silent = true;
  const began = performance.now();
  await assert.rejects(store.create(), coded('ERR_STORE_UNAVAILABLE'));
  assert.ok(performance.now() - began < 2000);
  await until('another connection', () => proxy.connections > 1);
  proxy.silent = false;
  await until('the store', () => store.meta().then(Boolean, () => false));
});

test('closing ends what waits, at once', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url, commandTimeoutMs: 60_000 });
  await store.create();
  server.pause();
  const waiting = store.now();
  const began = performance.now();
  await store.close();
  await assert.rejects(waiting, coded('ERR_FLEET_CLOSED'));
  assert.ok(performance.now() - began < 1000);
});

test('a wrong password is a refusal, at the start and when it is changed later', { skip }, async (t) => {
  const server = await RedisServer.start(t, { password: 'right' });
  const { url } = server;
  for (const wrong of [url.replace('right', 'wrong'), url.replace(':right@', '')]) {
    await assert.rejects(connect(t, { url: wrong }), coded('ERR_STORE_DENIED'), wrong);
    const late = await connect(t, { url: wrong, waitForServer: false });
    await until('the refusal', () => late.now().catch((error) => error.code === 'ERR_STORE_DENIED'));
  }
  const store = await connect(t, { url });
  await store.create();
  const setPassword = async (password: string) => {
    await server.command('CONFIG', 'SET', 'requirepass', password);
    await server.command('CLIENT', 'KILL', 'TYPE', 'normal');
  };
  await setPassword('another');
  await until('the refusal', () => store.now().catch((error) => error.code === 'ERR_STORE_DENIED'));
  await setPassword('right');
  await until('the store', () => store.meta().then(Boolean, () => false));
});

test('a user without a right is refused, and one that may not ask for INFO is served', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  await server.command('ACL', 'SETUSER', 'host', 'on', '>pw', '~{f}:*', '&*', '+@all', '-info', '-config', '-hgetall');
  const url = server.url.replace('redis://', 'redis://host:pw@');
  const store = await connect(t, {
    options: { host: '127.0.0.1', port: server.port, username: 'host', password: 'pw' },
  });
  await store.create();
  await assert.rejects(store.hosts(), coded('ERR_STORE_DENIED'));
  assert.deepEqual(Object.keys(await store.health()).sort(), ['clockSkewMs', 'kind']);
  const other = await connect(t, { url, fleet: 'g' });
  await assert.rejects(other.create(), coded('ERR_STORE_DENIED'), 'no right to the keys');
});

test('a replica reads, and takes no writes', { skip }, async (t) => {
  const master = await RedisServer.start(t);
  const replica = await RedisServer.start(t, { replicaOf: master });
  const writer = await connect(t, { url: master.url });
  await withHosts(writer, 'a');
  assert.equal(await writer.confirm(1, 2000), 1);
  const reader = await connect(t, { url: replica.url });
  assert.deepEqual(await reader.meta(), await writer.meta());
  await assert.rejects(reader.enterHosts([hostInfo('b')]), coded('ERR_STORE_READ_ONLY'));
  await assert.rejects(reader.hint('a'), coded('ERR_STORE_READ_ONLY'));
  await assert.rejects(reader.heartbeat(fullBeat('a', 'x', 1)), coded('ERR_STORE_READ_ONLY'));
});

test('a connection that has only read waits for what others wrote', { skip }, async (t) => {
  const master = await RedisServer.start(t);
  const replica = await RedisServer.start(t, { replicaOf: master });
  const writer = await connect(t, { url: master.url });
  assert.equal(await writer.replicas(), 1);
  await withHosts(writer, 'a');
  assert.equal(await writer.confirm(1, 2000), 1);
  const reader = await connect(t, { url: master.url });
  assert.ok(await reader.meta());
  replica.pause();
  // It has everything but what confirm() itself writes: without that nobody would ask it.
  assert.equal(await reader.confirm(1, 100), 0);
  replica.resume();
  assert.equal(await reader.confirm(1, 2000), 1);
  const keys = await master.command('DBSIZE');
  assert.equal(await reader.confirm(1, 2000), 1);
  assert.equal(await master.command('DBSIZE'), keys, 'nothing grows');
  assert.ok(Number(await master.command('PTTL', '{f}:confirm')) > 0);
  await replica.stop();
  await until('the replica to be gone', async () => (await writer.replicas()) === 0);
});

test('a full Redis refuses a whole commit, or none of it', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url });
  await withHosts(store, 'a');
  await store.startRollout(start('r', 'm', ['a']));
  const before = [await store.rollout('r'), await store.readDesired('a'), await store.audit('m')];
  await server.command('CONFIG', 'SET', 'maxmemory', 1);
  const write = { hosts: ['a'], writes: [{ place: 0, cell: { versions: [1] } }] };
  await assert.rejects(store.commit(commit('r', 'm', 0, write)), coded('ERR_STORE_READ_ONLY'));
  await assert.rejects(store.hint('a'), coded('ERR_STORE_READ_ONLY'));
  for (let times = 0; times < 2; times++) assert.equal(await store.confirm(0, 10), 0, 'a way back is not held up');
  assert.deepEqual([await store.rollout('r'), await store.readDesired('a'), await store.audit('m')], before);
  await server.command('CONFIG', 'SET', 'maxmemory', 0);
  assert.equal((await store.commit(commit('r', 'm', 0, write))).outcome, 'committed');
});

test('a server that is too old is refused', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const proxy = await LossyProxy.start(t, server.port);
  proxy.edits = (answer) => answer.replace(/redis_version:\d/, 'redis_version:6');
  await assert.rejects(connect(t, { url: proxy.url }), coded('ERR_STORE_UNSUPPORTED'));
  const store = await connect(t, { url: proxy.url, waitForServer: false });
  await until('the refusal', () => store.create().catch((error) => error.code === 'ERR_STORE_UNSUPPORTED'));
  proxy.edits = (answer) => answer;
  proxy.cut();
  await until('the store', () => store.create().then(Boolean, () => false));
});

test('nobody there is unavailable; without waiting the store comes later', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  await server.kill();
  const began = performance.now();
  const away = connect(t, { url: server.url, commandTimeoutMs: 200 });
  await assert.rejects(away, coded('ERR_STORE_UNAVAILABLE'));
  assert.ok(performance.now() - began < 3000);
  const store = await connect(t, { url: server.url, waitForServer: false });
  await assert.rejects(store.create(), coded('ERR_STORE_UNAVAILABLE'));
  await server.restart();
  await until('the store', () => store.create().then(Boolean, () => false));
});

test('an instance of ioredis that is given stays open', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const redis = new Redis(server.url);
  t.after(() => redis.disconnect());
  const first = await connect(t, { redis });
  const second = await connect(t, { redis, fleet: 'g' });
  await withHosts(first, 'a');
  let rings = 0;
  await using _bell = await first.onDoorbell('a', () => rings++);
  const write = { model: 'm', expectGeneration: 0, hosts: ['a'], intent: intent() };
  await first.assertCells({ ...write, writes: [{ place: 0, cell: { versions: [1] } }] });
  await until('the bell', () => rings === 1);
  assert.equal(await second.meta(), undefined, 'another fleet');
  await first.close();
  assert.equal(await redis.ping(), 'PONG');
  await second.create();
});

test('bad options are named', { skip }, async () => {
  const bad = (options: object) => RedisStore.connect({ fleet: 'f', ...options } as RedisStoreOptions);
  await assert.rejects(bad({ ulr: 'redis://x' }), coded('ERR_UNKNOWN_OPTION'));
  await assert.rejects(bad({}), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(bad({ url: 'redis://x', options: {} }), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(bad({ url: 'http://x' }), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(bad({ url: 'redis://x', role: 'king' }), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(bad({ url: 'redis://x', commandTimeoutMs: 0 }), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(bad({ url: 'redis://x', fleet: 'a}b' }), coded('ERR_FLEET_INVALID_NAME'));
});

test('names that are no names are refused before anything is sent', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const store = await connect(t, { url: server.url });
  await store.create();
  const invalid = coded('ERR_FLEET_INVALID_NAME');
  await assert.rejects(store.hint('a:b'), invalid);
  await assert.rejects(store.readDesired('{a}'), invalid);
  await assert.rejects(store.model('!'), invalid);
  await assert.rejects(store.heartbeat({ ...fullBeat('a', 'x', 1), host: '' }), invalid);
  await assert.rejects(store.heartbeat(beat('a', 'x y', 1)), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(store.startRollout(start('r', 'm', [], { operation: 'a\tb' })), coded('ERR_INVALID_ARGUMENT'));
});
