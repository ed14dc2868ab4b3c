// What every FleetStore promises. One suite, run over the store in memory and the one in Redis.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { decodeCell } from '#lib/fleet/codec.js';
import type { FleetExport, FleetStore } from '#lib/fleet/store/types.js';
import { commitTests, rolloutTests, verbTests } from './conformance-rollouts.js';
import { beat, coded, commit, fullBeat, hostInfo, intent, start, until, withHosts } from './support.js';

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

/** One test over a store of its own. */
export type It = (name: string, work: (store: FleetStore, fleet: FleetUnderTest) => Promise<void>) => void;

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
    assert.equal((await store.heartbeat(beat('a', 'x', 5, { status: status(5) }))).resend, true, 'and still is');
    assert.equal((await store.heartbeat(beat('a', 'x', 6, { status: status(6) }))).resend, true, 'whatever follows');
    assert.equal((await store.heartbeat(beat('a', 'x', 6))).resend, true, 'until a whole report comes');
    assert.equal((await store.heartbeat(fullBeat('a', 'x', 6))).resend, undefined);
    await store.heartbeat(beat('a', 'x', 6, { leaseMs: 30 }));
    await until('the lease to run out', async () => (await store.readLeases(['a']))[0] === undefined);
    assert.equal((await store.heartbeat(beat('a', 'x', 6))).resend, undefined, 'the report outlives the lease');
    await fleet.clear();
    assert.equal((await store.heartbeat(beat('a', 'x', 6))).resend, true);
  });

  it('an answer that asks for a whole report is given again, should it be lost', async (store, fleet) => {
    const status = (sequence: number) => ({ bootId: 'x', sequence, revision: 0, usedBytes: 5, clock: 1 });
    await store.heartbeat(fullBeat('a', 'x', 1));
    await fleet.clear();
    // A beat of which the host never hears again: for the connection that it has, it was not sent.
    const other = await fleet.connect();
    assert.equal((await other.heartbeat(beat('a', 'x', 2, { status: status(2) }))).resend, true);
    assert.deepEqual(await store.readReports(['a']), [undefined], 'nobody knows where the host is');
    assert.equal(
      (await store.heartbeat(beat('a', 'x', 2, { status: status(2) }))).resend,
      true,
      'soon after the first',
    );
    assert.equal((await other.heartbeat(beat('a', 'x', 2, { leaseMs: 30 }))).resend, true);
    await until('the lease to run out', async () => (await store.readLeases(['a']))[0] === undefined);
    assert.equal((await store.heartbeat(beat('a', 'x', 2))).resend, true, 'also when the lease has run out');
    assert.equal((await store.heartbeat(fullBeat('a', 'x', 2))).resend, undefined);
    assert.equal((await store.heartbeat(beat('a', 'x', 3, { status: status(3) }))).resend, undefined);
    assert.equal((await store.readReports(['a']))[0]?.status.sequence, 3);
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

  it('what is read after each ring is what was written, however many writes and bells there are', async (store, fleet) => {
    await withHosts(store, 'a', 'b');
    const agent = await fleet.connect();
    const other = await fleet.connect();
    let rings = 0;
    await using _first = await agent.onDoorbell('a', () => rings++);
    await using _second = await agent.onDoorbell('a', () => rings++);
    const isSame = async () => {
      const [mine, theirs] = [await agent.readDesired('a'), await other.readDesired('a')];
      return mine?.revision === theirs?.revision && assert.deepEqual(mine, theirs) === undefined;
    };
    for (let i = 0; i < 12; i++) {
      const before = rings;
      if (i === 4) await store.enterHosts([hostInfo('a')]);
      else if (i === 6) await store.removeHost('a', intent());
      else if (i === 7) await store.enterHosts([hostInfo('a')]);
      else for (let n = 0; n <= i % 3; n++) await store.assertCells({ ...change(0, [i], ['a']), model: `m${i}-${n}` });
      if (i !== 4 && i !== 6) await until('the bell', () => rings >= before + 2);
      await until('the same document', isSame);
    }
    assert.equal((await agent.readDesired('a'))?.cells.size, 9, 'those since it was removed');
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

/** Two hosts, a model, a cell. */
async function exportOf(store: FleetStore): Promise<FleetExport> {
  await withHosts(store, 'a', 'b');
  const writes = [{ place: 0, cell: { versions: [1], primary: 1 } }];
  await store.assertCells({
    ...{ model: 'm', expectGeneration: 0, hosts: ['a'], writes, stable: 1, tombstones: [3], intent: intent() },
  });
  return JSON.parse(JSON.stringify(await store.exportAll()));
}

const BROKEN: readonly { place: string; value: unknown; code: string; expected: RegExp }[] = [
  { place: '', value: {}, code: 'ERR_INVALID_ARGUMENT', expected: /Expected 1, .* for schema of .*received undefined/ },
  { place: '', value: [], code: 'ERR_INVALID_ARGUMENT', expected: /Expected an object for the export, .*array of 0/ },
  { place: '', value: null, code: 'ERR_INVALID_ARGUMENT', expected: /Expected an object for the export, .*null/ },
  { place: 'schema', value: 99, code: 'ERR_SCHEMA_UNSUPPORTED', expected: /for schema of the export, .*99/ },
  { place: 'fleet', value: 'other', code: 'ERR_INVALID_ARGUMENT', expected: /for fleet of the export, .*"other"/ },
  { place: 'incarnation', value: 1, code: 'ERR_INVALID_ARGUMENT', expected: /a text for incarnation / },
  { place: 'models', value: {}, code: 'ERR_INVALID_ARGUMENT', expected: /an array for models / },
  { place: 'models.0', value: null, code: 'ERR_INVALID_ARGUMENT', expected: /an object for models\[0\] / },
  { place: 'models.0.name', value: 'a:b', code: 'ERR_FLEET_INVALID_NAME', expected: /models\[0\]\.name .*"a:b"/ },
  { place: 'models.0.generation', value: '7', code: 'ERR_INVALID_ARGUMENT', expected: /models\[0\]\.generation .*"7"/ },
  { place: 'models.0.generation', value: -1, code: 'ERR_INVALID_ARGUMENT', expected: /models\[0\]\.generation .*-1/ },
  { place: 'models.0.generation', value: 2 ** 53, code: 'ERR_INVALID_ARGUMENT', expected: /a safe integer >= 0 / },
  { place: 'models.0.stable', value: 'v1', code: 'ERR_INVALID_ARGUMENT', expected: /models\[0\]\.stable .*"v1"/ },
  {
    place: 'models.0.previous',
    value: '1',
    code: 'ERR_INVALID_ARGUMENT',
    expected: /an array for models\[0\]\.previous /,
  },
  { place: 'models.0.tombstones.0', value: 1.5, code: 'ERR_INVALID_ARGUMENT', expected: /\.tombstones\[0\] .*1\.5/ },
  { place: 'hosts', value: undefined, code: 'ERR_INVALID_ARGUMENT', expected: /an array for hosts .*undefined/ },
  { place: 'hosts.0.index', value: null, code: 'ERR_INVALID_ARGUMENT', expected: /hosts\[0\]\.index .*null/ },
  {
    place: 'hosts.0.index',
    value: 1,
    code: 'ERR_INVALID_ARGUMENT',
    expected: /no other one has for hosts\[1\]\.index /,
  },
  {
    place: 'hosts.1.info.id',
    value: 'a',
    code: 'ERR_INVALID_ARGUMENT',
    expected: /no other one has for hosts\[1\]\.info/,
  },
  {
    place: 'hosts.0.info.id',
    value: '{a}',
    code: 'ERR_FLEET_INVALID_NAME',
    expected: /hosts\[0\]\.info\.id .*"\{a\}"/,
  },
  { place: 'hosts.0.info.zone', value: '', code: 'ERR_FLEET_INVALID_NAME', expected: /hosts\[0\]\.info\.zone / },
  { place: 'hosts.0.info.labels', value: { x: 1 }, code: 'ERR_INVALID_ARGUMENT', expected: /labels\["x"\] .*1/ },
  { place: 'hosts.0.info.capacityBytes', value: '1', code: 'ERR_INVALID_ARGUMENT', expected: /\.capacityBytes / },
  { place: 'hosts.0.info.agentVersion', value: 1, code: 'ERR_INVALID_ARGUMENT', expected: /\.agentVersion / },
  { place: 'hosts.0.info.schema', value: 'x', code: 'ERR_INVALID_ARGUMENT', expected: /\.info\.schema / },
  { place: 'hosts.0.cordoned', value: 'no', code: 'ERR_INVALID_ARGUMENT', expected: /hosts\[0\]\.cordoned .*"no"/ },
  { place: 'desired', value: null, code: 'ERR_INVALID_ARGUMENT', expected: /an object for desired / },
  { place: 'desired.c', value: {}, code: 'ERR_INVALID_ARGUMENT', expected: /for desired of the export, .*"c"/ },
  { place: 'desired.a', value: 'm', code: 'ERR_INVALID_ARGUMENT', expected: /an object for desired\.a / },
  { place: 'desired.a.m', value: 5, code: 'ERR_INVALID_ARGUMENT', expected: /a text for desired\.a\.m / },
  { place: 'desired.a.m', value: '1;x;1', code: 'ERR_DOCUMENT_UNDECODABLE', expected: /desired\.a\.m .*"1;x;1"/ },
  { place: 'desired.a.m', value: '9;1;1', code: 'ERR_SCHEMA_UNSUPPORTED', expected: /desired\.a\.m .*schema 9/ },
  { place: 'desired.a.!', value: '1;1;1', code: 'ERR_FLEET_INVALID_NAME', expected: /a model of desired\.a .*"!"/ },
];

/** A copy with another value at 'models.0.name'. */
function broken(saved: FleetExport, place: string, value: unknown): unknown {
  const path = place === '' ? [] : place.split('.');
  const last = path.pop();
  if (last === undefined) return value;
  const copy = structuredClone(saved);
  let at = copy as unknown as Record<string, unknown>;
  for (const key of path) at = at[key] as Record<string, unknown>;
  at[last] = value;
  return copy;
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

  it('what is no export is refused before anything is written, and the message says where', async (store, fleet) => {
    const saved = await exportOf(store);
    await fleet.clear();
    for (const { place, value, code, expected } of BROKEN) {
      const data = broken(saved, place, value);
      await assert.rejects(store.importAll(data as FleetExport, intent()), (error: Error) => {
        coded(code)(error);
        assert.match(error.message, expected);
        return true;
      });
      assert.deepEqual([await store.meta(), await store.hosts(), await store.models()], [undefined, [], []], place);
    }
    await store.importAll(saved, intent());
    assert.deepEqual((await store.exportAll()).desired, saved.desired, 'another operation, at once');
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
