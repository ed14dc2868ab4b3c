// The parts of the controller that decide something, alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MetricsSnapshot } from 'aspired';
import { decodeCell } from '#lib/fleet/codec.js';
import { isOlder } from '#lib/fleet/controller/bullmq.js';
import { LeaseWatch } from '#lib/fleet/controller/lease-watch.js';
import { type HostPicture, observe } from '#lib/fleet/controller/observe.js';
import { StoreWatch } from '#lib/fleet/controller/store-watch.js';
import { withHosts } from '#lib/fleet/controller/successors.js';
import { badOf, electStable, exportOfHosts, Testimony } from '#lib/fleet/controller/testimony.js';
import { type TrafficSample, TrafficWindow } from '#lib/fleet/controller/traffic-window.js';
import { makePlan } from '#lib/fleet/rollout/plan.js';
import { firstState } from '#lib/fleet/rollout/reduce.js';
import { SEEN, TOLD } from '#lib/fleet/rollout/types.js';
import type { FleetHost, HostReport, ModelReport, VersionReport } from '#lib/fleet/types.js';

function sweep(watch: LeaseWatch, now: number, count: number, dead: readonly number[]): void {
  watch.update(
    now,
    Array.from({ length: count }, (_, index) => ({ host: `h${index}`, alive: !dead.includes(index) })),
  );
}

test('leases: hosts that go one by one are dead, hosts that go together are held until they are back', () => {
  const watch = new LeaseWatch(100);
  sweep(watch, 0, 20, []);
  sweep(watch, 10, 20, [0]);
  sweep(watch, 20, 20, [0, 1]);
  sweep(watch, 30, 20, [0, 1, 2, 3]);
  assert.equal(watch.held.size, 0, '4 of 20 is not more than a fifth');
  sweep(watch, 40, 20, [0, 1, 2, 3, 4]);
  assert.equal(watch.held.size, 5);
  sweep(watch, 10_000, 20, [0, 1, 2, 3, 4]);
  assert.equal(watch.held.size, 5, 'time alone does not make them dead');
  sweep(watch, 10_010, 20, [0, 1]);
  assert.equal(watch.held.size, 0, 'enough are back: the rest is dead');
});

test('leases: the window forgets, small fleets may lose one, hosts that are taken out are not held', () => {
  const slow = new LeaseWatch(100);
  sweep(slow, 0, 10, []);
  for (let dead = 1; dead <= 6; dead++)
    sweep(
      slow,
      dead * 200,
      10,
      Array.from({ length: dead }, (_, index) => index),
    );
  assert.equal(slow.held.size, 0, 'one every other window');
  const small = new LeaseWatch(100);
  sweep(small, 0, 3, []);
  sweep(small, 10, 3, [0, 1]);
  assert.equal(small.held.size, 0);
  sweep(small, 20, 3, [0, 1, 2]);
  assert.equal(small.held.size, 3);
  sweep(small, 30, 0, []);
  assert.equal(small.held.size, 0, 'cordoned or removed');
});

test('leases: whom a controller finds silent at first, and was alive, is held as if it had seen them go', () => {
  const first = (silent: number, unknown = 0): LeaseWatch => {
    const watch = new LeaseWatch(100);
    const hosts = Array.from({ length: 20 }, (_, index) => ({ host: `h${index}`, alive: index >= silent + unknown }));
    watch.update(
      0,
      hosts.map((seen, index) => ({ ...seen, wasAlive: index < silent })),
    );
    return watch;
  };
  const watch = first(5);
  assert.equal(watch.held.size, 5);
  sweep(watch, 10_000, 20, [0, 1, 2, 3, 4]);
  assert.equal(watch.held.size, 5);
  sweep(watch, 10_010, 20, [0, 1]);
  assert.equal(watch.held.size, 0, 'enough are back');
  assert.equal(first(4).held.size, 0, 'so few are believed');
  assert.equal(first(3, 5).held.size, 0, 'who never reported has not gone');
});

