// What every FleetStore promises of rollouts: starts, commits, verbs, gates.
import assert from 'node:assert/strict';
import { decodeCell } from '#lib/fleet/codec.js';
import type { It } from './conformance.js';
import { coded, commit, intent, plan, start, state, until, withHosts } from './support.js';

export function rolloutTests(it: It): void {
  it('a model has one active rollout; starting it again is the same start', async (store) => {
    await withHosts(store, 'a');
    const before = await store.now();
    const first = start('r1', 'm', ['a']);
    const answer = await store.startRollout(first);
    assert.equal(answer.outcome, 'started');
    const record = 'record' in answer ? answer.record : assert.fail();
    assert.ok(record.stamps.startedAt >= before - 1 && record.stamps.startedAt <= (await store.now()));
    assert.equal(record.stamps.phaseAt, record.stamps.startedAt);
    assert.deepEqual([record.id, record.model, record.revision], ['r1', 'm', 0]);
    assert.deepEqual(record.plan, first.plan);
    assert.deepEqual(record.state, first.state);
    assert.deepEqual(await store.startRollout(first), { outcome: 'duplicate', record });
    const sameOperation = start('r1b', 'm', ['a'], { operation: first.operation });
    assert.deepEqual(await store.startRollout(sameOperation), { outcome: 'duplicate', record });
    assert.deepEqual(await store.startRollout(start('r2', 'm', ['a'])), { outcome: 'active', active: 'r1' });
    assert.equal((await store.startRollout(start('r3', 'n', ['a']))).outcome, 'started', 'another model');
    assert.deepEqual(await store.rollout('r1'), record);
    const { plan: _, ...withoutPlan } = record;
    assert.deepEqual(await store.rolloutState('r1'), withoutPlan);
    assert.equal(await store.rollout('r2'), undefined);
    assert.equal(await store.rolloutState('r2'), undefined);
    assert.deepEqual([...(await store.activeRollouts())].sort(), ['r1', 'r3']);
    assert.equal((await store.model('m'))?.active, 'r1');
    const [entry] = await store.audit('m');
    assert.equal((await store.audit('m')).length, 1);
    assert.deepEqual([entry?.event, entry?.rollout, entry?.revision, entry?.hosts], ['start', 'r1', 0, 1]);
  });

  it('a rollout starts from the stable version that it was made for, and that stays until it ends', async (store) => {
    await withHosts(store, 'a');
    const none = start('r0', 'm', ['a'], { expectStable: null });
    assert.deepEqual(await store.startRollout({ ...none, expectStable: 1 }), { outcome: 'conflict' });
    const change = { model: 'm', hosts: [], writes: [], stable: 42 };
    await store.assertCells({ ...change, expectGeneration: 0, intent: intent() });
    assert.deepEqual(await store.startRollout(none), { outcome: 'conflict' });
    assert.deepEqual(await store.startRollout({ ...none, expectStable: 4 }), { outcome: 'conflict' });
    assert.equal(await store.rollout('r0'), undefined);
    assert.equal((await store.startRollout({ ...none, expectStable: 42 })).outcome, 'started');
    assert.equal((await store.startRollout(none)).outcome, 'duplicate', 'whatever has become stable since');
    const moved = { ...change, stable: 41, expectGeneration: 1 };
    assert.equal((await store.assertCells({ ...moved, intent: intent() })).outcome, 'conflict');
    const { stable: _, ...cells } = moved;
    assert.equal((await store.assertCells({ ...cells, intent: intent() })).outcome, 'committed');
    assert.equal((await store.model('m'))?.stable, 42);
  });

  it('a version that was taken back starts by force only', async (store) => {
    await withHosts(store, 'a');
    const writes = { model: 'm', expectGeneration: 0, hosts: [], writes: [], intent: intent() };
    await store.assertCells({ ...writes, tombstones: [43, 4] });
    assert.deepEqual(await store.startRollout(start('r1', 'm', ['a'])), { outcome: 'tombstoned' });
    const three = start('r3', 'm', ['a'], { plan: plan('m', 3, ['a']) });
    assert.equal((await store.startRollout(three)).outcome, 'started', '3 is neither 43 nor 4');
    await store.commit(commit('r3', 'm', 0, { modelChange: { release: true } }));
    assert.equal((await store.startRollout(start('r1', 'm', ['a'], { force: true }))).outcome, 'started');
  });

  it('the history of a model has the latest first, and forgets the oldest', async (store) => {
    await withHosts(store, 'a');
    for (let i = 0; i < 23; i++) {
      await store.startRollout(start(`r${i}`, 'm', ['a']));
      await store.commit(commit(`r${i}`, 'm', 0, { modelChange: { release: true } }));
    }
    assert.deepEqual(await store.history('m', 3), ['r22', 'r21', 'r20']);
    assert.equal((await store.history('m', 100)).length, 20);
    assert.deepEqual(await store.history('zz', 3), []);
    assert.deepEqual(await store.history('m', 0), []);
    assert.equal(await store.rollout('r2'), undefined);
    assert.equal((await store.rollout('r3'))?.id, 'r3');
    assert.deepEqual(await store.activeRollouts(), []);
    assert.equal((await store.model('m'))?.active, undefined);
  });
}

