// Every verb has an answer in every state of a rollout, and does what the answer says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '#lib/fleet/store/memory-store.js';
import type { RolloutStart } from '#lib/fleet/store/types.js';
import { coded } from '../../support/manager.js';
import { Fleet, HEARTBEAT_MS, MODEL, until, WHO } from './fleet.js';

const LONG = '10m';

test('pause holds a rollout where it is, and resume lets it go on', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: LONG });
  await fleet.reaches(rollout, 'Bake', 0);
  assert.equal((await fleet.client.pause(rollout, WHO)).outcome, 'applied');
  assert.equal((await fleet.client.pause(rollout, WHO)).outcome, 'no-op');
  assert.equal((await fleet.get(rollout)).state.hold?.code, 'paused');
  assert.match(await fleet.client.explain(rollout), /[Pp]aused/);
  assert.equal((await fleet.client.resume(rollout, WHO)).outcome, 'applied');
  assert.equal((await fleet.client.abort(rollout, WHO)).outcome, 'applied');
  await fleet.ends(rollout, 'Aborted');
  await fleet.serves(1);
});

test('promote lets one wave go on, promote-full all of them', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: LONG, waves: [{ hosts: 1 }, { hosts: 1 }, { percent: 100 }] });
  await fleet.reaches(rollout, 'Bake', 0);
  assert.equal((await fleet.client.promote(rollout, WHO)).outcome, 'applied');
  await fleet.reaches(rollout, 'Bake', 1);
  assert.equal(fleet.hosts.filter((host) => host.serves() === 2).length, 2);
  // By the name of the model: its active rollout is meant.
  assert.equal((await fleet.client.promoteFull(MODEL, WHO)).outcome, 'applied');
  await fleet.ends(rollout, 'FastPromoted');
  await fleet.serves(2);
});

test('abort takes a rollout back from any phase; the same abort again gets the same answer', async (t) => {
  const fleet = await Fleet.start(t);
  let stuck = true;
  fleet.behaviour.set(2, { load: () => until(() => !stuck, 'the load to be let go', 60_000) });
  t.after(() => {
    stuck = false;
  });
  await fleet.control();
  const { rollout } = await fleet.rollout();
  await fleet.reaches(rollout, 'WaitReady', 0);
  const intent = { ...WHO, operation: 'abort-1' };
  const first = await fleet.client.abort(rollout, intent);
  assert.equal(first.outcome, 'applied');
  stuck = false;
  await fleet.ends(rollout, 'Aborted');
  const again = await fleet.client.abort(rollout, intent);
  assert.deepEqual([again.outcome, again.message], [first.outcome, first.message]);
  await fleet.serves(1);
});

test('a rollout that ended answers every verb, and does nothing', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 2 });
  await fleet.control();
  const { rollout } = await fleet.rollout();
  const ended = await fleet.ends(rollout, 'Promoted');
  for (const verb of ['abort', 'pause', 'freeze'] as const) {
    const { outcome, message } = await fleet.client.verb(rollout, verb, WHO);
    assert.equal(outcome, 'no-op', verb);
    assert.match(message, /ended \(Promoted\)/);
  }
  for (const verb of ['resume', 'promote', 'promote-full', 'retry'] as const) {
    assert.equal((await fleet.client.verb(rollout, verb, WHO)).outcome, 'refused', verb);
  }
  assert.equal((await fleet.get(rollout)).revision, ended.revision);
  await fleet.serves(2);
});

test('undo after the end is a rollout of its own, back to the version before, on all hosts at once', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout();
  await fleet.ends(rollout, 'Promoted');
  const intent = { ...WHO, operation: 'undo-1' };
  const undone = await fleet.client.undo(rollout, intent);
  assert.equal(undone.outcome, 'applied');
  assert.notEqual(undone.rollout, rollout);
  const { plan } = await fleet.ends(undone.rollout, 'Undone');
  assert.equal(plan.waves.length, 1);
  await fleet.serves(1);
  const model = await fleet.client.model(MODEL);
  assert.equal(model?.stable, 1);
  assert.deepEqual(model?.tombstones, [2]);
  assert.equal(
    (await fleet.client.undo(rollout, intent)).rollout,
    undone.rollout,
    'the same operation is the same undo',
  );
  const other = await fleet.client.undo(rollout, WHO);
  assert.equal(other.outcome, 'refused', other.message);
});

test('a rollout that ends while the next one is being planned: the next one goes from what is stable then', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 2 });
  const { startRollout } = MemoryStore.prototype;
  const started = t.mock.method(MemoryStore.prototype, 'startRollout');
  started.mock.mockImplementationOnce(async function (this: MemoryStore, start: RolloutStart) {
    const { generation = 0 } = (await fleet.client.model(MODEL)) ?? {};
    const cells = { model: MODEL, expectGeneration: generation, hosts: [], writes: [], stable: 5 };
    await fleet.store.assertCells({ ...cells, intent: { ...WHO, operation: 'meanwhile' } });
    return startRollout.call(this, start);
  });
  const { rollout } = await fleet.rollout();
  assert.equal((await fleet.get(rollout)).state.from, 5);
  assert.equal(started.mock.callCount(), 2);
});