test('the store: away for more than a heartbeat is followed by a grace of two; another incarnation is another fleet', () => {
  const watch = new StoreWatch(100);
  assert.equal(watch.answered(0), false);
  assert.equal(watch.answered(90), false);
  assert.equal(watch.graceLeft(90), 0);
  assert.equal(watch.answered(250), true);
  assert.equal(watch.graceLeft(250), 200);
  assert.equal(watch.graceLeft(450), 0);
  const meta = { schema: 1, incarnation: 'a', createdAt: 0 };
  assert.equal(watch.sawMeta(meta), 'first');
  assert.equal(watch.sawMeta(meta), 'same');
  assert.equal(watch.sawMeta(undefined), 'lost');
  assert.equal(watch.sawMeta(undefined), 'same', 'told once');
  assert.equal(watch.presence, 'empty');
  assert.equal(watch.sawMeta({ ...meta, incarnation: 'b' }), 'replaced');
  assert.equal(watch.sawReplicationId('x'), false);
  assert.equal(watch.sawReplicationId(undefined), false);
  assert.equal(watch.sawReplicationId('y'), true);
});

function traffic(requests: number, errors = 0): MetricsSnapshot {
  return { requests, errors, inFlight: 0, sumMs: requests, maxMs: 1, counts: [requests] };
}

test('traffic counts from the first look of a wave; a host that restarts counts from 0 and keeps what it did', () => {
  const window = new TrafficWindow();
  const canary = (bootId: string, requests: number, errors = 0): TrafficSample => {
    return { host: 'c', zone: 'z', bootId, group: 'canary', traffic: traffic(requests, errors), before: traffic(70) };
  };
  const control = (requests: number): TrafficSample => {
    return { host: 'd', zone: 'z', bootId: 'd1', group: 'control', traffic: traffic(requests) };
  };
  window.update(0, [canary('c1', 10), control(1_000)]);
  window.update(0, [canary('c1', 25, 5), control(1_100)]);
  const first = window.groups();
  assert.deepEqual([first.canary.get('z')?.requests, first.canary.get('z')?.errors], [15, 5]);
  assert.equal(first.control.get('z')?.requests, 100);
  assert.equal(first.before.get('z')?.requests, 70);
  window.update(0, [canary('c2', 3)]);
  assert.equal(window.groups().canary.get('z')?.requests, 18, '15 before it restarted, and 3');
  window.update(0, [canary('c2', 1)]);
  assert.equal(window.groups().canary.get('z')?.requests, 19, 'the version was loaded again');
  window.update(1, [canary('c2', 50)]);
  assert.equal(window.groups().canary.get('z')?.requests, 0, 'another wave');
});

function report(host: string, models: Record<string, ModelReport>, boot = 'b'): HostReport {
  const info = { id: host, zone: 'z', labels: {}, capacityBytes: 0, agentVersion: '0', schema: 1 };
  const status = { bootId: boot, sequence: 1, revision: 1, usedBytes: 0, clock: 0 };
  return { info, status, models: new Map(Object.entries(models)) };
}

function says(generation: number, primary?: number, rolledBack: readonly number[] = []): ModelReport {
  return { generation, rolledBack, versions: [], ...(primary !== undefined && { primary }) };
}

test('an election goes by hosts, and never for a version that was taken back since', () => {
  const testimony = new Testimony();
  testimony.add(report('a', { m: says(7, 2) }));
  testimony.add(report('b', { m: says(7, 2) }));
  testimony.add(report('c', { m: says(8, 1, [2]) }));
  const m = testimony.models.get('m');
  assert.ok(m);
  assert.deepEqual(badOf(m), [2]);
  assert.equal(electStable(m), 1);
  assert.equal(electStable(m, [1]), undefined);
  // Taken back once, and promoted by force later.
  testimony.add(report('d', { m: says(9, 2) }));
  assert.deepEqual(badOf(m), []);
  assert.equal(electStable(m), 2);
});