export function commitTests(it: It): void {
  const write = (place: number, version: number) => ({ place, cell: { versions: [version], watch: true } });

  it('a commit does everything at once, with the time of the store', async (store) => {
    await withHosts(store, 'a', 'b', 'c');
    await store.startRollout(start('r', 'm', ['a', 'b', 'c']));
    const before = (await store.rolloutState('r'))?.stamps;
    await until('the clock to go on', async () => (await store.now()) > (before?.phaseAt ?? 0));
    const expand = commit('r', 'm', 0, {
      ...{ state: state('Expand', { wave: 2 }), stamps: ['phaseAt', 'endedAt'], hosts: ['a', 'b', 'c'] },
      ...{ writes: [write(0, 43), write(2, 44)], modelChange: { stable: 43, tombstone: 41 } },
    });
    const answer = await store.commit(expand);
    assert.deepEqual([answer.outcome, answer.revision, answer.generation], ['committed', 1, 1]);
    const record = await store.rolloutState('r');
    assert.deepEqual([record?.revision, record?.state], [1, expand.state]);
    assert.deepEqual(record?.stamps, { ...before, phaseAt: answer.at, endedAt: answer.at });
    assert.ok(answer.at > (before?.phaseAt ?? 0));
    const cells = await store.readCells('m', ['a', 'b', 'c']);
    assert.deepEqual(
      cells.map((cell) => cell && decodeCell(cell)),
      [{ generation: 1, versions: [43], watch: true }, undefined, { generation: 1, versions: [44], watch: true }],
    );
    const { stable, tombstones, active } = (await store.model('m')) ?? {};
    assert.deepEqual([stable, tombstones, active], [43, [41], 'r']);
    const entry = (await store.audit('m')).at(-1);
    const { id: _, at, ...said } = entry ?? assert.fail();
    assert.deepEqual(said, { rollout: 'r', revision: 1, ...expand.audit });
    assert.ok(Math.abs(at - answer.at) <= 1);
  });

  it('an operation is carried out once, also when others came after it', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    const first = commit('r', 'm', 0, { hosts: ['a'], writes: [write(0, 43)] });
    const answer = await store.commit(first);
    await store.commit(commit('r', 'm', 1, { hosts: ['a'], writes: [write(0, 44)] }));
    await store.commit(commit('r', 'm', 2));
    const document = await store.readDesired('a');
    assert.deepEqual(await store.commit(first), { ...answer, outcome: 'duplicate' });
    assert.deepEqual(await store.readDesired('a'), document);
    assert.equal((await store.rolloutState('r'))?.revision, 3);
    assert.equal((await store.audit('m')).length, 4);
  });

  it('a commit on another revision changes nothing', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    await store.commit(commit('r', 'm', 0, { hosts: ['a'], writes: [write(0, 43)] }));
    const before = [
      await store.rollout('r'),
      await store.readDesired('a'),
      await store.model('m'),
      await store.audit('m'),
    ];
    for (const expectRevision of [0, 2]) {
      const late = commit('r', 'm', expectRevision, {
        ...{ hosts: ['a'], writes: [write(0, 99)], stamps: ['endedAt'], generationAbove: 70 },
        modelChange: { stable: 99, tombstone: 43, release: true },
      });
      const { outcome, revision, generation } = await store.commit(late);
      assert.deepEqual([outcome, revision, generation], ['conflict', 1, 1]);
    }
    const after = [
      await store.rollout('r'),
      await store.readDesired('a'),
      await store.model('m'),
      await store.audit('m'),
    ];
    assert.deepEqual(after, before);
  });

  it('a commit that has not seen the cells of another one changes nothing', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    const step = (revision: number, expectGeneration: number) =>
      store.commit(commit('r', 'm', revision, { hosts: ['a'], writes: [write(0, 43)], expectGeneration }));
    assert.equal((await step(0, 0)).outcome, 'committed', 'a model without cells has generation 0');
    const cells = { model: 'm', expectGeneration: 1, hosts: ['a'], writes: [write(0, 42)] };
    await store.assertCells({ ...cells, intent: intent() });
    const before = [await store.rollout('r'), await store.readDesired('a'), await store.audit('m')];
    const { outcome, revision, generation } = await step(1, 1);
    assert.deepEqual([outcome, revision, generation], ['conflict', 1, 2]);
    assert.deepEqual([await store.rollout('r'), await store.readDesired('a'), await store.audit('m')], before);
    const again = await step(1, 2);
    assert.deepEqual([again.outcome, again.revision, again.generation], ['committed', 2, 3]);
  });

  it('a rollout that is not active any more commits nothing', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r1', 'm', ['a']));
    await store.commit(commit('r1', 'm', 0, { modelChange: { release: true } }));
    assert.equal((await store.commit(commit('r1', 'm', 1))).outcome, 'conflict');
    await store.startRollout(start('r2', 'm', ['a']));
    assert.equal((await store.commit(commit('r1', 'm', 1))).outcome, 'conflict');
    assert.equal((await store.commit(commit('r2', 'm', 0))).outcome, 'committed');
    await assert.rejects(store.commit(commit('zz', 'm', 0)), coded('ERR_ROLLOUT_NOT_FOUND'));
  });

  it('only one of many commits on one revision is made', async (store, fleet) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    const stores = await Promise.all([1, 2, 3, 4].map(() => fleet.connect()));
    for (let revision = 0; revision < 5; revision++) {
      const answers = await Promise.all(
        stores.map((each, i) => each.commit(commit('r', 'm', revision, { hosts: ['a'], writes: [write(0, i)] }))),
      );
      assert.equal(answers.filter(({ outcome }) => outcome === 'committed').length, 1);
      assert.equal(answers.filter(({ outcome }) => outcome === 'conflict').length, 3);
    }
    assert.equal((await store.model('m'))?.generation, 5);
  });

  it('generations go above what hosts have seen, and stay without cells', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    const above = { hosts: ['a'], writes: [write(0, 1)], generationAbove: 99 };
    assert.equal((await store.commit(commit('r', 'm', 0, above))).generation, 100);
    assert.equal((await store.commit(commit('r', 'm', 1, { generationAbove: 500 }))).generation, 100);
    assert.equal((await store.commit(commit('r', 'm', 2, { ...above, generationAbove: 5 }))).generation, 101);
  });

  it('the model remembers what was stable, and what was bad until it is forced', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    const change = (revision: number, modelChange: object) => store.commit(commit('r', 'm', revision, { modelChange }));
    for (let i = 0; i < 14; i++) await change(i, { stable: i, tombstone: 100 - i });
    await change(14, { stable: 12, unTombstone: 95 });
    await change(15, { stable: 12 });
    const { stable, previous, tombstones } = (await store.model('m')) ?? {};
    assert.deepEqual([stable, previous], [12, [13, 11, 10, 9, 8, 7, 6, 5, 4, 3]]);
    const bad = Array.from({ length: 14 }, (_, i) => 87 + i).filter((version) => version !== 95);
    assert.deepEqual(tombstones, bad);
  });

  it('the largest commit is 500 hosts, and a place must be one of them', async (store) => {
    const hosts = Array.from({ length: 501 }, (_, i) => `h${i}`);
    await withHosts(store, ...hosts);
    await store.startRollout(start('r', 'm', hosts));
    const writes = hosts.map((_, place) => write(place, place % 7));
    const invalid = coded('ERR_INVALID_ARGUMENT');
    await assert.rejects(store.commit(commit('r', 'm', 0, { hosts, writes })), invalid);
    await assert.rejects(store.commit(commit('r', 'm', 0, { hosts, writes: [write(501, 1)] })), invalid);
    const most = commit('r', 'm', 0, { hosts, writes: writes.slice(0, 500) });
    assert.equal((await store.commit(most)).outcome, 'committed');
    const cells = await store.readCells('m', hosts);
    cells.slice(0, 500).forEach((cell, i) => {
      assert.deepEqual(decodeCell(cell ?? '').versions, [i % 7]);
    });
    assert.equal(cells[500], undefined);
  });
}

