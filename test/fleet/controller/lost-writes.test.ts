// Models that no rollout is active for, after the store has lost writes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { release } from '#lib/fleet/controller/lost-rollouts.js';
import { mendLostWrites } from '#lib/fleet/controller/lost-writes.js';
import { StoreLoss } from '#lib/fleet/controller/store-loss.js';
import { makePlan } from '#lib/fleet/rollout/plan.js';
import { firstState } from '#lib/fleet/rollout/reduce.js';
import { MemoryStore } from '#lib/fleet/store/memory-store.js';
import type { RolloutRecord } from '#lib/fleet/store/types.js';
import { Fleet, HEARTBEAT_MS, MODEL, until, WHO } from './fleet.js';
import { reportOf, WrittenFleet } from './written-fleet.js';

/** Version 2 is stable, 1 was before; hosts are ahead of the store by what `hosts` say. */
async function promoted(count: number): Promise<WrittenFleet> {
  const fleet = await WrittenFleet.of(count);
  await fleet.tell({ versions: [1], primary: 1 }, 1);
  await fleet.tell({ versions: [2], primary: 2 }, 2);
  await fleet.reportAll([2]);
  return fleet;
}

test('where nothing was lost nothing is done', async () => {
  const fleet = await promoted(3);
  const before = await fleet.store.model(MODEL);
  assert.deepEqual(await mendLostWrites(fleet.store, fleet.ids), { done: [], unfinished: false });
  assert.deepEqual(await fleet.store.model(MODEL), before);
});

test('a stable version that a host was told to take back is taken back by a rollout, within the budgets of the last one', async () => {
  const fleet = await promoted(3);
  const { store } = fleet;
  const options = { model: MODEL, version: 2, maxUnavailable: 2, deadline: '40s', bake: 0 } as const;
  const plan = makePlan(options, { hosts: await store.hosts(), stable: 1 });
  const state = { ...firstState(plan, { actor: 'ops', reason: 'test' }), phase: 'Ended', outcome: 'Promoted' } as const;
  await store.startRollout({ id: 'up', plan, state, force: false, ...WHO, operation: 'up' });
  await store.commit({
    ...{ rollout: 'up', model: MODEL, expectRevision: 0, operation: 'end', state, stamps: [], writes: [], hosts: [] },
    audit: { event: 'ended', message: 'test', actor: 'test', hosts: 0 },
    modelChange: { release: true },
  });
  const told = await fleet.told();
  await fleet.report('h1', reportOf(900, [1], [2]));
  const { done, unfinished } = await mendLostWrites(store, fleet.ids);
  assert.equal(unfinished, false);
  assert.equal(done.length, 1);
  assert.deepEqual(await fleet.told(), told, 'the rollout tells them');
  const model = await store.model(MODEL);
  const record = await store.rollout(model?.active ?? '');
  assert.ok(record);
  assert.match(done[0] ?? '', new RegExp(record.id));
  assert.deepEqual([record.plan.version, record.state.from], [2, 1]);
  assert.deepEqual([record.plan.maxUnavailable, record.plan.deadlineMs], [2, 40_000]);
  assert.equal(record.state.actor, 'controller');
  assert.match(record.state.reason, /host h1 has seen generation 900, which took version 2 back/);
  assert.deepEqual(record.state.rollback, {
    ...{ outcome: 'RolledBack', reason: record.state.reason, tombstone: true, everywhere: true, stable: 1 },
  });
  // Another controller that has seen the same, at the same time or later.
  assert.deepEqual(await mendLostWrites(store, fleet.ids), { done: [], unfinished: false });
});

test('it goes to the version before where no host serves another one, past those that were taken back', async () => {
  const fleet = await WrittenFleet.of(2);
  for (const version of [1, 3, 2]) await fleet.tell({ versions: [version], primary: version }, version);
  await fleet.reportAll([2], 7, [2, 3]);
  await mendLostWrites(fleet.store, fleet.ids);
  const model = await fleet.store.model(MODEL);
  const record = await fleet.store.rollout(model?.active ?? '');
  assert.equal(record?.state.rollback?.stable, 1);
  assert.deepEqual(model?.tombstones, [3], 'the other one is marked at once, this one by the first step');
});

test('without a version to go back to it stays, and that is said', async () => {
  const fleet = await WrittenFleet.of(2);
  await fleet.tell({ versions: [2], primary: 2 }, 2);
  await fleet.reportAll([2], 7, [2]);
  const { done } = await mendLostWrites(fleet.store, fleet.ids);
  assert.match(done.join(), /h0 has seen generation \d+, which took version 2 back, and there is none to go back to/);
  const model = await fleet.store.model(MODEL);
  assert.deepEqual([model?.stable, model?.active, model?.tombstones], [2, undefined, []]);
});

test('where somebody wrote in between it is not over', async (t) => {
  const fleet = await promoted(3);
  await fleet.reportAll([2], 7);
  const assertCells = t.mock.method(MemoryStore.prototype, 'assertCells');
  assertCells.mock.mockImplementationOnce(async () => {
    return { outcome: 'conflict', revision: 0, generation: 99, at: 0 };
  });
  assert.deepEqual(await mendLostWrites(fleet.store, fleet.ids), { done: [], unfinished: true });
  const again = await mendLostWrites(fleet.store, fleet.ids);
  assert.deepEqual([again.done.length, again.unfinished], [1, false]);
});

