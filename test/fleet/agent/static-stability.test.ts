// What must not disturb a host: a document that is gone, empty, broken, old or another's, and a store that is away.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AspiredError } from 'aspired';
import { encodeCell } from '#lib/fleet/codec.js';
import { assertServes, codes, type Host, moreBeats, type ScriptedStore, startHost, tempDir, until } from './support.js';

/** A host that serves a/1 and b/2, by generations 5 and 6. */
async function serving(t: TestContext, options: Parameters<typeof startHost>[1] = {}): Promise<Host> {
  const host = await startHost(t, options);
  await host.agent.joined;
  host.store.write({
    a: { generation: 5, versions: [1], primary: 1 },
    b: { generation: 6, versions: [2], primary: 2 },
  });
  await until(() => host.store.stateOf('a', 1) === 'Available' && host.store.stateOf('b', 2) === 'Available', 'both');
  return host;
}

/** Both models are served as before, the finding is in the report and was told once. */
async function undisturbed(host: Host, ...expected: string[]): Promise<void> {
  await until(() => expected.every((code) => host.store.findings().includes(code)), `the findings ${expected}`);
  await moreBeats(host.store);
  assert.deepEqual(host.store.findings(), [...expected].sort());
  assertServes(host, 'a/1', 'b/2');
  assert.deepEqual(host.loaders.unloads, []);
  assert.deepEqual(codes(host.errors).sort(), [...expected].sort(), 'told once each');
}

/** Reports that arrived are numbered without a gap: another would make the store ask for everything. */
function assertSequence({ beats }: ScriptedStore): void {
  const saying = beats.filter(({ status }) => status !== undefined).map(({ sequence }) => sequence);
  for (let i = 1; i < saying.length; i++) {
    const step = (saying[i] as number) - (saying[i - 1] as number);
    assert.ok(step === 0 || step === 1, `sequence ${saying.join()}`);
  }
}

test('the document is gone', async (t) => {
  const host = await serving(t);
  host.store.desired = undefined;
  await undisturbed(host, 'ERR_DOCUMENT_MISSING');
  assert.equal(host.store.models.get('a')?.generation, 5, 'and it still says what it has accepted');
  host.store.write({
    a: { generation: 5, versions: [1], primary: 1 },
    b: { generation: 6, versions: [2], primary: 2 },
  });
  await until(() => host.store.findings().length === 0, 'the end of the finding');
});

test('the document is empty', async (t) => {
  const host = await serving(t);
  host.store.desired = { revision: 99, cells: new Map() };
  await undisturbed(host, 'ERR_DOCUMENT_MISSING');
  assert.notEqual(host.agent.status.revision, 99, 'it was not accepted');
});

test('one cell is gone', async (t) => {
  const host = await serving(t);
  host.store.write({ a: null });
  await undisturbed(host, 'ERR_DOCUMENT_MISSING');
  assert.match(host.errors[0]?.message ?? '', /a: Its cell is gone/);
});

test('the store has lost everything, hosts and reports too: it is told again', async (t) => {
  const host = await serving(t);
  const { store } = host;
  store.desired = undefined;
  store.known = false;
  store.holder = undefined;
  store.info = store.status = undefined;
  store.models.clear();
  store.resend = true;
  await until(() => store.stateOf('a', 1) === 'Available' && store.info !== undefined, 'the report');
  await undisturbed(host, 'ERR_DOCUMENT_MISSING');
  assert.ok(store.calls.includes('hint'), 'asks to be entered again');
});

test('the store comes back without its data: it is told at once, not by some later heartbeat', async (t) => {
  const host = await serving(t, { heartbeatIntervalMs: 60_000 });
  const { store } = host;
  store.faults.set('heartbeat', 'ERR_STORE_UNAVAILABLE');
  store.write({ c: { generation: 1, versions: [1] } });
  await until(() => host.agent.status.state === 'away', 'the agent to notice');
  store.info = undefined;
  store.models.clear();
  store.resend = true;
  // The beat that learns of it takes its time.
  store.onCall = (call) => (call === 'now' ? new Promise((resolve) => setTimeout(resolve, 60)) : undefined);
  store.faults.clear();
  await until(() => store.stateOf('a', 1) === 'Available' && store.info !== undefined, 'the report');
});