export function verbTests(it: It): void {
  it('a verb waits for its answer, and is the same verb when it is sent again', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    const pause = intent();
    const first = await store.addVerb('r', 'pause', pause);
    const second = await store.addVerb('r', 'abort', intent());
    const third = await store.addVerb('r', 'retry', intent());
    assert.deepEqual(await store.addVerb('r', 'pause', pause), first);
    assert.ok(first.id < second.id && second.id < third.id);
    assert.deepEqual(first, { id: first.id, verb: 'pause', ...pause });
    assert.deepEqual(await store.pendingVerbs('r'), [first, second, third]);
    assert.equal(await store.verbAnswer('r', pause.operation), undefined);
    const answers = [first, second].map(({ id, verb }) => ({
      id,
      verb,
      outcome: 'applied' as const,
      message: `did ${verb}`,
    }));
    await store.commit(commit('r', 'm', 0, { verbs: { upTo: second.id, answers } }));
    assert.deepEqual(await store.pendingVerbs('r'), [third]);
    assert.deepEqual(await store.verbAnswer('r', pause.operation), answers[0]);
    assert.deepEqual(await store.verbAnswer('r', second.operation), answers[1]);
    assert.deepEqual(await store.addVerb('r', 'pause', pause), first, 'also when it was answered');
    assert.deepEqual(await store.pendingVerbs('r'), [third]);
    const trail = (await store.audit('m')).map(({ event, actor, message }) => [event, actor, message]);
    assert.deepEqual(trail.slice(1, 3), [
      ['pause', pause.actor, pause.reason],
      ['abort', pause.actor, pause.reason],
    ]);
    assert.equal(trail.length, 5, 'start, three verbs, one commit');
    await assert.rejects(store.addVerb('zz', 'pause', intent()), coded('ERR_ROLLOUT_NOT_FOUND'));
    assert.deepEqual(await store.pendingVerbs('zz'), []);
  });

  it('a commit that conflicts answers no verb', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    const verb = await store.addVerb('r', 'pause', intent());
    const answers = [{ id: verb.id, verb: verb.verb, outcome: 'applied' as const, message: '' }];
    assert.equal((await store.commit(commit('r', 'm', 7, { verbs: { upTo: verb.id, answers } }))).outcome, 'conflict');
    assert.deepEqual(await store.pendingVerbs('r'), [verb]);
  });

  it('the first result of a gate stays', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    const pass = { verdict: 'pass' as const, message: '0.1 % of 500', figures: { requests: 500 } };
    const fail = { verdict: 'fail' as const, message: 'late' };
    assert.deepEqual(await store.putGateResult('r', '0-1-1', pass), pass);
    assert.deepEqual(await store.putGateResult('r', '0-1-1', fail), pass);
    assert.deepEqual(await store.putGateResult('r', '0-1-2', fail), fail);
    assert.deepEqual(
      await store.gateResults('r'),
      new Map<string, object>([
        ['0-1-1', pass],
        ['0-1-2', fail],
      ]),
    );
    assert.deepEqual(await store.gateResults('zz'), new Map());
    await assert.rejects(store.putGateResult('zz', '0-0-0', pass), coded('ERR_ROLLOUT_NOT_FOUND'));
  });

  it('the trail is read in pages', async (store) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r', 'm', ['a']));
    for (let i = 0; i < 4; i++) await store.commit(commit('r', 'm', i));
    const all = await store.audit('m');
    assert.deepEqual(
      all.map(({ revision }) => revision),
      [0, 1, 2, 3, 4],
    );
    assert.deepEqual(await store.audit('m', '', 2), all.slice(0, 2));
    assert.deepEqual(await store.audit('m', all[1]?.id, 2), all.slice(2, 4));
    assert.deepEqual(await store.audit('m', all[4]?.id), []);
    assert.deepEqual(await store.latestAudit('m'), all);
    assert.deepEqual(await store.latestAudit('m', '', 2), all.slice(3), 'from the end');
    assert.deepEqual(await store.latestAudit('m', all[3]?.id, 2), all.slice(1, 3));
    assert.deepEqual(await store.latestAudit('m', all[0]?.id, 2), []);
    assert.deepEqual(await store.latestAudit('zz'), []);
  });
}