test('a rollout that was closed as lost, and not released yet, does not end the looking', async () => {
  const fleet = await promoted(3);
  const { store } = fleet;
  await fleet.reportAll([2], 7);
  const plan = makePlan({ model: MODEL, version: 3 }, { hosts: await store.hosts(), stable: 2 });
  const state = {
    ...firstState(plan, { actor: 'ops', reason: 'test' }),
    phase: 'Ended',
    outcome: 'StoreLost',
  } as const;
  await store.startRollout({ id: 'lost', plan, state, force: true, ...WHO, operation: 'lost' });
  assert.deepEqual(await mendLostWrites(store, fleet.ids), { done: [], unfinished: true });
  await release(store, (await store.rolloutState('lost')) as RolloutRecord);
  const before = Math.max(...(await fleet.told()));
  assert.equal((await mendLostWrites(store, fleet.ids)).done.length, 1);
  assert.ok(Math.min(...(await fleet.told())) > before + 7, 'above what the hosts have seen');
});

/** What a controller does about lost writes of a fleet whose hosts have these marks. */
async function watching(fleet: WrittenFleet, marks: ReadonlyMap<string, string>): Promise<StoreLoss> {
  const loss = new StoreLoss({
    ...{ store: fleet.store, heartbeatIntervalMs: 100, clock: () => 0, hosts: () => fleet.ids },
    markOf: (host) => marks.get(host),
    remembered: () => [],
    onDistrust: () => {},
    onError: () => {},
  });
  await loss.check();
  await loss.mend();
  return loss;
}

test('a host that reports after the look, and is the only one that knows of what was lost, is heard', async () => {
  for (const before of [undefined, 'b/1']) {
    const fleet = await promoted(3);
    const marks = new Map(fleet.ids.map((id) => [id, 'b/1']));
    if (before === undefined) marks.delete('h0');
    const loss = await watching(fleet, marks);
    await fleet.report('h0', reportOf(900, [2, 3]));
    marks.set('h0', 'b/2');
    await loss.mend();
    const told = await fleet.told();
    assert.ok(Math.min(...told) > 900, `${told}`);
    await fleet.reportAll([2]);
    for (const id of fleet.ids) marks.set(id, 'b/3');
    await loss.mend();
    assert.deepEqual(await fleet.told(), told, 'and that is all');
  }
});

test('hosts that know of a model that nobody can be told anything of are looked at once', async () => {
  const fleet = await WrittenFleet.of(1);
  const marks = new Map([['h0', 'b/1']]);
  const loss = await watching(fleet, marks);
  for (const mark of ['b/2', 'b/3', 'b/4']) {
    await fleet.report('h0', reportOf(7, [], [1]));
    marks.set('h0', mark);
    await loss.mend();
    assert.equal((await fleet.store.audit(MODEL)).length, 1, mark);
  }
});

/** The store is away for a while, and has what it had. */
async function loseWrites(fleet: Fleet, snapshot: ReturnType<Fleet['memory']['snapshot']>): Promise<void> {
  const away = performance.now();
  fleet.memory.away = true;
  await until(() => performance.now() - away > 3 * HEARTBEAT_MS, 'the store to be away for a while');
  fleet.memory.restore(snapshot);
  fleet.memory.away = false;
}

/** Waits for the rollout that a controller starts, and for its end. */
async function takenBack(fleet: Fleet): Promise<void> {
  let id: string | undefined;
  await until(async () => {
    id = (await fleet.client.history(MODEL, 1)).find(({ state }) => state.actor === 'controller')?.id;
    return id !== undefined;
  }, 'a rollout of a controller');
  await fleet.ends(id ?? '', 'RolledBack');
  await fleet.serves(1);
  const model = await fleet.client.model(MODEL);
  assert.deepEqual([model?.stable, model?.tombstones], [1, [2]]);
  const trail = await fleet.client.audit(MODEL);
  assert.ok(trail.some(({ rollout, event, actor }) => rollout === id && event === 'start' && actor === 'controller'));
}

test('an undo that the store has lost is done again as a rollout', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout();
  await fleet.ends(rollout, 'Promoted');
  await fleet.serves(2);
  const snapshot = fleet.memory.snapshot();
  await fleet.ends((await fleet.client.undo(rollout, WHO)).rollout, 'Undone');
  await fleet.serves(1);
  await loseWrites(fleet, snapshot);
  await takenBack(fleet);
  await fleet.ends((await fleet.rollout({ version: 3 })).rollout, 'Promoted');
  await fleet.serves(3);
});

test('an undo that the store has lost before any host was back is done again, and the bad version does not stay', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout();
  await fleet.ends(rollout, 'Promoted');
  await fleet.serves(2);
  const snapshot = fleet.memory.snapshot();
  let isStuck = true;
  t.after(() => {
    isStuck = false;
  });
  fleet.behaviour.set(1, {
    load: async () => {
      await until(() => !isStuck, 'the load to be let go', 60_000);
      return { version: 1 };
    },
  });
  await fleet.client.undo(rollout, WHO);
  await until(async () => {
    const reports = await fleet.store.readReports(fleet.hosts.map(({ id }) => id));
    return reports.every((report) => report?.models.get(MODEL)?.rolledBack?.includes(2));
  }, 'all hosts to hear of it');
  await loseWrites(fleet, snapshot);
  await until(() => fleet.codes().includes('ERR_ROLLOUT_CONFLICT'), 'the loss to be noticed');
  isStuck = false;
  await takenBack(fleet);
});