test('a rollout with a deadline that is shorter than a bake by default can be undone', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 2 });
  await fleet.control();
  const { rollout } = await fleet.rollout({ deadline: '30s' });
  await fleet.ends(rollout, 'Promoted');
  const undone = await fleet.client.undo(rollout, WHO);
  await fleet.ends(undone.rollout, 'Undone');
  await fleet.serves(1);
});

test('a verb that comes too late is answered as one that is given after the end', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 2 });
  const { rollout } = await fleet.rollout();
  const verbs = ['abort', 'pause', 'promote'] as const;
  const answers = verbs.map((verb) => fleet.client.verb(rollout, verb, WHO));
  await until(async () => (await fleet.store.pendingVerbs(rollout)).length === verbs.length, 'the verbs');
  const { state } = await fleet.get(rollout);
  await fleet.store.commit({
    ...{ rollout, model: MODEL, expectRevision: 0, operation: 'end', stamps: ['endedAt'], writes: [], hosts: [] },
    state: { ...state, phase: 'Ended', outcome: 'Promoted' },
    audit: { event: 'ended', message: 'by the test', actor: 'test', hosts: 0 },
    modelChange: { release: true },
  });
  const late = await Promise.all(answers);
  const after = await Promise.all(verbs.map((verb) => fleet.client.verb(rollout, verb, WHO)));
  assert.deepEqual(
    late.map(({ outcome }) => outcome),
    after.map(({ outcome }) => outcome),
  );
  for (const { message } of late) assert.match(message, /ended \(Promoted\) before .* was looked at/);
});

test('undo while it is active takes it back', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: LONG });
  await fleet.reaches(rollout, 'Bake', 0);
  assert.equal((await fleet.client.undo(rollout, WHO)).outcome, 'applied');
  await fleet.ends(rollout, 'Undone');
  await fleet.serves(1);
});

test('retry is a new rollout of the same plan, with force when the version was marked as bad', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const waves = [{ hosts: 1 }, { hosts: 1 }, { percent: 100 }];
  const { rollout } = await fleet.rollout({ bake: LONG, waves });
  await fleet.reaches(rollout, 'Bake', 0);
  await fleet.client.abort(rollout, WHO);
  const { plan } = await fleet.ends(rollout, 'Aborted');
  const plain = await fleet.client.retry(rollout, WHO);
  assert.equal(plain.outcome, 'refused', plain.message);
  const retried = await fleet.client.retry(rollout, WHO, { force: true });
  assert.equal(retried.outcome, 'applied');
  assert.notEqual(retried.rollout, rollout);
  assert.deepEqual((await fleet.get(retried.rollout)).plan, plan);
  await fleet.client.promoteFull(retried.rollout, WHO);
  await fleet.ends(retried.rollout, 'FastPromoted');
  await fleet.serves(2);
});

test('freeze holds all hosts as they are, until an operator decides', async (t) => {
  const fleet = await Fleet.start(t);
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: LONG });
  await fleet.reaches(rollout, 'Bake', 0);
  assert.equal((await fleet.client.freeze(rollout, WHO)).outcome, 'applied');
  assert.equal((await fleet.get(rollout)).state.phase, 'Frozen');
  assert.equal((await fleet.client.promoteFull(rollout, WHO)).outcome, 'applied');
  await fleet.ends(rollout, 'FastPromoted');
  await fleet.serves(2);
});

test('a verb without a controller is pending, and done when one comes', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 2, answerTimeout: 3 * HEARTBEAT_MS });
  const { rollout } = await fleet.rollout();
  const intent = { ...WHO, operation: 'abort-later' };
  const early = await fleet.client.abort(rollout, intent);
  assert.equal(early.outcome, 'pending');
  await fleet.control();
  await fleet.ends(rollout, 'Aborted');
  assert.equal((await fleet.client.abort(rollout, intent)).outcome, 'applied');
});

test('one rollout per model; the same operation again is the same rollout', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 2 });
  const plan = { model: MODEL, version: 2, waves: [{ percent: 100 }] };
  const intent = { ...WHO, operation: 'start-1' };
  const first = await fleet.client.start(plan, intent);
  assert.equal((await fleet.client.start(plan, intent)).rollout, first.rollout);
  await assert.rejects(fleet.client.start({ ...plan, version: 3 }, WHO), coded('ERR_ROLLOUT_ACTIVE'));
  await assert.rejects(fleet.client.start({ ...plan, model: 'a:b' }, WHO), coded('ERR_FLEET_INVALID_NAME'));
  // The id that is made of it is the same.
  const version = '2' as unknown as number;
  await assert.rejects(fleet.client.start({ ...plan, version }, intent), coded('ERR_INVALID_VERSION'));
  await assert.rejects(fleet.client.start(plan, { actor: '', reason: 'x' }), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(fleet.client.abort('no-such', WHO), coded('ERR_ROLLOUT_NOT_FOUND'));
});
