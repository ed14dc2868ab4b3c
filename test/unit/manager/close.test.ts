// close(): ends everything, within its deadline, and says what it had to leave behind.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AspiredVersionsManager, type AspiredVersionsManagerOptions } from 'aspired';
import { deadline, eventually, turns } from '../../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

const modes: [string, AspiredVersionsManagerOptions][] = [
  ['on its thread', {}],
  ['by steps', { manageStateIntervalMs: 0 }],
  ['with no pool threads', { numLoadThreads: 0, numUnloadThreads: 0 }],
];

for (const [mode, options] of modes) {
  const start = (t: TestContext, more = {}) => new TestManager(t, { maxNumLoadRetries: 0, ...options, ...more });
  const close = (m: TestManager, drainTimeoutMs?: number) =>
    deadline(m.manager.close(drainTimeoutMs === undefined ? {} : { drainTimeoutMs }), 'close()');

  test(`everything is unloaded, once; ${mode}`, async (t) => {
    const m = start(t);
    const loaders = Array.from({ length: 10 }, () => new CountingLoader(1));
    for (const [i, loader] of loaders.entries()) await m.aspire(`m${i}`, one(1, loader));
    assert.deepEqual(await close(m), { abandoned: [] });
    assert.ok(loaders.every(({ loads, unloads }) => loads === 1 && unloads === 1));
  });

  test(`an idle manager closes at once, twice too; ${mode}`, async (t) => {
    const m = start(t);
    const closing = m.manager.close();
    assert.equal(m.manager.close({ drainTimeoutMs: 5 }), closing, 'the same promise');
    assert.deepEqual(await deadline(closing, 'close()'), { abandoned: [] });
    assert.equal(m.manager.close(), closing);
    await m.manager[Symbol.asyncDispose]();
  });

  test(`nothing is found from the call on; ${mode}`, async (t) => {
    const m = start(t);
    await m.aspire('m', counted(1));
    const handle = m.manager.getServableHandle<number>('m');
    const closing = m.manager.close();
    assert.equal(m.resolve('m'), 'ERR_MANAGER_CLOSED');
    assert.equal(handle.servable, 1);
    handle.release();
    await deadline(closing, 'close()');
  });

  test(`a load under way is cancelled, and what it brings is unloaded; ${mode}`, async (t) => {
    const m = start(t);
    const loader = new ManualLoader({ deaf: true });
    const transition = m.manager.setAspiredVersions('m', one(1, loader));
    const { settled } = transition;
    const attempt = await m.until(loader.loading(), 'the load');
    const closing = m.manager.close();
    attempt.succeed(1);
    assert.deepEqual(await deadline(closing, 'close()'), { abandoned: [] });
    assert.equal(loader.unloads, 1);
    assert.equal((await deadline(settled, 'settled')).versions[0]?.error?.code, 'ERR_LOAD_CANCELLED');
    assert.ok(!m.events.statesOf('m', 1).includes('Available'));
  });

  test(`a loader that pays no attention is given up after cancelGraceMs; ${mode}`, async (t) => {
    const m = start(t, { cancelGraceMs: 10 });
    const loader = new ManualLoader({ deaf: true });
    m.manager.setAspiredVersions('m', one(1, loader));
    const attempt = await m.until(loader.loading(), 'the load');
    assert.deepEqual(await close(m), { abandoned: [] });
    assert.equal(attempt.context.signal.aborted, true);
    attempt.succeed(1);
    await turns();
    assert.equal(loader.unloads, 1, 'what came late is unloaded');
  });

  test(`a loader that hangs beyond the deadline is abandoned; what it brings later is unloaded; ${mode}`, async (t) => {
    const m = start(t, { cancelGraceMs: 600_000, abandons: true });
    const loader = new ManualLoader({ deaf: true });
    m.manager.setAspiredVersions('m', one(1, loader));
    const attempt = await m.until(loader.loading(), 'the load');
    assert.deepEqual(await close(m, 10), { abandoned: [{ name: 'm', version: 1 }] });
    attempt.succeed(1);
    await turns();
    assert.equal(loader.unloads, 1);
  });

  test(`an unload that hangs beyond the deadline is abandoned; ${mode}`, async (t) => {
    const m = start(t, { abandons: true });
    const loader = new ManualLoader({ manualUnload: true });
    m.manager.setAspiredVersions('m', one(1, loader));
    (await m.until(loader.loading(), 'the load')).succeed(1);
    await m.saw('m', 1, 'Available');
    m.manager.setAspiredVersions('m', []);
    const unload = await m.until(loader.unloading(), 'the unload');
    assert.deepEqual(await close(m, 10), { abandoned: [{ name: 'm', version: 1 }] });
    unload.succeed(); // nobody waits for it any more
    await turns();
    assert.equal(loader.unloads, 1);
  });

  test(`retries end, in the pause of an hour too; ${mode}`, async (t) => {
    const m = start(t, { maxNumLoadRetries: 5, loadRetryIntervalMs: 3_600_000 });
    const loader = new FailingLoader(1);
    m.manager.setAspiredVersions('m', one(1, loader));
    const pausing = () => m.manager.getServableStates('m')[0]?.nextRetryAt !== undefined;
    await m.until(eventually(pausing, 'the pause'), 'the pause');
    assert.deepEqual(await close(m), { abandoned: [] });
    assert.equal(loader.attempts, 1);
  });

  test(`a deadline of 0 abandons what is held, and only that; ${mode}`, async (t) => {
    const m = start(t, { abandons: true });
    const [held, free] = [new CountingLoader(1), new CountingLoader(1)];
    await m.aspire('held', one(1, held));
    await m.aspire('free', one(1, free));
    using handle = m.manager.getServableHandle<number>('held');
    const { abandoned } = await close(m, 0);
    assert.ok(abandoned.some(({ name }) => name === 'held'));
    assert.deepEqual([handle.servable, held.unloads], [1, 0]);
  });
}

