// One id, one living agent: who comes second follows nothing, disturbs nothing, and waits for the other to go.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { FleetAgent } from '#lib/fleet/agent/fleet-agent.js';
import { LeaseWatch } from '#lib/fleet/agent/lease.js';
import { MemoryFleet } from '#lib/fleet/store/memory-store.js';
import { deadline } from '../../support/deadline.js';
import { coded } from '../../support/manager.js';
import { assertServes, codes, HEARTBEAT_MS, LoaderPark, ScriptedStore, startHost, tempDir, until } from './support.js';

test('two agents with one id: the second is told, serves on, follows nothing, and takes over when the first has gone', async (t) => {
  const stateDir = tempDir(t);
  const store = new ScriptedStore();
  const first = await startHost(t, { store });
  await first.agent.joined;
  store.write({ a: { generation: 1, versions: [1], primary: 1 } });
  await until(() => store.stateOf('a', 1) === 'Available', 'the first');
  // The second one has served something else before.
  const before = await startHost(t, { stateDir });
  await before.agent.joined;
  before.store.write({ b: { generation: 1, versions: [7], primary: 7 } });
  await until(() => before.store.stateOf('b', 7) === 'Available', 'b/7');
  await before.agent.close();

  const second = await startHost(t, { store, stateDir });
  await assert.rejects(deadline(second.agent.joined, 'joined'), coded('ERR_HOST_CONFLICT'));
  assert.equal(second.agent.status.state, 'conflict');
  await until(() => second.test.resolve('b') === 'b/7', 'what it had accepted');
  store.write({ a: { generation: 2, versions: [1, 2], primary: 2 } });
  await until(() => store.stateOf('a', 2) === 'Available', 'the first follows');
  assertServes(second, 'b/7');
  assert.deepEqual(codes(second.errors), ['ERR_HOST_CONFLICT'], 'told once, however often it tries');
  assert.equal(store.status?.bootId, first.agent.bootId, 'the report of the first is untouched');
  assert.equal(first.agent.status.state, 'joined');
  assert.deepEqual(first.errors, []);

  await first.agent.close();
  await until(() => second.agent.status.state === 'joined', 'the second to take over');
  await until(() => second.test.resolve('a') === 'a/2', 'the document');
  await until(
    () => store.status?.bootId === second.agent.bootId && !store.findings().includes('ERR_HOST_CONFLICT'),
    'the report',
  );
});

test('the lease is lost while the store was away: told, and served on', async (t) => {
  const host = await startHost(t);
  const { store, agent } = host;
  await agent.joined;
  store.write({ a: { generation: 1, versions: [1], primary: 1 } });
  await until(() => store.stateOf('a', 1) === 'Available', 'a/1');
  store.holder = 'somebody';
  await until(() => agent.status.state === 'conflict', 'the conflict');
  store.write({ a: { generation: 2, versions: [] } });
  await pause(3 * HEARTBEAT_MS);
  assertServes(host, 'a/1');
  store.holder = undefined;
  await until(
    () => host.test.resolve('a') === 'ERR_SERVABLE_NOT_FOUND',
    'the document, when the lease is its own again',
  );
  assert.equal(agent.status.state, 'joined');
});

test('two agents on one state folder: the second does not start', async (t) => {
  const stateDir = tempDir(t);
  const {
    test: { manager },
    store,
    loaders,
  } = await startHost(t, { stateDir });
  const options = { fleet: 'f', id: 'h1', stateDir, manager, store, loader: loaders.factory };
  await assert.rejects(FleetAgent.start(options), coded('ERR_HOST_CONFLICT'));
  const other = await startHost(t, { stateDir, id: 'h2' });
  await other.agent.joined;
});

test('a lease of an earlier boot that may be alive is waited for before anybody is told', () => {
  const maybe = new LeaseWatch({ bootId: 'b1', fate: 'unknown', pid: 7 }, 1_000);
  assert.equal(maybe.heldBy('b1', 100), 'ours-maybe');
  assert.equal(maybe.heldBy('b1', 1_500), 'ours-maybe');
  assert.equal(maybe.heldBy('b1', 1_601), 'other', 'it is being renewed');
  assert.equal(maybe.heldBy('b2', 1_602), 'other');
  const gone = new LeaseWatch({ bootId: 'b1', fate: 'gone', pid: 7 }, 1_000);
  assert.equal(gone.heldBy('b1', 0), 'ours-gone');
  gone.gaveBack();
  assert.equal(gone.heldBy('b1', 0), 'other');
  assert.equal(new LeaseWatch(undefined, 1_000).heldBy('b1', 0), 'other');
});

test('over the store in memory: the lease of a dead agent runs out and the next one has it', async (t) => {
  let now = 1_000_000;
  const fleet = new MemoryFleet({ now: () => now });
  const stateDir = tempDir(t);
  const dead = fleet.connect();
  await dead.create();
  await dead.heartbeat({ host: 'h1', bootId: 'dead', sequence: 0, leaseMs: 30_000 });
  const { manager } = (await startHost(t)).test;
  const agent = await FleetAgent.start({
    fleet: dead.fleet,
    id: 'h1',
    store: fleet.connect(),
    stateDir,
    manager,
    loader: new LoaderPark().factory,
    heartbeatIntervalMs: HEARTBEAT_MS,
    onError: () => {},
  });
  t.after(() => agent.close());
  await assert.rejects(deadline(agent.joined, 'joined'), coded('ERR_HOST_CONFLICT'));
  now += 30_001;
  await until(() => agent.status.state === 'joined', 'the lease');
});
