// FleetAgent: joining, following the desired document, reporting.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AspiredError, type AspiredVersionsManager, type Loader, type ServableId } from 'aspired';
import { LoadTimes } from '#lib/fleet/agent/load-times.js';
import { ModelReports, memoryOf } from '#lib/fleet/agent/model-reports.js';
import { Prefetches } from '#lib/fleet/agent/prefetches.js';
import { packageVersion } from '#lib/fleet/version.js';
import { eventually } from '../../support/deadline.js';
import { ManualLoader, PendingCall } from '../../support/loaders.js';
import { assertServes, LoaderPark, moreBeats, ScriptedStore, startHost, until } from './support.js';

test('joins with what it is, and reports a host that has nothing', async (t) => {
  const { agent, store } = await startHost(t, { zone: 'eu-1a', labels: { gpu: 'no' }, capacity: 1_000 });
  await agent.joined;
  const info = {
    id: 'h1',
    zone: 'eu-1a',
    labels: { gpu: 'no' },
    capacityBytes: 1_000,
    agentVersion: packageVersion(),
    schema: 1,
  };
  assert.deepEqual(store.info, info);
  assert.equal(store.status?.bootId, agent.bootId);
  assert.equal(store.beats[0]?.leaseMs, 150, 'three heartbeats');
  assert.equal(agent.status.state, 'joined');
  assert.deepEqual(store.findings(), []);
});

test('the capacity is what the manager may give away, unless it is said', async (t) => {
  const { agent, store } = await startHost(t, { managerOptions: { resources: { ram: 123_456_789 } } });
  await agent.joined;
  assert.equal(store.info?.capacityBytes, 123_456_789);
});

test('follows its document from the first version to its removal', async (t) => {
  const host = await startHost(t);
  const { agent, store, loaders } = host;
  await agent.joined;
  store.write({ m: { generation: 1, versions: [42], primary: 42 } });
  await until(() => store.stateOf('m', 42) === 'Available', '42 to be reported');
  assertServes(host, 'm/42');
  assert.equal(store.models.get('m')?.generation, 1);
  assert.equal(store.models.get('m')?.primary, 42);
  assert.equal(store.status?.revision, 1);

  store.write({ m: { generation: 2, versions: [42, 43], primary: 42, watch: true } });
  await until(() => store.stateOf('m', 43) === 'Available', '43 to be reported');
  assert.equal(store.models.get('m')?.primary, 42, 'expanded, not flipped');

  store.write({ m: { generation: 3, versions: [42, 43], primary: 43, watch: true } });
  await until(() => store.models.get('m')?.primary === 43, 'the flip to be reported');
  assert.equal(host.test.resolve('m'), 'm/43');
  assert.deepEqual(loaders.loads, ['m/42', 'm/43'], 'a flip loads nothing');
  assert.deepEqual(loaders.unloads, []);

  store.write({ m: { generation: 4, versions: [42, 43], primary: 42, rolledBack: [43] } });
  await until(() => store.models.get('m')?.primary === 42, 'the flip back to be reported');
  assert.deepEqual(store.models.get('m')?.rolledBack, [43], 'it can testify to the rollback');
  assert.deepEqual(loaders.loads, ['m/42', 'm/43'], 'back is warm');

  store.write({ m: { generation: 5, versions: [] } });
  await until(() => store.models.get('m')?.generation === 5 && store.models.get('m')?.versions.length === 0, 'removal');
  assertServes(host);
  assert.deepEqual(host.errors, []);
});

test('a doorbell is followed at once, without a heartbeat', async (t) => {
  const { agent, store } = await startHost(t, { heartbeatIntervalMs: 60_000 });
  await agent.joined;
  // What is written now may be seen by the first reading; what comes after its report cannot.
  store.write({ m: { generation: 1, versions: [1] } });
  await until(() => store.stateOf('m', 1) === 'Available', 'the report');
  store.write({ m: { generation: 2, versions: [1, 2] } });
  await until(() => store.stateOf('m', 2) === 'Available', 'the next report');
});

test('a doorbell that is lost is made up for by the next heartbeat', async (t) => {
  const { agent, store } = await startHost(t);
  await agent.joined;
  store.write({ m: { generation: 2, versions: [2] } }, false);
  await until(() => store.stateOf('m', 2) === 'Available', 'the heartbeat');
});

