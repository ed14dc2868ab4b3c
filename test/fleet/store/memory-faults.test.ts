// The faults that tests make with the store in memory: each one bites, and only as said.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AspiredError } from 'aspired';
import { MemoryFleet } from '#lib/fleet/store/memory-store.js';
import type { HostInfo, Intent } from '#lib/fleet/types.js';

const coded = (code: string) => (error: unknown) => error instanceof AspiredError && error.code === code;
const intent = (operation: string): Intent => ({ actor: 'test', reason: 'because', operation });
const info = (id: string): HostInfo => {
  return { id, zone: 'z', labels: {}, capacityBytes: 0, agentVersion: '1', schema: 1 };
};

async function fleetWithHost() {
  let now = 1000;
  const fleet = new MemoryFleet({ now: () => now });
  const store = fleet.connect();
  await store.create();
  await store.enterHosts([info('a')]);
  const assertVersion = (version: number, expectGeneration: number) =>
    store.assertCells({
      ...{ model: 'm', expectGeneration, hosts: ['a'], writes: [{ place: 0, cell: { versions: [version] } }] },
      intent: intent(`v${version}`),
    });
  return { fleet, store, assertVersion, pass: (ms: number) => (now += ms) };
}

test('away is for all connections or for one', async () => {
  const { fleet, store } = await fleetWithHost();
  const other = fleet.connect();
  other.away = true;
  await assert.rejects(other.now(), coded('ERR_STORE_UNAVAILABLE'));
  assert.equal(await store.now(), 1000);
  fleet.away = true;
  await assert.rejects(store.now(), coded('ERR_STORE_UNAVAILABLE'));
  fleet.away = false;
  other.away = false;
  assert.equal(await other.now(), 1000);
  await other.close();
  await assert.rejects(other.now(), coded('ERR_FLEET_CLOSED'));
});

test('a snapshot goes back as often as wanted; a revision is not used again', async () => {
  const { fleet, store, assertVersion, pass } = await fleetWithHost();
  await assertVersion(1, 0);
  const before = await store.readDesired('a');
  const snapshot = fleet.snapshot();
  for (let round = 0; round < 2; round++) {
    pass(10);
    assert.equal((await assertVersion(2, 1)).outcome, 'committed', 'the operation is forgotten with its effect');
    const lost = await store.readDesired('a');
    fleet.restore(snapshot);
    assert.deepEqual(await store.readDesired('a'), before);
    pass(10);
    await assertVersion(3, 1);
    assert.ok(((await store.readDesired('a'))?.revision ?? 0) > (lost?.revision ?? 0));
    fleet.restore(snapshot);
  }
});

test('after writes were lost no generation is given out twice', async () => {
  const { fleet, assertVersion } = await fleetWithHost();
  await assertVersion(1, 0);
  const snapshot = fleet.snapshot();
  const given: number[] = [];
  for (let life = 0; life < 3; life++) {
    const first = (await assertVersion(2, 1)).generation;
    const second = (await assertVersion(3, first)).generation;
    assert.equal(second, first + 1, 'one jump for each life');
    assert.ok(life === 0 || first > 1000);
    given.push(first, second);
    fleet.restore(snapshot);
  }
  assert.equal(new Set(given).size, given.length, `${given}`);
});

test('an empty store refuses what controllers write, and lets agents write', async () => {
  const { fleet, store, assertVersion } = await fleetWithHost();
  fleet.clear();
  assert.equal(await store.meta(), undefined);
  await assert.rejects(assertVersion(1, 0), coded('ERR_STORE_EMPTY'));
  await assert.rejects(store.enterHosts([info('b')]), coded('ERR_STORE_EMPTY'));
  const answer = await store.heartbeat({ host: 'a', bootId: 'x', sequence: 4, leaseMs: 100 });
  assert.deepEqual(answer, { known: false, resend: true });
  assert.deepEqual(await store.readLeases(['a']), [{ bootId: 'x', sequence: 0 }]);
});

test('a fault is an error without effect, or an effect without an answer', async () => {
  const { fleet, assertVersion } = await fleetWithHost();
  const asked: string[] = [];
  fleet.fault = (method, connection) => {
    asked.push(`${connection} ${method}`);
    return asked.length === 1 ? 'ERR_STORE_READ_ONLY' : asked.length === 2 ? 'lose-reply' : undefined;
  };
  await assert.rejects(assertVersion(1, 0), coded('ERR_STORE_READ_ONLY'));
  await assert.rejects(assertVersion(1, 0), coded('ERR_STORE_UNAVAILABLE'));
  assert.deepEqual(await assertVersion(1, 0), { outcome: 'duplicate', revision: 0, generation: 1, at: 1000 });
  assert.deepEqual(asked, ['store assertCells', 'store assertCells', 'store assertCells']);
});

test('a muffled doorbell is not heard', async () => {
  const { fleet, store, assertVersion } = await fleetWithHost();
  let rings = 0;
  const bell = await store.onDoorbell('a', () => rings++);
  await assertVersion(1, 0);
  await nextTurn();
  assert.equal(rings, 1);
  fleet.muffled = true;
  await assertVersion(2, 1);
  await nextTurn();
  fleet.muffled = false;
  await bell[Symbol.asyncDispose]();
  await assertVersion(3, 2);
  await nextTurn();
  assert.equal(rings, 1);
});
