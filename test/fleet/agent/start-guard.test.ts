// Versions that end their process when they are loaded, in real processes: the host that comes back must live long enough to
// hear that they were taken back.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { AcceptedCell } from '#lib/fleet/agent/accepted-file.js';
import { Findings } from '#lib/fleet/agent/findings.js';
import { StartGuard } from '#lib/fleet/agent/start-guard.js';
import { deadline } from '../../support/deadline.js';
import { assertServes, codes, moreBeats, ScriptedStore, startHost, tempDir, until } from './support.js';

interface Told {
  readonly loads: readonly string[];
  readonly findings: readonly string[];
}

const CRASH = 7;

/** A start of the host in a process of its own. */
function startOf(t: TestContext, stateDir: string, store: 'away' | 'there') {
  const child = fork(fileURLToPath(new URL('./fixtures/crashing-agent.js', import.meta.url)), [stateDir, store]);
  t.after(() => void child.kill('SIGKILL'));
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return {
    ended: () => deadline(exit, 'the end of the process'),
    told: () => deadline(new Promise<Told>((resolve) => child.once('message', resolve)), 'what the process tells'),
    storeSays: (what: 'the same' | 'taken back') => void child.send(what),
  };
}

const startsOf = (stateDir: string): string => join(stateDir, 'f', 'h1', 'starts.json');

test('a version that ends its process at each load is left out after three starts, until the store names it', async (t) => {
  const stateDir = tempDir(t);
  assert.equal(await startOf(t, stateDir, 'there').ended(), CRASH, 'what the store says is tried');
  for (let start = 1; start <= 3; start++) {
    assert.equal(await startOf(t, stateDir, 'away').ended(), CRASH, `start ${start} loads what was accepted`);
  }
  const fourth = startOf(t, stateDir, 'away');
  const { loads, findings } = await fourth.told();
  assert.deepEqual([...loads].sort(), ['a/1', 'b/1'], 'the others are served, also one that was on its way each time');
  assert.equal(findings.length, 1);
  assert.match(findings[0] ?? '', /ended while it loaded b\/2: not loaded again before/);
  fourth.storeSays('the same');
  assert.equal(await fourth.ended(), CRASH, 'what the store says is tried again');

  const fifth = startOf(t, stateDir, 'away');
  assert.deepEqual([...(await fifth.told()).loads].sort(), ['a/1', 'b/1'], 'it is still known');
  const later = fifth.told();
  fifth.storeSays('taken back');
  assert.deepEqual([...(await later).loads].sort(), ['a/1', 'b/1']);
  assert.deepEqual((await later).findings, []);
  assert.equal(await fifth.ended(), 0);
  assert.ok(!existsSync(startsOf(stateDir)), 'nothing is left to remember');
});

/** A folder in which a/1 and b/[1, 2] were accepted, after starts that ended. */
async function accepted(t: TestContext, starts: object): Promise<string> {
  const stateDir = tempDir(t);
  const { store, agent, test } = await startHost(t, { stateDir });
  await deadline(agent.joined, 'joined');
  store.write({ a: { generation: 1, versions: [1] }, b: { generation: 1, versions: [1, 2], primary: 2 } });
  await until(() => store.stateOf('a', 1) === 'Available' && store.stateOf('b', 2) === 'Available', 'both');
  await agent.close();
  await test.manager.close();
  assert.ok(!existsSync(startsOf(stateDir)), 'a start that went well leaves nothing');
  writeFileSync(startsOf(stateDir), JSON.stringify({ schema: 1, ...starts }));
  return stateDir;
}

function away(): ScriptedStore {
  const store = new ScriptedStore();
  store.fault = 'ERR_STORE_UNAVAILABLE';
  return store;
}

