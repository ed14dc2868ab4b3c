// What every FleetStore promises. One suite, run over the store in memory and the one in Redis.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { decodeCell } from '#lib/fleet/codec.js';
import type { FleetStore } from '#lib/fleet/store/types.js';
import { beat, coded, commit, fullBeat, hostInfo, intent, plan, start, state, until, withHosts } from './support.js';

/** One fleet without data, and what a test does with it. */
export interface FleetUnderTest {
  connect(): Promise<FleetStore>;
  /** All data is lost. */
  clear(): Promise<void>;
}

export function storeConformance(
  kind: string,
  make: (t: TestContext) => Promise<FleetUnderTest>,
  skip: string | false,
) {
  const it = (name: string, work: (store: FleetStore, fleet: FleetUnderTest) => Promise<void>) => {
    test(`${kind}: ${name}`, { skip }, async (t) => {
      const fleet = await make(t);
      await work(await fleet.connect(), fleet);
    });
  };
  fleetTests(it);
  leaseTests(it);
  reportTests(it);
  documentTests(it);
  rolloutTests(it);
  commitTests(it);
  verbTests(it);
  transferTests(it);
}

type It = (name: string, work: (store: FleetStore, fleet: FleetUnderTest) => Promise<void>) => void;

function fleetTests(it: It): void {
  it('a fleet is made once, and known by its incarnation', async (store, fleet) => {
    assert.equal(await store.meta(), undefined);
    const meta = await store.create();
    assert.equal(meta.schema, 1);
    assert.ok(meta.incarnation.length >= 16);
    assert.ok(Math.abs(meta.createdAt - (await store.now())) < 60_000);
    const other = await fleet.connect();
    assert.deepEqual(await other.create(), meta);
    assert.deepEqual(await other.meta(), meta);
    await fleet.clear();
    assert.equal(await store.meta(), undefined);
    assert.notEqual((await store.create()).incarnation, meta.incarnation);
  });

  it('a store that lost the fleet takes no change of a controller', async (store, fleet) => {
    await withHosts(store, 'a');
    await store.startRollout(start('r1', 'm', ['a']));
    await fleet.clear();
    const empty = coded('ERR_STORE_EMPTY');
    await assert.rejects(store.enterHosts([hostInfo('a')]), empty);
    await assert.rejects(store.setCordoned('a', true, intent()), empty);
    await assert.rejects(store.removeHost('a', intent()), empty);
    await assert.rejects(store.startRollout(start('r2', 'm', ['a'])), empty);
    await assert.rejects(store.commit(commit('r1', 'm', 0)), empty);
    await assert.rejects(store.addVerb('r1', 'abort', intent()), empty);
    await assert.rejects(store.putGateResult('r1', '0-0-1', { verdict: 'pass', message: '' }), empty);
    const cells = { model: 'm', expectGeneration: 0, hosts: ['a'], writes: [], intent: intent() };
    await assert.rejects(store.assertCells(cells), empty);
    await assert.rejects(store.exportAll(), empty);
  });

  it('a closed store says so', async (store) => {
    await store.close();
    await store.close();
    await assert.rejects(store.now(), coded('ERR_FLEET_CLOSED'));
    await assert.rejects(
      store.onDoorbell('a', () => {}),
      coded('ERR_FLEET_CLOSED'),
    );
  });

  it('hosts keep their index, whatever they say later; it is never used again', async (store) => {
    await store.create();
    const entered = await store.enterHosts([hostInfo('a'), hostInfo('b'), hostInfo('c')]);
    assert.deepEqual(
      entered.map(({ index }) => index),
      [0, 1, 2],
    );
    await store.setCordoned('b', true, intent());
    const [again] = await store.enterHosts([hostInfo('b', { zone: 'eu-1b', labels: { gpu: 'no' } })]);
    const b = { index: 1, cordoned: true, info: hostInfo('b', { zone: 'eu-1b', labels: { gpu: 'no' } }) };
    assert.deepEqual(again, b);
    await store.removeHost('c', intent());
    assert.equal((await store.enterHosts([hostInfo('d')]))[0]?.index, 3);
    assert.deepEqual(
      (await store.hosts()).map(({ index, info }) => `${index} ${info.id}`),
      ['0 a', '1 b', '3 d'],
    );
    assert.deepEqual((await store.hosts())[1], b);
    await assert.rejects(store.setCordoned('zz', true, intent()), coded('ERR_HOST_NOT_FOUND'));
    await assert.rejects(store.removeHost('c', intent()), coded('ERR_HOST_NOT_FOUND'));
  });

  it('changes of hosts are in the trail of the fleet, each once', async (store) => {
    await withHosts(store, 'a');
    const cordon = intent();
    await store.setCordoned('a', true, cordon);
    await store.setCordoned('a', false, intent());
    await store.setCordoned('a', true, cordon);
    assert.equal((await store.hosts())[0]?.cordoned, false, 'the operation was carried out before');
    const remove = intent();
    await store.removeHost('a', remove);
    await store.removeHost('a', remove);
    const trail = await store.audit('');
    assert.deepEqual(
      trail.map(({ event, message, actor }) => [event, message, actor]),
      ['cordon', 'uncordon', 'remove'].map((event) => [event, 'a: the test wants it', 'ops@example.com']),
    );
  });

  it('hints are read from where one left off', async (store) => {
    await store.hint('a');
    await store.hint('b');
    await store.hint('a');
    const first = await store.readHints('');
    assert.deepEqual([...first.hosts].sort(), ['a', 'b']);
    assert.deepEqual(await store.readHints(first.next), { hosts: [], next: first.next });
    await store.hint('c');
    assert.deepEqual((await store.readHints(first.next)).hosts, ['c']);
  });
}

