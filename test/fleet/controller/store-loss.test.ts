// The store goes away, back in time, or empty, in the middle of a rollout: what hosts serve is not touched by it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { release } from '#lib/fleet/controller/lost-rollouts.js';
import { StoreLoss } from '#lib/fleet/controller/store-loss.js';
import { makePlan } from '#lib/fleet/rollout/plan.js';
import { firstState } from '#lib/fleet/rollout/reduce.js';
import { MemoryStore } from '#lib/fleet/store/memory-store.js';
import type { RolloutRecord } from '#lib/fleet/store/types.js';
import type { HostInfo } from '#lib/fleet/types.js';
import { coded } from '../../support/manager.js';
import { Fleet, HEARTBEAT_MS, MODEL, until, WHO } from './fleet.js';
import { infoOf, WrittenFleet } from './written-fleet.js';

test('the store is away for a while in the middle of a rollout: nothing is concluded, and it goes on', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '300ms' });
  await fleet.reaches(rollout, 'Bake', 0);
  const served = fleet.hosts.map((host) => host.serves());
  const away = performance.now();
  fleet.memory.away = true;
  // Longer than all leases.
  await until(() => performance.now() - away > 5 * HEARTBEAT_MS, 'the leases to run out');
  assert.deepEqual(
    fleet.hosts.map((host) => host.serves()),
    served,
  );
  fleet.memory.away = false;
  await fleet.ends(rollout, 'Promoted');
  await fleet.serves(2);
  assert.deepEqual(fleet.codes(), ['ERR_STORE_UNAVAILABLE']);
});

test('many leases that end at once are held, and not believed', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 6 });
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '300ms', waves: [{ hosts: 1 }, { percent: 100 }], minAlive: 1 });
  await fleet.reaches(rollout, 'Bake', 0);
  await Promise.all(fleet.hosts.slice(0, 5).map((host) => host.stop()));
  await until(async () => (await fleet.get(rollout)).state.hold?.code === 'mass-expiry', 'the hold');
  assert.match(await fleet.client.explain(rollout), /lease|heard|expir/i);
  // A way back needs no permission.
  assert.equal((await fleet.client.abort(rollout, WHO)).outcome, 'applied');
  await Promise.all(fleet.hosts.slice(0, 5).map((host) => host.start()));
  await fleet.ends(rollout, 'Aborted');
  await fleet.serves(1);
});

test('a controller that starts and finds most hosts silent waits before it concludes anything', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 4 });
  await Promise.all(fleet.hosts.slice(1).map((host) => host.stop()));
  const { rollout } = await fleet.rollout({ waves: [{ percent: 100 }], minAlive: 1 });
  const controller = await fleet.control({ heartbeatIntervalMs: 60_000 });
  await until(() => controller.status().active.get(rollout)?.code === 'observation-grace', 'the grace');
  assert.deepEqual(
    fleet.hosts.map((host) => host.serves()),
    [1, 1, 1, 1],
  );
});

test('a controller that starts during a mass expiry holds as the one before it did, until hosts are back or cordoned', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 8 });
  const silent = fleet.hosts.slice(0, 4);
  await Promise.all(silent.map((host) => host.stop()));
  // Registered, and never there: whoever waits for it waits for ever.
  await fleet.store.enterHosts([{ ...(await fleet.store.hosts())[0]?.info, id: 'planned' } as HostInfo]);
  const { rollout } = await fleet.rollout({ waves: [{ percent: 100 }], minAlive: 1 });
  const controller = await fleet.control();
  const hold = () => controller.status().active.get(rollout)?.code;
  await until(() => hold() === 'observation-grace', 'the grace');
  await until(() => hold() !== 'observation-grace', 'the end of the grace');
  assert.equal(hold(), 'mass-expiry');
  const { state } = await fleet.get(rollout);
  assert.deepEqual([[...(state.hold?.hosts ?? [])].sort(), state.hold?.hostCount], [['h0', 'h1', 'h2', 'h3'], 4]);
  assert.match(await fleet.client.explain(rollout), /\(h\d, h\d, h\d, h\d\)/);
  await silent[0]?.start();
  await silent[1]?.start();
  await fleet.client.cordon('h2', WHO);
  await fleet.client.cordon('h3', WHO);
  await fleet.ends(rollout, 'Promoted');
});