for (const [what, text, code] of [
  ['no text of ours', '{"versions":[3]}', 'ERR_DOCUMENT_UNDECODABLE'],
  ['nothing', '', 'ERR_DOCUMENT_UNDECODABLE'],
  ['a half', '1;7;3,', 'ERR_DOCUMENT_UNDECODABLE'],
  ['another schema', '2;7;3', 'ERR_SCHEMA_UNSUPPORTED'],
  ['an older generation', encodeCell({ generation: 4, versions: [3] }), 'ERR_DOCUMENT_STALE'],
  ['the same generation, other versions', encodeCell({ generation: 5, versions: [3] }), 'ERR_DOCUMENT_STALE'],
  ['an old removal', encodeCell({ generation: 4, versions: [] }), 'ERR_DOCUMENT_STALE'],
] as const) {
  test(`a cell is ${what}: its model stays, and the other goes on`, async (t) => {
    const host = await serving(t);
    host.store.write({ a: text });
    await undisturbed(host, code);
    host.store.write({ b: { generation: 7, versions: [2, 3], primary: 3 } });
    await until(() => host.test.resolve('b') === 'b/3', 'the other model');
    assertServes(host, 'a/1', 'b/2', 'b/3');
    host.store.write({ a: { generation: 8, versions: [] } });
    await until(() => host.test.resolve('a') === 'ERR_SERVABLE_NOT_FOUND', 'a removal that is meant');
    await until(() => host.store.findings().length === 0, 'the end of the finding');
  });
}

test('a name that no model can have', async (t) => {
  const host = await serving(t);
  host.store.write({ '{x}:y': { generation: 1, versions: [1] } });
  await undisturbed(host, 'ERR_FLEET_INVALID_NAME');
});

test('an old document is played back: nothing goes back', async (t) => {
  const host = await serving(t);
  const old = host.store.desired;
  host.store.write({ a: { generation: 7, versions: [2], primary: 2 } });
  await until(() => host.test.resolve('a') === 'a/2' && host.loaders.unloads.includes('a/1'), '2');
  host.store.desired = old;
  host.store.ring();
  await until(() => host.store.findings().includes('ERR_DOCUMENT_STALE'), 'the finding');
  await moreBeats(host.store);
  assertServes(host, 'a/2', 'b/2');
  assert.equal(host.store.models.get('a')?.generation, 7);
});

test('an old removal of everything is played back after a restart: the generation is remembered', async (t) => {
  const stateDir = tempDir(t);
  const first = await serving(t, { stateDir });
  first.store.write({ a: { generation: 8, versions: [] } });
  await until(() => first.store.models.get('a')?.generation === 8, 'the removal');
  await first.agent.close();
  const host = await startHost(t, { stateDir });
  host.store.write({ a: { generation: 7, versions: [1] }, b: { generation: 6, versions: [2], primary: 2 } });
  await host.agent.joined;
  await until(() => host.store.findings().includes('ERR_DOCUMENT_STALE'), 'the finding');
  await until(() => host.test.resolve('b') === 'b/2', 'the other model');
  assertServes(host, 'b/2');
});

for (const fault of ['ERR_STORE_UNAVAILABLE', 'ERR_STORE_READ_ONLY', 'hangs'] as const) {
  test(`the store ${fault === 'hangs' ? 'does not answer' : `answers ${fault}`}: served on, and whole again after it`, async (t) => {
    const host = await serving(t);
    const { store, agent, errors } = host;
    const before = store.calls.length;
    store.fault = fault;
    await until(() => agent.status.state === 'away', 'the agent to notice');
    await until(() => store.calls.length > before + 2, 'more attempts');
    store.write({ a: { generation: 9, versions: [1, 2], primary: 2 } }, false);
    await host.test.manager.withServable('a', () => 1);
    assertServes(host, 'a/1', 'b/2');
    assert.deepEqual(codes(errors), [fault === 'hangs' ? 'ERR_STORE_UNAVAILABLE' : fault], 'told once');
    store.fault = undefined;
    await until(() => store.models.get('a')?.primary === 2, 'what was written meanwhile');
    assert.equal(agent.status.state, 'joined');
    assert.deepEqual(store.findings(), []);
    await until(() => store.version('a', 1)?.traffic?.requests === 1, 'what happened meanwhile is reported');
    assertSequence(store);
  });
}

