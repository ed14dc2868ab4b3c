// What happens to Redis and to controllers, and what rollouts make of it. Alone: some of it is about time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { decodeCell } from '#lib/fleet/codec.js';
import { PlannedStarts } from '#lib/fleet/controller/planned-starts.js';
import { QueueFactory } from '#lib/fleet/controller/queues.js';
import { deadline } from '../../support/deadline.js';
import { coded } from '../../support/manager.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';
import { LossyProxy } from '../store/lossy-proxy.js';
import { MODEL, until, WHO } from './fleet.js';
import { ControllerProcess, startFleet } from './redis-fleet.js';

const skip = withoutRedis;

test('Redis is killed and comes back with its data: the rollout goes on', { skip }, async (t) => {
  const server = await RedisServer.start(t, { aof: 'always' });
  const fleet = await startFleet(t, server);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '500ms' });
  await fleet.reaches(rollout, 'Bake', 0);
  await server.kill();
  await until(() => fleet.codes().includes('ERR_STORE_UNAVAILABLE'), 'the outage to be noticed');
  await server.restart();
  await fleet.ends(rollout, 'Promoted', 30_000);
  await fleet.serves(2);
});

test('Redis stops for longer than leases and locks: nobody is taken for dead', { skip }, async (t) => {
  const server = await RedisServer.start(t, { aof: true });
  const fleet = await startFleet(t, server);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '500ms' });
  await fleet.reaches(rollout, 'Bake', 0);
  const stopped = performance.now();
  server.pause();
  await until(() => performance.now() - stopped > 6_500, 'the locks to end');
  assert.equal(fleet.host(0).serves() === 2 || fleet.host(0).serves() === 1, true);
  server.resume();
  await fleet.ends(rollout, 'Promoted', 30_000);
  await fleet.serves(2);
});

test('FLUSHALL in the middle of a rollout: refused, restored from the hosts, and on it goes', { skip }, async (t) => {
  const server = await RedisServer.start(t, {});
  const fleet = await startFleet(t, server);
  await fleet.control();
  await fleet.ends((await fleet.rollout({ version: 2 })).rollout, 'Promoted');
  const lost = await fleet.rollout({ version: 3, bake: '10m' });
  await fleet.reaches(lost.rollout, 'Bake', 0);
  const served = fleet.hosts.map((host) => host.serves());
  await server.command('FLUSHALL');
  await until(() => fleet.codes().includes('ERR_STORE_EMPTY'), 'the loss to be noticed');
  assert.deepEqual(
    fleet.hosts.map((host) => host.serves()),
    served,
  );
  await fleet.client.restoreFromHosts(WHO, { hosts: fleet.hosts.length });
  await fleet.serves(2);
  await fleet.ends(lost.rollout, 'StoreLost');
  await fleet.ends((await fleet.rollout({ version: 4 })).rollout, 'Promoted');
  await fleet.serves(4);
});

test('Redis comes back without its last writes: the hold names the hosts that are ahead of it', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  // A test that stands still for a while must not lose a host that it counts.
  const fleet = await startFleet(t, server, { leaseMs: 60_000 });
  const ids = fleet.hosts.map(({ id }) => id);
  const seen = async () =>
    (await fleet.store.readReports(ids)).map((report) => report?.models.get(MODEL)?.generation ?? 0);
  const told = async () =>
    (await fleet.store.readCells(MODEL, ids)).map((cell) => (cell === undefined ? 0 : decodeCell(cell).generation));
  const before = await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '10m' });
  await fleet.reaches(rollout, 'Bake', 0);
  const saved = await told();
  await server.command('SAVE');
  await fleet.client.promote(rollout, WHO);
  await fleet.reaches(rollout, 'Bake', 1);
  const last = await told();
  await until(async () => isDeepStrictEqual(await seen(), last), 'the hosts to accept what they are told');
  await before.close();
  await server.restart();
  await until(async () => isDeepStrictEqual(await seen().catch(() => []), last), 'the hosts to say what they accepted');
  assert.deepEqual(await told(), saved, 'the store has lost it');
  const ahead = ids.filter((_, index) => saved[index] !== last[index]);
  assert.equal(ahead.length, 3, 'all but the first wave');
  // Hosts are told anew, and the hold is over, after two heartbeats: that long the test can look at it.
  const after = await fleet.control({ heartbeatIntervalMs: 60_000 });
  const hold = () => after.status().active.get(rollout);
  await until(
    () => hold()?.code === 'store-regression',
    () => `the hold: ${hold()?.code}`,
  );
  assert.deepEqual([[...(hold()?.hosts ?? [])].sort(), hold()?.hostCount], [ahead, 3]);
  const written = (await fleet.store.rolloutState(rollout))?.state.hold;
  assert.deepEqual(written, hold(), 'for whoever asks');
  await after.close();
  await fleet.control();
  const isAbove = (generation: number, index: number) =>
    !ahead.includes(ids[index] as string) || generation > (last[index] as number);
  await until(async () => (await told()).every(isAbove), 'them to be told anew');
});

