// The end of an agent, and options that are wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetAgent } from '#lib/fleet/agent/fleet-agent.js';
import type { FleetAgentOptions } from '#lib/fleet/agent/options.js';
import { deadline, eventually } from '../../support/deadline.js';
import { coded, TestManager } from '../../support/manager.js';
import { assertServes, LoaderPark, ScriptedStore, startHost, tempDir, until } from './support.js';

test('close() gives the lease back and leaves the versions to the owner of the manager', async (t) => {
  const host = await startHost(t);
  const { agent, store } = host;
  await agent.joined;
  store.write({ m: { generation: 1, versions: [1], primary: 1 } });
  await until(() => store.stateOf('m', 1) === 'Available', 'm/1');
  const closing = agent.close();
  assert.equal(agent.close(), closing, 'twice is once');
  await closing;
  assert.equal(store.holder, undefined);
  assert.equal(store.listeners, 0, 'the bell is silent');
  assert.equal(store.closes, 0, 'the store is its owner’s');
  assert.equal(agent.status.state, 'closed');
  const beats = store.beats.length;
  store.write({ m: { generation: 2, versions: [] } });
  await host.test.aspire('other', []);
  assert.equal(store.beats.length, beats);
  assertServes(host, 'm/1');
});

for (const fault of ['hangs', 'ERR_STORE_UNAVAILABLE'] as const) {
  test(`close() is prompt when the store ${fault === 'hangs' ? 'hangs' : 'is away'}, before and after joining`, async (t) => {
    const store = new ScriptedStore();
    store.fault = fault;
    const early = await startHost(t, { store });
    await deadline(early.agent.close(), 'close()', 5_000);
    await assert.rejects(early.agent.joined, coded('ERR_FLEET_CLOSED'));
    store.fault = undefined;
    const late = await startHost(t, { store });
    await late.agent.joined;
    store.fault = fault;
    await deadline(late.agent.close(), 'close()', 5_000);
  });
}

test('a store that cannot be opened is for joined to tell where waiting does not mend it', async (t) => {
  const store = new ScriptedStore();
  store.fault = 'ERR_STORE_DENIED';
  const { agent, errors } = await startHost(t, { store });
  await assert.rejects(deadline(agent.joined, 'joined'), coded('ERR_STORE_DENIED'));
  assert.equal(errors[0]?.code, 'ERR_STORE_DENIED');
  store.fault = undefined;
  await until(() => agent.status.state === 'joined', 'the agent to go on all the same');
});

test('onError that throws is a warning, and nothing else', async (t) => {
  const store = new ScriptedStore();
  store.clockAheadMs = 3_600_000;
  const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
  const { agent } = await startHost(t, {
    store,
    onError: () => {
      throw new Error('no console');
    },
  });
  await agent.joined;
  assert.match((await deadline(warned, 'the warning')).message, /no console/);
  await eventually(() => agent.status.findings.length === 1, 'the finding');
});

const good = (t: Parameters<typeof tempDir>[0]): FleetAgentOptions => ({
  fleet: 'f',
  id: 'h1',
  store: new ScriptedStore(),
  stateDir: tempDir(t),
  manager: new TestManager(t).manager,
  loader: new LoaderPark().factory,
});

for (const [what, change, code, message] of [
  ['an id with a brace', { id: '{h}' }, 'ERR_FLEET_INVALID_NAME', /host|id/],
  ['a fleet with a colon', { fleet: 'a:b' }, 'ERR_FLEET_INVALID_NAME', /fleet/],
  ['a zone that is no name', { zone: '' }, 'ERR_FLEET_INVALID_NAME', /zone/],
  ['labels that are no texts', { labels: { a: 1 } }, 'ERR_INVALID_ARGUMENT', /labels\.a/],
  ['a label without a name', { labels: { '': 'x' } }, 'ERR_FLEET_INVALID_NAME', /label/],
  ['a capacity below 0', { capacity: -1 }, 'ERR_INVALID_ARGUMENT', /capacity/],
  ['a store of another fleet', { fleet: 'g' }, 'ERR_INVALID_ARGUMENT', /store/],
  ['no store', { store: {} }, 'ERR_INVALID_ARGUMENT', /store/],
  ['a URL that is none', { store: { redis: 'localhost' } }, 'ERR_INVALID_ARGUMENT', /redis/],
  ['no folder', { stateDir: '' }, 'ERR_INVALID_ARGUMENT', /stateDir/],
  ['no manager', { manager: {} }, 'ERR_INVALID_ARGUMENT', /manager/],
  ['no loader', { loader: undefined }, 'ERR_INVALID_ARGUMENT', /loader/],
  [
    'a lease shorter than two heartbeats',
    { heartbeatIntervalMs: 100, leaseMs: 150 },
    'ERR_INVALID_ARGUMENT',
    /leaseMs/,
  ],
  [
    'an option that is misspelled',
    { heartBeatIntervalMs: 5 },
    'ERR_UNKNOWN_OPTION',
    /Did you mean heartbeatIntervalMs/,
  ],
] as const) {
  test(`start() refuses ${what}`, async (t) => {
    const options = { ...good(t), ...change } as unknown as FleetAgentOptions;
    await assert.rejects(
      FleetAgent.start(options),
      (error: Error) => coded(code)(error) && message.test(error.message),
    );
  });
}