test('says what a plain name resolves to, which is not always what was asked for', async (t) => {
  const { agent, store, loaders } = await startHost(t);
  const two = new PendingCall<string>();
  loaders.behaviour.set('m/2', () => two.promise);
  await agent.joined;
  store.write({ m: { generation: 1, versions: [1, 2], primary: 2 } });
  await until(() => store.stateOf('m', 1) === 'Available' && store.stateOf('m', 2) === 'Loading', '1');
  assert.equal(store.models.get('m')?.primary, 1);
  two.succeed('two');
  await until(() => store.models.get('m')?.primary === 2, '2');
});

test('a failure is called final at the second look only: the manager may not have named its retry yet', () => {
  const again: string[] = [];
  const state = {
    id: { name: 'm', version: 1 },
    managerState: 'End',
    aspired: true,
    attempts: 1,
    incarnation: 1,
    standby: false,
  };
  const error = new AspiredError('ERR_LOAD_FAILED', 'no such weights');
  const states: object[] = [{ ...state, error }];
  const manager = {
    getServableMetrics: () => [],
    getServableStates: () => states,
  } as unknown as AspiredVersionsManager;
  const prefetches = new Prefetches(undefined, () => {});
  const lookAgain = (model: string): void => void again.push(model);
  const reports = new ModelReports({ manager, prefetches, loadTimes: new LoadTimes(), lookAgain });
  const permanent = (): boolean | undefined =>
    reports.of('m', { cell: { generation: 1, versions: [1] }, text: '' }, new Map()).versions[0]?.error?.permanent;
  assert.equal(permanent(), false);
  assert.deepEqual(again, ['m']);
  assert.equal(permanent(), true);
  states[0] = { ...state, error, nextRetryAt: 5 };
  assert.equal(permanent(), false, 'a retry was named after all');
  states[0] = { ...state, error, incarnation: 2 };
  assert.equal(permanent(), false, 'another incarnation, another first look');
});

test('loads with the loaders of the host, the same object for as long as the version is in the cell', async (t) => {
  const seen: unknown[] = [];
  const host = await startHost(t, { managerOptions: { bake: false } });
  const {
    agent,
    store,
    test: { manager },
  } = host;
  await agent.joined;
  const original = manager.setAspiredVersions.bind(manager);
  manager.setAspiredVersions = (name, versions, options) => {
    seen.push(versions[0]?.loader);
    return original(name, versions, options);
  };
  store.write({ m: { generation: 1, versions: [1], primary: 1 } });
  await until(() => seen.length === 1, 'the first list');
  store.write({ m: { generation: 2, versions: [1, 2], primary: 1 } });
  await until(() => seen.length === 2, 'the second list');
  store.write({ m: { generation: 3, versions: [1, 2], primary: 2 } });
  await until(() => seen.length === 3, 'the flip');
  assert.ok(seen[0] !== undefined && seen[0] === seen[1] && seen[1] === seen[2], 'another loader is another try');
  store.write({ m: { generation: 4, versions: [1, 2], primary: 2, watch: true } });
  await until(() => store.models.get('m')?.generation === 4, 'the watch');
  assert.equal(seen.length, 3, 'what changes nothing for the manager is not told to it');
});

test('the policy of a cell is that of its model: the old one goes first where both do not fit', async (t) => {
  const host = await startHost(t);
  const { agent, store, loaders } = host;
  const two = new ManualLoader<string>();
  await agent.joined;
  store.write({ m: { generation: 1, versions: [1], primary: 1 } });
  await until(() => host.test.resolve('m') === 'm/1', '1');
  loaders.behaviour.set('m/2', () =>
    two.load({ id: { name: 'm', version: 2 }, signal: AbortSignal.timeout(60_000), attempt: 1 }),
  );
  store.write({ m: { generation: 2, versions: [2], primary: 2, resourcePreserving: true } });
  const attempt = await two.loading();
  assert.deepEqual(loaders.unloads, ['m/1'], '1 has gone before 2 begins');
  attempt.succeed('two');
  await until(() => host.test.resolve('m') === 'm/2', '2');
  loaders.behaviour.clear();
  store.write({ m: { generation: 3, versions: [3], primary: 3 } });
  await until(() => loaders.unloads.length === 2, 'the end of 2');
  assert.deepEqual(
    host.test.events.lines().filter((l) => l === 'm/3 Available' || l === 'm/2 Unloading'),
    ['m/3 Available', 'm/2 Unloading'],
    'without it the new one comes first again',
  );
});