test('confirmation by a replica, and without one', { skip }, async (t) => {
  const server = await RedisServer.start(t, { aof: true });
  const replica = await RedisServer.start(t, { replicaOf: server });
  const fleet = await startFleet(t, server, { minReplicas: 1 });
  await until(async () => (await fleet.store.confirm(1, 100)) === 1, 'the replica to be up to date');
  await fleet.control({ minReplicas: 1 });
  const { rollout, replicated } = await fleet.rollout({ bake: '10m' });
  assert.equal(replicated, 1);
  await fleet.reaches(rollout, 'Bake', 0);
  await until(async () => (await fleet.store.confirm(1, 100)) === 1, 'the replica to have it all');
  await replica.stop();
  await until(async () => (await fleet.get(rollout)).state.hold?.code === 'unconfirmed', 'the hold');
  const { outcome, replicated: alone } = await fleet.client.abort(rollout, WHO);
  assert.deepEqual([outcome, alone], ['applied', 0]);
  await fleet.ends(rollout, 'Aborted');
  await fleet.serves(1);
});

test('a controller that stopped for longer than its lock finds the work done, and does no harm', {
  skip,
}, async (t) => {
  const server = await RedisServer.start(t);
  const fleet = await startFleet(t, server);
  const zombie = await ControllerProcess.start(t, server, fleet, 'zombie');
  const { rollout } = await fleet.rollout({ bake: '2s', waves: [{ hosts: 1 }, { hosts: 1 }, { percent: 100 }] });
  await until(() => zombie.ticks > 3, 'the zombie to tick');
  const stopped = performance.now();
  zombie.stop();
  await fleet.control();
  await fleet.client.promoteFull(rollout, WHO);
  await fleet.ends(rollout, 'FastPromoted', 30_000);
  await until(() => performance.now() - stopped > 5_500, 'its locks to end');
  const { revision } = await fleet.get(rollout);
  const ticks = zombie.ticks;
  zombie.goOn();
  const next = await fleet.rollout({ version: 3, bake: '500ms' });
  await until(() => zombie.ticks > ticks, 'the zombie to tick again');
  await fleet.ends(next.rollout, 'Promoted', 30_000);
  assert.equal((await fleet.get(rollout)).revision, revision, 'what has ended is not touched');
  for (const id of [rollout, next.rollout]) {
    const trail = (await fleet.client.audit(MODEL, undefined, 1_000)).filter((entry) => entry.rollout === id);
    const revisions = trail.flatMap((entry) => entry.revision ?? []);
    assert.deepEqual(
      revisions,
      revisions.map((_, index) => index),
    );
  }
  await fleet.serves(3);
});

test('a controller that is killed leaves its rollout to another one', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const fleet = await startFleet(t, server);
  const first = await ControllerProcess.start(t, server, fleet, 'first');
  const { rollout } = await fleet.rollout({ bake: '1s' });
  await until(() => first.ticks > 3, 'it to tick');
  first.kill();
  await fleet.control();
  await fleet.ends(rollout, 'Promoted', 30_000);
  await fleet.serves(2);
});

test('a connection of the queues that fell silent is made anew, and the tick is not lost', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const proxy = await LossyProxy.start(t, server.port);
  const factory = await QueueFactory.load('silent', proxy.url, () => {}, 500);
  const queue = factory.queue<{ rollout: string }>('ticks');
  t.after(async () => {
    await factory.closeQueue(queue);
    factory.close();
  });
  const options = { deduplication: { id: 'r1' } };
  const { id } = await queue.add('tick', { rollout: 'r1' }, options);
  const { connections } = proxy;
  proxy.silent = true;
  const adding = queue.add('tick', { rollout: 'r1' }, options);
  await until(() => proxy.connections > connections, 'another connection');
  proxy.silent = false;
  assert.equal((await deadline(adding, 'the answer')).id, id);
});

test('planned starts wait for Redis as long as any command, and no longer', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const planned = await PlannedStarts.connect({ fleet: 'planned', store: { redis: server.url } });
  assert.deepEqual(await planned.list(), []);
  server.pause();
  const plan = { model: MODEL, version: 2 };
  const waiting: Promise<unknown>[] = [planned.list(), planned.cancel('planned-x'), planned.plan(plan, WHO, 0)];
  await Promise.all(
    waiting.map((answer) => assert.rejects(deadline(answer, 'an answer'), coded('ERR_STORE_UNAVAILABLE'))),
  );
  await deadline(planned.close(), 'close()');
  server.resume();
});

test('a controller closes promptly while Redis is away', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const fleet = await startFleet(t, server, { hosts: 2 });
  const controller = await fleet.control();
  await fleet.rollout({ bake: '10m' });
  server.pause();
  const began = performance.now();
  await controller.close();
  assert.ok(performance.now() - began < 8_000);
  server.resume();
});
