// Rollouts from end to end, over the store in memory: agents, managers and controllers are the real ones.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertCells } from '#lib/fleet/store/memory-commit.js';
import { coded } from '../../support/manager.js';
import { Fleet, MODEL, WHO } from './fleet.js';

test('a good version comes to all hosts, wave by wave, and becomes stable', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 4, zones: 2 });
  await fleet.control();
  const { rollout, outcome } = await fleet.rollout();
  assert.equal(outcome, 'applied');
  await fleet.ends(rollout, 'Promoted');
  await fleet.serves(2);
  const model = await fleet.client.model(MODEL);
  assert.equal(model?.stable, 2);
  assert.deepEqual(model?.previous, [1]);
  assert.equal(model?.active, undefined);
  const trail = await fleet.client.audit(MODEL);
  const revisions = trail.filter((entry) => entry.rollout === rollout).map(({ revision }) => revision);
  assert.deepEqual(
    revisions,
    revisions.map((_, index) => index),
    'one line per revision, without a gap',
  );
  assert.deepEqual(fleet.codes(), []);
});

test('a version that does not load anywhere is rolled back, and marked as bad', async (t) => {
  const fleet = await Fleet.start(t);
  fleet.behaviour.set(2, {
    load: () => {
      throw new Error('no such weights');
    },
  });
  await fleet.control();
  const { rollout } = await fleet.rollout({ gates: [{ kind: 'load' }] });
  const { state } = await fleet.ends(rollout, 'RolledBack');
  assert.match(state.rollback?.reason ?? '', /load/);
  await fleet.serves(1);
  assert.deepEqual((await fleet.client.model(MODEL))?.tombstones, [2]);
  await assert.rejects(fleet.rollout(), coded('ERR_VERSION_TOMBSTONED'));
  fleet.behaviour.delete(2);
  const forced = await fleet.rollout({ force: true });
  await fleet.ends(forced.rollout, 'Promoted');
  await fleet.serves(2);
});

test('a version that fails more requests than the old one is rolled back by its traffic, after the first wave', async (t) => {
  const fleet = await Fleet.start(t);
  fleet.behaviour.set(2, { errorRate: 0.5 });
  for (const host of fleet.hosts) host.serve();
  await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '60s', gates: [{ kind: 'traffic', minRequests: 50 }] });
  const { state } = await fleet.ends(rollout, 'RolledBack');
  assert.equal(state.wave, 0);
  assert.match(state.rollback?.reason ?? '', /traffic.*requests failed/);
  await fleet.serves(1);
});

test('a version that serves as well as the old one passes its traffic gate in every wave, the last one too', async (t) => {
  const fleet = await Fleet.start(t);
  for (const host of fleet.hosts) host.serve();
  await fleet.control();
  const gate = { kind: 'traffic', minRequests: 50, maxErrorRateIncrease: 0.2, maxLatencyIncrease: 50 } as const;
  const { rollout } = await fleet.rollout({ gates: [gate] });
  const { state } = await fleet.ends(rollout, 'Promoted', 60_000);
  assert.equal(state.verdicts?.[0]?.verdict, 'pass');
  await fleet.serves(2);
});

test('two controllers at once make one rollout of it: every revision is committed once', async (t) => {
  const fleet = await Fleet.start(t, { hosts: 6 });
  const [a, b] = [await fleet.control(), await fleet.control()];
  const { rollout } = await fleet.rollout({ waves: [{ hosts: 1 }, { hosts: 2 }, { percent: 100 }] });
  await fleet.ends(rollout, 'Promoted');
  await fleet.serves(2);
  const trail = await fleet.client.audit(MODEL);
  const revisions = trail.filter((entry) => entry.rollout === rollout).map(({ revision }) => revision);
  assert.deepEqual(
    revisions,
    revisions.map((_, index) => index),
  );
  assert.ok(a.status().ticks > 0 && b.status().ticks > 0, 'both ticked');
  assert.deepEqual(fleet.codes(), []);
});

test('a step that has not seen cells which were written meanwhile is decided anew', async (t) => {
  const fleet = await Fleet.start(t);
  const { memory } = fleet;
  const revisions: number[] = [];
  let id = '';
  memory.fault = (method) => {
    if (method !== 'commit') return undefined;
    revisions.push(memory.data.rollouts.get(id)?.revision ?? -1);
    if (revisions.length > 1) return undefined;
    // Just before the first commit arrives.
    const expectGeneration = memory.data.models.get(MODEL)?.generation ?? 0;
    const writes = [{ place: 0, cell: { versions: [1], primary: 1 } }];
    const intent = { ...WHO, operation: 'between' };
    assertCells(memory, { model: MODEL, expectGeneration, hosts: ['h3'], writes, intent });
    return undefined;
  };
  ({ rollout: id } = await fleet.rollout());
  await fleet.control();
  await fleet.ends(id, 'Promoted');
  assert.deepEqual(revisions.slice(0, 3), [0, 0, 1], 'the first commit changed nothing');
  await fleet.serves(2);
});

test('a controller that is closed leaves the rollout to the next one', async (t) => {
  const fleet = await Fleet.start(t);
  const first = await fleet.control();
  const { rollout } = await fleet.rollout({ bake: '500ms' });
  await fleet.reaches(rollout, 'Bake', 0);
  await first.close();
  const before = await fleet.get(rollout);
  await fleet.control();
  await fleet.ends(rollout, 'Promoted');
  assert.ok((await fleet.get(rollout)).revision > before.revision);
  await fleet.serves(2);
});

test('a new model, which has no version yet, comes to all hosts', async (t) => {
  const fleet = await Fleet.start(t, { stable: null });
  await fleet.control();
  const { rollout } = await fleet.rollout({ version: 1 });
  await fleet.ends(rollout, 'Promoted');
  await fleet.serves(1);
});