test('reports failures with their attempts, and says when no retry will mend them', async (t) => {
  const loaders = new LoaderPark();
  let failures = 0;
  loaders.behaviour.set('m/1', () => {
    if (++failures <= 2) throw new Error('no such weights');
    return 'late';
  });
  loaders.behaviour.set('bad/1', () => {
    throw new Error('truncated');
  });
  const { agent, store } = await startHost(t, {
    loaders,
    managerOptions: {
      loadRetryIntervalMs: 30,
      maxNumLoadRetries: 3,
      shouldRetryModelLoad: (_error, { name }) => name !== 'bad',
    },
  });
  await agent.joined;
  store.write({ m: { generation: 1, versions: [1] }, bad: { generation: 1, versions: [1] } });
  await until(() => (store.version('m', 1)?.error?.attempts ?? 0) >= 1, 'the first failure');
  const { error } = store.version('m', 1) ?? {};
  assert.match(error?.message ?? '', /no such weights/);
  assert.equal(error?.code, 'ERR_LOAD_FAILED');
  assert.equal(error?.permanent, false);
  await until(() => store.stateOf('m', 1) === 'Available', 'the retry');
  assert.equal(store.version('m', 1)?.error, undefined, 'a failure that is over is not reported');
  await until(() => store.version('bad', 1)?.error?.permanent === true, 'the final failure');
  assert.equal(store.stateOf('bad', 1), 'End');
});

test('a factory that throws is a failed load of that version, and is asked again', async (t) => {
  const park = new LoaderPark();
  let asked = 0;
  const { agent, store } = await startHost(t, {
    managerOptions: { loadRetryIntervalMs: 10 },
    loader: (id) => {
      if (id.version === 2) return undefined as never;
      if (id.version === 1 && ++asked === 1) throw new Error('no such folder');
      return park.factory(id);
    },
  });
  await agent.joined;
  store.write({
    m: { generation: 1, versions: [1] },
    n: { generation: 1, versions: [2] },
    o: { generation: 1, versions: [3] },
  });
  await until(() => store.stateOf('o', 3) === 'Available', 'the other model');
  await until(() => store.stateOf('m', 1) === 'Available', 'the second try');
  await until(() => store.version('n', 2)?.error?.permanent === true, 'no loader at all');
  assert.equal(store.version('n', 2)?.error?.code, 'ERR_INVALID_LOADER');
});

test('reports load time, memory, requests, errors and latency, and only what changed', async (t) => {
  const loaders = new LoaderPark();
  const slow = new ManualLoader<string>();
  loaders.behaviour.set('m/1', () =>
    slow.load({ id: { name: 'm', version: 1 }, signal: AbortSignal.timeout(60_000), attempt: 1 }),
  );
  const {
    agent,
    store,
    test: { manager },
  } = await startHost(t, {
    loader: (id) => ({ ...loaders.factory(id), estimateResources: () => ({ ram: 1_000_000 }) }),
  });
  await agent.joined;
  store.write({ m: { generation: 1, versions: [1] }, other: { generation: 1, versions: [7] } });
  const attempt = await slow.loading();
  await until(() => store.stateOf('m', 1) === 'Loading', 'Loading to be reported');
  attempt.succeed('one');
  await until(() => store.stateOf('m', 1) === 'Available', 'Available to be reported');
  // The state is the manager's; the time comes with its event, which a beat may overtake.
  await until(() => store.version('m', 1)?.loadMs !== undefined, 'the time of the load to be reported');
  const report = store.version('m', 1);
  assert.ok((report?.loadMs ?? -1) >= 0, `loadMs ${report?.loadMs}`);
  // What another host has to find room for is what is reserved, however little of it a load is seen to take.
  assert.ok((report?.ramBytes ?? 0) >= 1_000_000, `ramBytes ${report?.ramBytes}`);
  assert.ok((store.status?.usedBytes ?? 0) >= 2_000_000, `usedBytes ${store.status?.usedBytes}`);
  assert.equal(report?.traffic, undefined, 'no request, no traffic');

  await until(() => store.stateOf('other', 7) === 'Available', 'the other model');
  const quiet = store.beats.length;
  await moreBeats(store);
  assert.ok(
    store.beats.slice(quiet).every(({ models, status, info }) => !models && !status && !info),
    'nothing new',
  );
  const { sequence } = store.beats.at(-1) ?? {};

  await manager.withServable('m', () => 1);
  await assert.rejects(manager.withServable('m', () => Promise.reject(new Error('bad request'))));
  await until(() => store.version('m', 1)?.traffic?.requests === 2, 'the traffic');
  assert.equal(store.version('m', 1)?.traffic?.errors, 1);
  assert.equal(
    store.version('m', 1)?.traffic?.counts.reduce((a, b) => a + b, 0),
    2,
    'the histogram',
  );
  const beat = store.beats.findLast(({ models }) => models !== undefined);
  assert.deepEqual([...(beat?.models?.keys() ?? [])], ['m'], 'the other model has nothing new to say');
  assert.equal(beat?.sequence, (sequence ?? 0) + 1, 'the sequence counts reports, not heartbeats');
});

