// Workers of the queues that stop consuming are replaced, and no others.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { QueueFactory } from '#lib/fleet/controller/queues.js';
import { TickQueue } from '#lib/fleet/controller/tick-queue.js';
import { WatchedWorker } from '#lib/fleet/controller/watched-worker.js';
import { RedisServer, withoutRedis } from '../../support/redis-server.js';
import { until } from './fleet.js';
import { openQueue, startFleet } from './redis-fleet.js';

const skip = withoutRedis;
const QUEUES = ['archive', 'gates', 'notify', 'schedule', 'ticks'];

test('a worker that stopped consuming is replaced', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const errors: unknown[] = [];
  const factory = await QueueFactory.load('watched', server.url, (error) => void errors.push(error));
  let ticks = 0;
  const tick = async (): Promise<void> => {
    ticks++;
  };
  const queue = new TickQueue({ factory, tick, concurrency: 1, onError: (error) => void errors.push(error) });
  t.after(async () => {
    await queue.close();
    factory.close();
  });
  queue.add('r1');
  await until(() => ticks === 1, 'a tick');
  // It runs, by what it says, and takes nothing: as older releases did after an outage.
  await queue.worker.pause();
  const stuck = queue.worker;
  queue.add('r2');
  await until(async () => {
    await queue.supervise();
    return queue.replaced === 1;
  }, 'the replacement');
  assert.notEqual(queue.worker, stuck);
  await until(() => ticks === 2, 'the tick that waited');
  for (let i = 0; i < 10; i++) await queue.supervise();
  assert.equal(queue.replaced, 1, 'one that has nothing to do is not replaced');
  assert.deepEqual(errors, []);
});

test('a worker is not replaced because others are busy, or because it is busy itself', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const errors: unknown[] = [];
  const onError = (error: unknown): void => void errors.push(error);
  const factory = await QueueFactory.load('busy', server.url, onError);
  const ends = new AbortController();
  const ended = once(ends.signal, 'abort');
  let begun = 0;
  const tick = async (): Promise<void> => {
    begun++;
    await ended;
  };
  const [one, other] = [1, 2].map(() => new TickQueue({ factory, tick, concurrency: 1, onError })) as [
    TickQueue,
    TickQueue,
  ];
  t.after(async () => {
    ends.abort();
    await Promise.all([one.close(), other.close()]);
    factory.close();
  });
  const look = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await Promise.all([one.supervise(), other.supervise()]);
  };
  one.add('r1');
  await until(() => begun === 1, 'a tick');
  await look();
  assert.deepEqual([one.replaced, other.replaced], [0, 0], 'one of them is busy, and nothing waits');
  one.add('r2');
  await until(() => begun === 2, 'the tick of the other one');
  one.add('r3');
  const queue = factory.queue('ticks');
  await until(async () => (await factory.waiting(queue)) === 1, 'a job that waits');
  await look();
  assert.deepEqual([one.replaced, other.replaced], [0, 0], 'both are busy, and one waits');
  assert.deepEqual(errors, []);
  await factory.closeQueue(queue);
});

test('a worker that does not notice that a delay is over is replaced', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const errors: unknown[] = [];
  const factory = await QueueFactory.load('delayed', server.url, (error) => void errors.push(error));
  const queue = factory.queue<object>('gates');
  let asked = 0;
  const work = async (): Promise<void> => void asked++;
  const worker = new WatchedWorker(queue, { factory, name: 'gates', work, options: { concurrency: 16 } });
  t.after(async () => {
    await worker.close();
    await factory.closeQueue(queue);
    factory.close();
  });
  await worker.worker.waitUntilReady();
  await worker.worker.pause();
  await queue.add('gate', {}, { delay: 3_600_000 });
  for (let i = 0; i < 5; i++) await worker.supervise();
  assert.equal(worker.replaced, 0, 'its time has not come');
  await queue.add('gate', {}, { delay: 1 });
  await until(async () => {
    await worker.supervise();
    return worker.replaced === 1;
  }, 'the replacement');
  await until(() => asked === 1, 'the job that was due');
  assert.deepEqual(errors, []);
});

test('a controller replaces the worker of each of its queues, by what waits in that queue', { skip }, async (t) => {
  const server = await RedisServer.start(t);
  const directory = await mkdtemp(join(tmpdir(), 'aspired-watched-'));
  t.after(() => rm(directory, { recursive: true }));
  const made = t.mock.method(QueueFactory.prototype, 'worker');
  const names = (from = 0): string[] => made.mock.calls.slice(from).map(({ arguments: [name] }) => name);
  const fleet = await startFleet(t, server, { hosts: 1 });
  const notify = ['http://127.0.0.1:9/'];
  const controller = await fleet.control({ notify, archiveDirectory: directory, tickIntervalMs: 100 });
  assert.deepEqual(names().sort(), QUEUES);
  // The archive first: it has a job of its own, and after that nothing waits in the other queues.
  for (const name of QUEUES) {
    const before = made.mock.callCount();
    const worker = made.mock.calls[names().lastIndexOf(name)]?.result;
    await worker?.waitUntilReady();
    await worker?.pause();
    const queue = await openQueue(t, server, fleet, name);
    // Of nothing that there is: it is done at once.
    await queue.add('test', { rollout: 'none', at: 0 });
    await until(() => names(before).includes(name), `another worker of ${name}`);
    const left = async () => (await queue.getJobCountByTypes('wait', 'active')) as number;
    await until(async () => (await left()) === 0, `the job that waited in ${name}`);
    await queue.close();
  }
  assert.equal(controller.status().replacedWorkers, made.mock.callCount() - QUEUES.length);
});