function leaseTests(it: It): void {
  it('a lease is held by one boot until it is given back', async (store, fleet) => {
    const other = await fleet.connect();
    assert.deepEqual(await store.heartbeat(fullBeat('a', 'boot-1', 1)), { known: false });
    assert.deepEqual(await other.heartbeat(fullBeat('a', 'boot-2', 7)), { known: false, heldBy: 'boot-1' });
    assert.deepEqual(await store.readLeases(['a', 'b']), [{ bootId: 'boot-1', sequence: 1 }, undefined]);
    assert.equal((await store.readReports(['a']))[0]?.status.bootId, 'boot-1', 'nothing was written');
    await other.leave('a', 'boot-2');
    assert.equal((await store.readLeases(['a']))[0]?.bootId, 'boot-1', 'only its holder gives it back');
    await store.leave('a', 'boot-1');
    assert.deepEqual(await store.readLeases(['a']), [undefined]);
    assert.deepEqual(await other.heartbeat(fullBeat('a', 'boot-2', 7)), { known: false });
    assert.deepEqual(await store.readLeases(['a']), [{ bootId: 'boot-2', sequence: 7 }]);
  });

  it('a lease runs out by the clock of the store, and the next boot gets it', async (store) => {
    await store.heartbeat({ ...fullBeat('a', 'boot-1', 1), leaseMs: 40 });
    await until('the lease to run out', async () => (await store.readLeases(['a']))[0] === undefined);
    assert.deepEqual(await store.heartbeat(fullBeat('a', 'boot-2', 1)), { known: false });
    assert.equal((await store.readReports(['a']))[0]?.status.bootId, 'boot-2');
  });

  it('a beat answers whether the host is known, and the revision of its document', async (store) => {
    assert.deepEqual(await store.heartbeat(fullBeat('a', 'x', 1)), { known: false });
    await withHosts(store, 'a');
    const revision = (await store.readDesired('a'))?.revision;
    assert.ok(revision);
    assert.deepEqual(await store.heartbeat(beat('a', 'x', 1)), { known: true, revision });
    await store.removeHost('a', intent());
    assert.deepEqual(await store.readLeases(['a']), [undefined]);
    const answer = await store.heartbeat(beat('a', 'x', 1));
    assert.deepEqual(answer, { known: false, resend: true }, 'what it reported went with it');
  });

  it('reports that are missing are asked for again', async (store, fleet) => {
    const status = (sequence: number) => ({ bootId: 'x', sequence, revision: 0, usedBytes: 0, clock: 0 });
    assert.equal((await store.heartbeat(beat('a', 'x', 1))).resend, true, 'nothing was ever reported');
    assert.equal((await store.heartbeat(beat('a', 'x', 1))).resend, true, 'and still is not');
    assert.equal((await store.heartbeat(fullBeat('a', 'x', 2))).resend, undefined);
    assert.equal((await store.heartbeat(beat('a', 'x', 2))).resend, undefined);
    assert.equal((await store.heartbeat(beat('a', 'x', 3, { status: status(3) }))).resend, undefined, 'the next one');
    assert.equal((await store.heartbeat(beat('a', 'x', 3, { status: status(3) }))).resend, undefined, 'sent twice');
    assert.equal((await store.heartbeat(beat('a', 'x', 5, { status: status(5) }))).resend, true, '4 is missing');
    assert.equal((await store.heartbeat(fullBeat('a', 'x', 6))).resend, undefined);
    await store.heartbeat(beat('a', 'x', 6, { leaseMs: 30 }));
    await until('the lease to run out', async () => (await store.readLeases(['a']))[0] === undefined);
    assert.equal((await store.heartbeat(beat('a', 'x', 6))).resend, undefined, 'the report outlives the lease');
    await fleet.clear();
    assert.equal((await store.heartbeat(beat('a', 'x', 6))).resend, true);
  });
}