test('an empty store is refused, and rebuilt from the hosts; the rollout that it lost is closed', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  await fleet.ends((await fleet.rollout({ version: 2 })).rollout, 'Promoted');
  await fleet.serves(2);
  const bad = await fleet.rollout({ version: 3, bake: '10m' });
  await fleet.reaches(bad.rollout, 'Bake', 0);
  const served = fleet.hosts.map((host) => host.serves());
  fleet.memory.clear();
  await until(() => fleet.codes().includes('ERR_STORE_EMPTY'), 'the controller to notice');
  await assert.rejects(fleet.rollout({ version: 4 }), coded('ERR_STORE_EMPTY'));
  await assert.rejects(fleet.control(), coded('ERR_STORE_EMPTY'));
  assert.deepEqual(await fleet.store.models(), [], 'nothing is written into the empty store');
  assert.deepEqual(
    fleet.hosts.map((host) => host.serves()),
    served,
  );

  await fleet.client.restoreFromHosts(WHO, { hosts: fleet.hosts.length });
  const model = await fleet.client.model(MODEL);
  assert.equal(model?.stable, 2);
  await fleet.serves(2);
  await fleet.ends(bad.rollout, 'StoreLost');
  await assert.rejects(fleet.client.restoreFromHosts(WHO), coded('ERR_ROLLOUT_CONFLICT'));
  await fleet.ends((await fleet.rollout({ version: 4 })).rollout, 'Promoted');
  await fleet.serves(4);
});

test('a rollout that the store lost is closed when the next one of its model has ended, also after another loss', async () => {
  const fleet = await WrittenFleet.of(1);
  const { store, memory } = fleet;
  const start = async (id: string): Promise<RolloutRecord> => {
    const plan = makePlan({ model: MODEL, version: 2 }, { hosts: await store.hosts(), stable: 1 });
    const state = firstState(plan, { from: 1, actor: 'ops', reason: 'test' });
    const started = await store.startRollout({ id, plan, state, force: false, ...WHO, operation: id });
    return 'record' in started ? started.record : assert.fail(started.outcome);
  };
  let remembered = [await start('lost')];
  const loss = new StoreLoss({
    ...{ store, heartbeatIntervalMs: 1_000, clock: () => 0, hosts: () => [], remembered: () => remembered },
    ...{ markOf: () => undefined, onDistrust: () => {}, onError: () => {} },
  });
  const lose = async (): Promise<void> => {
    memory.clear();
    assert.equal(await loss.check(), false);
    await store.create();
    await store.enterHosts([infoOf('h0')]);
    assert.equal(await loss.check(), true);
  };
  assert.equal(await loss.check(), true);
  await lose();
  remembered = [await start('next')];
  await loss.mend();
  assert.equal(await store.rollout('lost'), undefined, 'it cannot be made beside the next one');
  await lose();
  const { plan: _, ...last } = await start('last');
  await loss.mend();
  await release(store, { ...last, state: { ...last.state, phase: 'Ended', outcome: 'Aborted' } });
  await loss.mend();
  const outcomeOf = async (id: string) => (await store.rollout(id))?.state.outcome;
  assert.deepEqual([await outcomeOf('lost'), await outcomeOf('next')], ['StoreLost', 'StoreLost']);
  assert.equal((await store.model(MODEL))?.active, undefined);
});

test('a store that is emptied between two questions has lost its rollouts, not ended them', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '10m' });
  await fleet.reaches(rollout, 'Bake', 0);
  // The controller has just been told that the fleet is there.
  const { activeRollouts } = MemoryStore.prototype;
  const emptied = t.mock.method(MemoryStore.prototype, 'activeRollouts', function (this: MemoryStore) {
    if (emptied.mock.callCount() === 0) fleet.memory.clear();
    return activeRollouts.call(this);
  });
  await until(() => fleet.codes().includes('ERR_STORE_EMPTY'), 'the controller to notice');
  assert.ok(
    fleet.errors.some(({ code, message }) => code === 'ERR_STORE_EMPTY' && message.includes(rollout)),
    'it says which rollouts were active',
  );
  await fleet.client.restoreFromHosts(WHO, { hosts: fleet.hosts.length });
  await fleet.ends(rollout, 'StoreLost');
});