test('what becomes available as close() is called is not found either', async () => {
  // Whether its close comes in the same turn is chance.
  for (let round = 0; round < 100; round++) {
    const manager = new AspiredVersionsManager();
    const loader = new ManualLoader();
    void manager.setAspiredVersions('m', one(1, loader)).settled;
    (await loader.loading()).succeed(1);
    for (let i = 0; i < 5; i++) await null; // the core is told of the load, and no turn has come yet
    const end = performance.now() + 1000;
    while (manager.getServableStates('m')[0]?.state !== 'Ready' && performance.now() < end);
    let closed = false;
    const closing = manager.close().then(() => {
      closed = true;
    });
    await eventually(() => {
      assert.throws(() => manager.getServableHandle('m'), coded('ERR_MANAGER_CLOSED'));
      return closed;
    }, 'close()');
    await closing;
    assert.equal(loader.unloads, 1);
  }
});

test('every method after close() says that the manager is closed', async () => {
  const manager = new AspiredVersionsManager();
  await deadline(manager.setAspiredVersions('m', counted(1)).settled, 'the load');
  await deadline(manager.close(), 'close()');
  const calls: Record<string, () => unknown> = {
    setAspiredVersions: () => manager.setAspiredVersions('m', counted(2)),
    setVersionLabels: () => manager.setVersionLabels('m', {}),
    setAspiredVersionPolicy: () => manager.setAspiredVersionPolicy('m', 'resource-preserving'),
    getServableHandle: () => manager.getServableHandle('m'),
    'getServableHandle by label': () => manager.getServableHandle({ name: 'm', label: 'canary' }),
    withServableSync: () => manager.withServableSync('m', () => 1),
    getAvailableServableHandles: () => manager.getAvailableServableHandles(),
    listAvailableServableIds: () => manager.listAvailableServableIds(),
    listServableNames: () => manager.listServableNames(),
    getServableStates: () => manager.getServableStates('m'),
    getVersionLabels: () => manager.getVersionLabels('m'),
    getEventLog: () => manager.getEventLog(),
    events: () => manager.events(),
    stats: () => manager.stats(),
    setNumLoadThreads: () => manager.setNumLoadThreads(1),
    setNumUnloadThreads: () => manager.setNumUnloadThreads(1),
    step: () => manager.step(),
  };
  for (const [name, call] of Object.entries(calls)) {
    assert.throws(call, coded('ERR_MANAGER_CLOSED', 'FAILED_PRECONDITION'), name);
  }
  await assert.rejects(
    manager.withServable('m', () => 1),
    coded('ERR_MANAGER_CLOSED'),
  );
  await assert.rejects(manager.waitUntilServablesReachState([], 'End'), coded('ERR_MANAGER_CLOSED'));
});

test('bad options of close() throw, and the manager stays open', async (t) => {
  const m = new TestManager(t);
  await m.aspire('m', counted(1));
  for (const drainTimeoutMs of [-1, 0.5, Number.NaN, '10', Number.POSITIVE_INFINITY]) {
    assert.throws(
      () => m.manager.close({ drainTimeoutMs } as never),
      coded('ERR_INVALID_ARGUMENT', 'INVALID_ARGUMENT'),
    );
  }
  assert.throws(() => m.manager.close({ drainTimeout: 5 } as never), /Did you mean drainTimeoutMs/);
  assert.equal(m.resolve('m'), 'm/1');
});

test('close() from within: a loader, an unload, a policy, a reader', async () => {
  const managers: AspiredVersionsManager[] = [];
  const make = (options = {}) => {
    const manager = new AspiredVersionsManager(options);
    managers.push(manager);
    return manager;
  };
  const close = <T = undefined>(manager: AspiredVersionsManager, answer?: T): T => {
    void manager.close();
    return answer as T;
  };

  const inLoad = make();
  inLoad.setAspiredVersions('m', one(1, { load: () => close(inLoad, 1) }));

  const inPolicy = make({ aspiredVersionPolicy: { getNextAction: () => close(inPolicy) } });
  inPolicy.setAspiredVersions('m', counted(1));

  const inUnload = make();
  const loader = { load: () => 1, unload: () => close(inUnload) };
  await deadline(inUnload.setAspiredVersions('m', one(1, loader)).settled, 'the load');
  inUnload.setAspiredVersions('m', []);

  const inReader = make();
  await deadline(inReader.setAspiredVersions('m', counted(1)).settled, 'the load');
  assert.equal(await inReader.withServable<number, number>('m', (servable) => close(inReader, servable)), 1);

  for (const manager of managers) assert.deepEqual(await deadline(manager.close(), 'close()'), { abandoned: [] });
});

test('managers live beside each other, many of them, one after the other', async () => {
  for (let round = 0; round < 5; round++) {
    const managers = Array.from({ length: 8 }, () => new AspiredVersionsManager());
    const settled = managers.map((manager, i) => manager.setAspiredVersions('m', counted(i)).settled);
    await deadline(Promise.all(settled), 'the loads');
    managers.forEach((manager, i) => {
      using handle = manager.getServableHandle<number>('m');
      assert.equal(handle.servable, i);
    });
    await deadline(Promise.all(managers.map((manager) => manager.close())), 'close()');
  }
});