test('an answer that is lost: what it confirmed is said again, and the sequence has no gap', async (t) => {
  const host = await serving(t);
  const { store } = host;
  const original = store.heartbeat.bind(store);
  let lose = true;
  store.heartbeat = async (beat) => {
    const answer = await original(beat);
    if (beat.models?.has('c') && lose) {
      lose = false;
      throw Object.assign(new Error('Connection is closed.'));
    }
    return answer;
  };
  store.write({ c: { generation: 1, versions: [1] } });
  await until(() => store.stateOf('c', 1) === 'Available', 'the report');
  await moreBeats(store);
  assertSequence(store);
  assert.equal(lose, false);
  assert.ok(codes(host.errors).includes('ERR_STORE_UNAVAILABLE'));
});

test('a list that the manager does not take holds back its model only, and is tried again', async (t) => {
  const host = await serving(t);
  const { manager } = host.test;
  const original = manager.setAspiredVersions.bind(manager);
  let refusing = true;
  manager.setAspiredVersions = (name, versions, options) => {
    if (refusing && name === 'a') throw new AspiredError('ERR_INVALID_ARGUMENT', 'not this one');
    return original(name, versions, options);
  };
  host.store.write({ a: { generation: 7, versions: [3] }, b: { generation: 7, versions: [2, 4], primary: 4 } });
  await until(() => host.test.resolve('b') === 'b/4', 'the other model');
  await until(() => host.store.findings().includes('ERR_INVALID_ARGUMENT'), 'the finding');
  await moreBeats(host.store);
  assertServes(host, 'a/1', 'b/2', 'b/4');
  assert.deepEqual(codes(host.errors), ['ERR_INVALID_ARGUMENT'], 'told once');
  refusing = false;
  await until(() => host.test.resolve('a') === 'a/3' && host.store.findings().length === 0, 'the next try');
});

test('a store that cannot ring, tell the time or take hints is good enough', async (t) => {
  const host = await startHost(t);
  const { store } = host;
  store.known = false;
  for (const call of ['onDoorbell', 'now', 'hint'] as const) store.faults.set(call, 'ERR_STORE_DENIED');
  await host.agent.joined;
  store.write({ a: { generation: 1, versions: [1] } });
  await until(() => store.stateOf('a', 1) === 'Available', 'the model');
  await until(() => store.findings().length >= 1, 'the findings');
  store.faults.clear();
  store.known = true;
  await until(() => store.listeners === 1, 'the bell, later');
});

test('a storm of requests through expand, flip, flip back and contract: none fails', async (t) => {
  const host = await serving(t);
  const {
    store,
    test: { manager },
  } = host;
  let stop = false;
  let requests = 0;
  const failures: unknown[] = [];
  const storm = async (): Promise<void> => {
    while (!stop) {
      try {
        await manager.withServable('a', () => new Promise((resolve) => setImmediate(resolve)));
        requests++;
      } catch (error) {
        failures.push(error);
      }
    }
  };
  const clients = Array.from({ length: 50 }, storm);
  let generation = 10;
  for (let version = 1; version <= 20; version++) {
    const both = [version, version + 1];
    store.write({ a: { generation: generation++, versions: both, primary: version, watch: true } });
    await until(() => store.stateOf('a', version + 1) === 'Available', `expand to ${version + 1}`);
    for (const primary of [version + 1, version, version + 1]) {
      store.write({ a: { generation: generation++, versions: both, primary, watch: true } });
      await until(() => host.test.resolve('a') === `a/${primary}`, `flip to ${primary}`);
    }
    store.write({ a: { generation: generation++, versions: [version + 1], primary: version + 1 } });
    await until(() => host.loaders.unloads.includes(`a/${version}`), `contract to ${version + 1}`);
  }
  stop = true;
  await Promise.all(clients);
  assert.deepEqual(failures, []);
  assert.ok(requests > 1000, `${requests} requests`);
  assert.equal(host.loaders.loads.filter((key) => key.startsWith('a/')).length, 21, 'each version was loaded once');
});