test('an export of hosts has a generation above all, for every host', () => {
  const made = exportOfHosts('f', [report('a', { m: says(5, 1), n: says(3) }), report('b', { m: says(6, 1) })]);
  assert.deepEqual(made.models, [
    { name: 'm', generation: 7, previous: [], tombstones: [], stable: 1 },
    { name: 'n', generation: 4, previous: [], tombstones: [] },
  ]);
  for (const host of ['a', 'b']) {
    assert.deepEqual(decodeCell(made.desired[host]?.m ?? ''), { generation: 7, versions: [1], primary: 1 });
    assert.equal(made.desired[host]?.n, undefined, 'nobody serves it');
  }
});

const HOSTS: readonly FleetHost[] = ['a', 'b', 'c'].map((id, index) => {
  return { index, info: report(id, {}).info, cordoned: false };
});

test('an observation says what is true now: nothing of hosts that are away, and who is ahead of the store', () => {
  const plan = makePlan({ model: 'm', version: 2 }, { hosts: HOSTS, stable: 1 });
  const state = firstState(plan, { from: 1, actor: 'x', reason: 'y' });
  const both: VersionReport[] = [
    { version: 1, managerState: 'Available' },
    { version: 2, managerState: 'Available', ramBytes: 300 },
  ];
  const model: ModelReport = { generation: 9, primary: 2, versions: both, rolledBack: [2] };
  const pictures = plan.hosts.map((id, place): HostPicture => {
    return {
      host: HOSTS.find(({ info }) => info.id === id),
      alive: place !== 1,
      report: place === 1 ? undefined : report(id, { m: model }),
    };
  });
  const cell = { generation: 9, versions: [1, 2], primary: 2 };
  const stamps = { startedAt: 0, phaseAt: 0, progressAt: 0 };
  const cells = [cell, cell, { ...cell, generation: 8 }];
  const common = { now: 0, plan, state, stamps, pictures, cells, generation: 9, verbs: [], gates: new Map() };
  const { observation, regressed, highestGeneration } = observe({ ...common, storeHold: undefined });
  assert.equal(observation.seen[1], 0, 'away');
  assert.equal(
    observation.seen[0],
    SEEN.ALIVE | SEEN.OLD_READY | SEEN.OLD_RESIDENT | SEEN.NEW_READY | SEEN.PRIMARY_NEW | SEEN.PREFETCHED,
  );
  assert.deepEqual([...observation.told], Array(3).fill(TOLD.OLD | TOLD.NEW | TOLD.PRIMARY_NEW));
  assert.deepEqual([...observation.upToDate], [1, 0, 1]);
  assert.deepEqual([regressed, highestGeneration], [[2], 9]);
  assert.deepEqual([observation.storeHold, observation.storeHosts], ['store-regression', [plan.hosts[2]]]);
  const held = observe({ ...common, storeHold: 'mass-expiry', storeHosts: ['x'] }).observation;
  assert.deepEqual([held.storeHold, held.storeHosts], ['mass-expiry', ['x']]);
  assert.deepEqual(observation.witness, { host: plan.hosts[2], generation: 9 });
  assert.equal(observation.measuredBytes, 300);
});

test('a plan that is retried keeps its places, without hosts that are gone, and with those that came last', () => {
  const plan = makePlan(
    { model: 'm', version: 2, waves: [{ hosts: 1 }, { percent: 100 }] },
    { hosts: HOSTS, stable: 1 },
  );
  const gone = plan.hosts[1] as string;
  const late: FleetHost = { index: 3, info: { ...report('d', {}).info, zone: 'y' }, cordoned: false };
  const again = withHosts(plan, [...HOSTS.filter(({ info }) => info.id !== gone), late]);
  assert.deepEqual(again.hosts, [plan.hosts[0], plan.hosts[2], 'd']);
  assert.deepEqual(again.waveOf, [0, 1, 1]);
  assert.deepEqual(
    again.zoneOf.map((zone) => again.zones[zone]),
    ['z', 'z', 'y'],
  );
});

test('releases of bullmq that stop consuming after an outage are refused', () => {
  for (const version of ['5.71.0', '6.0.9', '6.3.4', '6.3.0-rc.1']) assert.equal(isOlder(version), true, version);
  for (const version of ['6.3.5', '6.7.0', '7.0.0', '6.10.1']) assert.equal(isOlder(version), false, version);
});