function reportTests(it: It): void {
  it('a report is written in parts, and read whole or by model', async (store) => {
    const first = fullBeat('a', 'x', 1);
    await store.heartbeat(first);
    const other = { generation: 9, versions: [{ version: 5, managerState: 'Loading' as const, ramBytes: 7 }] };
    const status = { bootId: 'x', sequence: 2, revision: 4, usedBytes: 6, clock: 99 };
    await store.heartbeat(beat('a', 'x', 2, { status, models: new Map([['n', other]]) }));
    const [whole, missing] = await store.readReports(['a', 'b']);
    assert.equal(missing, undefined);
    assert.deepEqual(whole, { info: first.info, status, models: new Map([...(first.models ?? []), ['n', other]]) });
    assert.deepEqual((await store.readReports(['a'], ['n', 'zz']))[0]?.models, new Map([['n', other]]));
    assert.deepEqual((await store.readReports(['a'], []))[0]?.models, new Map());
    await store.heartbeat(beat('a', 'x', 3, { models: new Map([['m', null]]) }));
    assert.deepEqual([...((await store.readReports(['a']))[0]?.models.keys() ?? [])], ['n']);
  });

  it('a new boot starts its report anew', async (store) => {
    await store.heartbeat(fullBeat('a', 'boot-1', 8));
    await store.leave('a', 'boot-1');
    assert.deepEqual([...((await store.readReports(['a']))[0]?.models.keys() ?? [])], ['m'], 'kept while it is away');
    const status = { bootId: 'boot-2', sequence: 1, revision: 0, usedBytes: 0, clock: 0 };
    await store.heartbeat(beat('a', 'boot-2', 1, { info: hostInfo('a'), status }));
    const [report] = await store.readReports(['a']);
    assert.equal(report?.status.bootId, 'boot-2');
    assert.deepEqual(report?.models, new Map());
  });

  it('many hosts are read in the order asked for', async (store) => {
    const ids = Array.from({ length: 1100 }, (_, i) => `host-${i}`);
    for (const id of ids.filter((_, i) => i % 100 === 0)) await store.heartbeat(fullBeat(id, `boot-${id}`, 1));
    const reports = await store.readReports(ids, ['m']);
    const leases = await store.readLeases(ids);
    ids.forEach((id, i) => {
      assert.equal(reports[i]?.info.id, i % 100 === 0 ? id : undefined);
      assert.equal(leases[i]?.bootId, i % 100 === 0 ? `boot-${id}` : undefined);
    });
    assert.deepEqual(await store.readReports([]), []);
    assert.deepEqual(await store.readLeases([]), []);
  });
}

function documentTests(it: It): void {
  const change = (expectGeneration: number, versions: number[], hosts: string[], operation?: string) => ({
    ...{ model: 'm', expectGeneration, hosts, intent: intent(operation) },
    writes: hosts.map((_, place) => ({ place, cell: { versions, ...(versions[0] ? { primary: versions[0] } : {}) } })),
  });

  it('a document that nobody wrote is undefined; one without cells is not', async (store) => {
    assert.equal(await store.readDesired('a'), undefined);
    await withHosts(store, 'a');
    assert.equal((await store.readDesired('a'))?.cells.size, 0);
    assert.deepEqual(await store.readCells('m', ['a', 'b']), [undefined, undefined]);
  });

  it('cells are written with the next generation, and nobody writes over what he has not seen', async (store) => {
    await withHosts(store, 'a', 'b');
    const first = await store.assertCells(change(0, [1], ['a', 'b'], 'first'));
    assert.deepEqual([first.outcome, first.generation], ['committed', 1]);
    const { revision = 0, cells } = (await store.readDesired('a')) ?? {};
    assert.deepEqual(decodeCell(cells?.get('m') ?? ''), { generation: 1, versions: [1], primary: 1 });
    assert.deepEqual(await store.readCells('m', ['b', 'zz']), [cells?.get('m'), undefined]);
    assert.deepEqual(await store.assertCells(change(0, [1], ['a', 'b'], 'first')), { ...first, outcome: 'duplicate' });
    const late = await store.assertCells(change(0, [9], ['a']));
    assert.deepEqual([late.outcome, late.generation], ['conflict', 1]);
    assert.equal((await store.readDesired('a'))?.revision, revision, 'neither wrote');
    const above = await store.assertCells({ ...change(1, [], ['a']), generationAbove: 40 });
    assert.equal(above.generation, 41);
    assert.deepEqual(decodeCell((await store.readCells('m', ['a']))[0] ?? ''), { generation: 41, versions: [] });
    assert.ok(((await store.readDesired('a'))?.revision ?? 0) > revision);
    assert.deepEqual(await store.models(), ['m']);
    assert.deepEqual(
      (await store.audit('m')).map(({ event, hosts, message }) => [event, hosts, message]),
      [
        ['assert', 2, 'the test wants it'],
        ['assert', 1, 'the test wants it'],
      ],
    );
  });

  it('asserting restores what a model knew', async (store) => {
    await withHosts(store, 'a');
    await store.assertCells({ ...change(0, [1], ['a']), stable: 1, tombstones: [9, 7] });
    await store.assertCells({ ...change(1, [2], ['a']), stable: 2, tombstones: [7, 100, 8] });
    const expected = { name: 'm', generation: 2, stable: 2, previous: [1], tombstones: [7, 8, 9, 100] };
    assert.deepEqual(await store.model('m'), expected);
    assert.equal(await store.model('zz'), undefined);
  });

  it('a doorbell rings for its own host, and no more when it is off', async (store, fleet) => {
    await withHosts(store, 'a', 'b');
    const agent = await fleet.connect();
    let rings = 0;
    let others = 0;
    const bell = await agent.onDoorbell('a', () => rings++);
    await using _other = await agent.onDoorbell('b', () => others++);
    await store.assertCells(change(0, [1], ['a']));
    await until('the bell of a', () => rings === 1);
    assert.equal(others, 0);
    await bell[Symbol.asyncDispose]();
    await bell[Symbol.asyncDispose]();
    await store.assertCells(change(1, [1], ['a', 'b']));
    await until('the bell of b', () => others === 1);
    assert.equal(rings, 1);
  });

  it('two bells of one host hang side by side', async (store, fleet) => {
    await withHosts(store, 'a');
    const agent = await fleet.connect();
    const rings = { first: 0, second: 0 };
    const first = await agent.onDoorbell('a', () => rings.first++);
    await using _second = await agent.onDoorbell('a', () => rings.second++);
    await first[Symbol.asyncDispose]();
    await store.assertCells(change(0, [1], ['a']));
    await until('the second bell', () => rings.second === 1);
    assert.equal(rings.first, 0);
  });
}