test('a suspect that loads after all is none any more', async (t) => {
  const stateDir = await accepted(t, { unfinished: 3, suspects: [], loading: ['b/2'] });
  const host = await startHost(t, { stateDir, store: away() });
  await until(() => host.test.available().length === 2, 'the others');
  assertServes(host, 'a/1', 'b/1');
  assert.equal(host.test.resolve('b'), 'b/1', 'what there is of the model is served');
  await until(() => codes(host.errors).includes('ERR_LOAD_FAILED'), 'the finding');
  host.store.fault = undefined;
  await until(() => codes(host.errors).includes('ERR_DOCUMENT_MISSING'), 'the store to be read');
  host.store.write({ a: { generation: 1, versions: [1] } });
  await moreBeats(host.store);
  assertServes(host, 'a/1', 'b/1');
  assert.deepEqual(
    host.store.findings(),
    ['ERR_DOCUMENT_MISSING', 'ERR_LOAD_FAILED'],
    'a store that lost it says nothing',
  );
  host.store.write({ a: { generation: 1, versions: [1] }, b: { generation: 1, versions: [1, 2], primary: 2 } });
  await until(() => host.test.resolve('b') === 'b/2', 'b/2');
  await until(() => host.agent.status.findings.length === 0 && !existsSync(startsOf(stateDir)), 'the end of it');
});

test('a store that is there is read before the host has loaded one by one', async (t) => {
  const stateDir = await accepted(t, { unfinished: 2, suspects: [], loading: [] });
  const store = new ScriptedStore();
  store.write({ a: { generation: 1, versions: [1] }, b: { generation: 2, versions: [1], primary: 1 } });
  const host = await startHost(t, { stateDir, store });
  await deadline(host.agent.joined, 'joined');
  await until(() => store.models.get('b')?.generation === 2 && host.test.available().length === 2, 'the document');
  assertServes(host, 'a/1', 'b/1');
  await until(() => !existsSync(startsOf(stateDir)), 'the end of it');
});

test('an agent that is closed while it loads has not ended by it', async (t) => {
  const stateDir = await accepted(t, { unfinished: 1, suspects: ['b/1'], loading: [] });
  const host = await startHost(t, { stateDir, store: away() });
  const hanging = JSON.parse(readFileSync(startsOf(stateDir), 'utf8'));
  assert.deepEqual(hanging, { schema: 1, unfinished: 2, suspects: ['b/1'], loading: [] }, 'before anything is loaded');
  await host.agent.close();
  const left = JSON.parse(readFileSync(startsOf(stateDir), 'utf8'));
  assert.deepEqual(left, { schema: 1, unfinished: 0, suspects: ['b/1'], loading: [] });
});

for (const [what, text] of [
  ['no JSON', '{"schema":1,"unf'],
  ['of another schema', '{"schema":2,"unfinished":9,"suspects":["b/2"],"loading":[]}'],
  ['without what it should hold', '{"schema":1,"unfinished":9}'],
] as const) {
  test(`a file of starts that is ${what} holds back nothing`, async (t) => {
    const stateDir = await accepted(t, {});
    writeFileSync(startsOf(stateDir), text);
    const host = await startHost(t, { stateDir, store: away() });
    await until(() => host.test.available().length === 3, 'all');
    assert.ok(!codes(host.errors).includes('ERR_LOAD_FAILED'));
    await until(() => !existsSync(startsOf(stateDir)), 'the end of it');
  });
}

test('a load that hangs holds back the next one for a while only, and both are suspects', async (t) => {
  const folder = tempDir(t);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'starts.json'), JSON.stringify({ schema: 1, unfinished: 2, suspects: [], loading: [] }));
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const applied: string[] = [];
  const guard = new StartGuard(folder, new Findings(() => {}), (model) => void applied.push(model));
  const cell = (versions: number[]): AcceptedCell => ({ cell: { generation: 1, versions }, text: '' });
  await guard.begin(
    new Map([
      ['a', cell([1])],
      ['b', cell([1])],
      ['c', cell([1])],
    ]),
  );
  const loading = (): string[] => JSON.parse(readFileSync(join(folder, 'starts.json'), 'utf8')).loading;
  const untilApplied = async (count: number): Promise<void> => {
    for (let turn = 0; applied.length < count && turn < 10_000; turn++) await new Promise(setImmediate);
    assert.equal(applied.length, count);
  };
  const all = guard.loadTheRest();
  await untilApplied(1);
  assert.deepEqual(loading(), ['a/1']);
  t.mock.timers.tick(30_000);
  await untilApplied(2);
  assert.deepEqual(loading(), ['a/1', 'b/1']);
  guard.settled({ name: 'b', version: 1 });
  await untilApplied(3);
  assert.deepEqual(loading(), ['a/1', 'c/1']);
  assert.deepEqual(applied, ['a', 'b', 'c']);
  await guard.close();
  await all;
  assert.ok(!existsSync(join(folder, 'starts.json')));
});