test('traffic of a model in a rollout is reported between the heartbeats', async (t) => {
  const {
    agent,
    store,
    test: { manager },
  } = await startHost(t, { heartbeatIntervalMs: 60_000 });
  await agent.joined;
  store.write({ quiet: { generation: 1, versions: [1] }, m: { generation: 1, versions: [1], watch: true } });
  await until(() => store.stateOf('m', 1) === 'Available' && store.stateOf('quiet', 1) === 'Available', 'both');
  await manager.withServable('quiet', () => 1);
  await manager.withServable('m', () => 1);
  await until(() => store.version('m', 1)?.traffic?.requests === 1, 'the traffic');
  assert.equal(store.version('quiet', 1)?.traffic, undefined, 'that comes with the heartbeat');
});

test('many changes are few heartbeats, never two at a time', async (t) => {
  const store = new ScriptedStore();
  let inFlight = 0;
  let most = 0;
  store.onCall = async (call) => {
    if (call !== 'heartbeat') return;
    most = Math.max(most, ++inFlight);
    await new Promise((resolve) => setTimeout(resolve, 50));
    inFlight--;
  };
  const loaders = new LoaderPark();
  const loader = (id: ServableId): Loader => {
    const made = loaders.factory(id);
    const load: Loader['load'] = (context) => new Promise((r) => setTimeout(r, 5)).then(() => made.load(context));
    return { ...made, load };
  };
  const { agent } = await startHost(t, { store, loader, heartbeatIntervalMs: 60_000 });
  await agent.joined;
  const before = store.beats.length;
  const cells = Array.from({ length: 100 }, (_, i) => [`m${i}`, { generation: 1, versions: [1] }] as const);
  store.write(Object.fromEntries(cells));
  await until(() => [...cells].every(([name]) => store.stateOf(name, 1) === 'Available'), 'all of them');
  assert.equal(most, 1, 'heartbeats in flight');
  assert.ok(store.beats.length - before < 30, `${store.beats.length - before} heartbeats for 100 loads`);
});

test('asks to be entered for as long as the fleet does not know it', async (t) => {
  const store = new ScriptedStore();
  store.known = false;
  const { agent } = await startHost(t, { store });
  await agent.joined;
  await until(() => store.calls.filter((call) => call === 'hint').length >= 2, 'two hints');
  store.known = true;
  await moreBeats(store);
  const hints = store.calls.filter((call) => call === 'hint').length;
  await moreBeats(store);
  assert.equal(store.calls.filter((call) => call === 'hint').length, hints, 'known: no more hints');
});

test('a clock that is wrong is a finding, and nothing else', async (t) => {
  const store = new ScriptedStore();
  store.clockAheadMs = 3_600_000;
  const host = await startHost(t, { store });
  await host.agent.joined;
  store.write({ m: { generation: 1, versions: [1] } });
  await until(() => store.stateOf('m', 1) === 'Available', 'the model');
  await until(() => store.findings().includes('ERR_HOST_CLOCK_WRONG'), 'the finding');
  assert.match(store.status?.findings?.[0]?.message ?? '', /3600 s behind/);
  assert.ok(Math.abs((store.status?.clock ?? 0) - Date.now()) < 60_000, 'its own clock, as it is');
});

test('the manager closes first: the host leaves, for it serves nothing any more', async (t) => {
  const {
    agent,
    store,
    test: { manager },
  } = await startHost(t);
  await agent.joined;
  await manager.close();
  await until(() => store.holder === undefined, 'the lease to be given back');
  await eventually(() => agent.status.state === 'closed', 'the end of the agent');
});

test('a load that was given up is no share of the version that came after it, but memory that is in use', () => {
  const row = (reserved: number) => ({
    id: { name: 'm', version: 1 },
    shares: [{ device: 'ram', reserved, measured: 0 }],
  });
  const resources = {
    devices: [{ device: 'ram', reserved: 70, measured: 0 }],
    versions: [row(40), { ...row(30), givenUp: true }],
  };
  const manager = { resources: () => resources } as unknown as AspiredVersionsManager;
  const { byVersion, usedBytes } = memoryOf(manager);
  assert.deepEqual([[...byVersion], usedBytes], [[['m/1', 40]], 70]);
});