function rolloutTests(it: It): void {
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

function commitTests(it: It): void {
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

function verbTests(it: It): void {
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
  });
}

function transferTests(it: It): void {
  it('an export goes into an empty store, and into no other', async (store, fleet) => {
    await withHosts(store, 'a', 'b', 'gone');
    await store.setCordoned('b', true, intent());
    await store.removeHost('gone', intent());
    const writes = [{ place: 0, cell: { versions: [1, 2], primary: 2, rolledBack: [3] } }];
    await store.assertCells({
      ...{ model: 'm', expectGeneration: 0, hosts: ['a'], writes, intent: intent() },
      stable: 1,
    });
    await store.startRollout(start('r', 'm', ['a']));
    await store.commit(commit('r', 'm', 0, { modelChange: { stable: 2, tombstone: 3 } }));
    const saved = await store.exportAll();
    assert.deepEqual(JSON.parse(JSON.stringify(saved)), saved, 'plain data');
    await assert.rejects(store.importAll(saved, intent()), coded('ERR_ROLLOUT_CONFLICT'));
    await fleet.clear();
    const restore = intent();
    const meta = await store.importAll(saved, restore);
    assert.notEqual(meta.incarnation, saved.incarnation);
    assert.deepEqual(await store.meta(), meta);
    assert.deepEqual(await store.importAll(saved, restore), meta, 'the same operation');
    const again = await store.exportAll();
    const models = [{ name: 'm', generation: 1, stable: 2, previous: [1], tombstones: [3] }];
    assert.deepEqual(again, { ...saved, incarnation: meta.incarnation, models });
    assert.equal((await store.enterHosts([hostInfo('new')]))[0]?.index, 2);
    assert.deepEqual(
      (await store.audit('')).map(({ event, hosts }) => [event, hosts]),
      [['import', 2]],
    );
    assert.deepEqual(await store.activeRollouts(), [], 'rollouts are not taken along');
    assert.equal((await store.startRollout(start('r9', 'm', ['a']))).outcome, 'started');
  });

  it('an import rings every host, with a revision that none has seen', async (store, fleet) => {
    await withHosts(store, 'a');
    const saved = await store.exportAll();
    const before = (await store.readDesired('a'))?.revision ?? 0;
    await fleet.clear();
    let rings = 0;
    await using _bell = await store.onDoorbell('a', () => rings++);
    await until('the clock to go on', async () => (await store.now()) > before);
    await store.importAll(saved, intent());
    await until('the bell', () => rings === 1);
    assert.ok(((await store.readDesired('a'))?.revision ?? 0) > before);
  });

  it('nobody confirms where there are no replicas, and the store tells how it is', async (store) => {
    assert.equal(await store.confirm(1, 20), 0);
    assert.equal(await store.confirm(0, 20), 0);
    assert.match((await store.health()).kind, /^(redis|memory)$/);
  });
}