test('an empty store is filled from an export', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  await fleet.ends((await fleet.rollout()).rollout, 'Promoted');
  const saved = await fleet.client.exportAll();
  fleet.memory.clear();
  await until(() => fleet.codes().includes('ERR_STORE_EMPTY'), 'the controller to notice');
  await fleet.client.restore(saved, WHO);
  assert.equal((await fleet.client.model(MODEL))?.stable, 2);
  await fleet.ends((await fleet.rollout({ version: 3 })).rollout, 'Promoted');
  await fleet.serves(3);
});

test('writes that are lost in the middle of a rollout are told anew, above what the hosts have seen', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '10m' });
  await fleet.reaches(rollout, 'Bake', 0);
  const snapshot = fleet.memory.snapshot();
  await fleet.client.promote(rollout, WHO);
  await fleet.reaches(rollout, 'Bake', 1);
  await until(() => fleet.hosts.every((host) => host.serves() === 2), 'all hosts to serve it');
  const seen = (await fleet.client.model(MODEL))?.generation ?? 0;
  fleet.memory.restore(snapshot);
  await until(async () => ((await fleet.client.model(MODEL))?.generation ?? 0) > seen, 'a generation above');
  await fleet.client.promoteFull(rollout, WHO);
  await fleet.ends(rollout, 'FastPromoted');
  await fleet.serves(2);
});

test('a rollback that the store has lost is testified by the hosts, and not undone', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '10m' });
  await fleet.reaches(rollout, 'Bake', 0);
  const snapshot = fleet.memory.snapshot();
  await fleet.client.abort(rollout, WHO);
  await fleet.ends(rollout, 'Aborted');
  await fleet.serves(1);
  // The store believes that version 2 bakes, and somebody tells it to go on.
  fleet.memory.restore(snapshot);
  await fleet.client.promoteFull(rollout, WHO);
  await fleet.ends(rollout, 'RolledBack');
  await fleet.serves(1);
  assert.deepEqual((await fleet.client.model(MODEL))?.tombstones, [2]);
});

test('a promotion that the store has lost is learnt from the hosts', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const snapshot = fleet.memory.snapshot();
  await fleet.ends((await fleet.rollout()).rollout, 'Promoted');
  await fleet.serves(2);
  // An outage of the store brings back what it had before.
  const away = performance.now();
  fleet.memory.away = true;
  await until(() => performance.now() - away > 3 * HEARTBEAT_MS, 'the store to be away for a while');
  fleet.memory.restore(snapshot);
  fleet.memory.away = false;
  await until(async () => (await fleet.client.model(MODEL))?.stable === 2, 'version 2 to be stable again');
  await fleet.serves(2);
  await fleet.ends((await fleet.rollout({ version: 3 })).rollout, 'Promoted');
  await fleet.serves(3);
});

test('replicas that do not confirm hold a rollout and refuse a start, and never keep it from going back', async (t) => {
  const fleet = await Fleet.start(t, { minReplicas: 1 });
  fleet.memory.replicas = 1;
  await fleet.control({ minReplicas: 1 });
  const { rollout, replicated } = await fleet.rollout({ bake: '10m' });
  assert.equal(replicated, 1);
  await fleet.reaches(rollout, 'Bake', 0);
  fleet.memory.replicas = 0;
  await until(async () => (await fleet.get(rollout)).state.hold?.code === 'unconfirmed', 'the hold');
  await assert.rejects(fleet.client.promote(rollout, WHO), coded('ERR_STORE_UNCONFIRMED'));
  const aborted = await fleet.client.abort(rollout, WHO);
  assert.deepEqual([aborted.outcome, aborted.replicated], ['applied', 0]);
  await fleet.ends(rollout, 'Aborted');
  await fleet.serves(1);
  await assert.rejects(fleet.rollout({ version: 3 }), coded('ERR_STORE_UNCONFIRMED'));
  assert.ok(fleet.codes().includes('ERR_STORE_UNCONFIRMED'));
});
