// transition.settled: every list settles, whatever becomes of it.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { deadline, turns } from '../../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../../support/loaders.js';
import { TestManager } from '../../support/manager.js';

const start = (t: TestContext, options = {}) =>
  new TestManager(t, { maxNumLoadRetries: 0, numLoadThreads: 4, numUnloadThreads: 4, ...options });
const pendingAfter = async (promise: Promise<unknown>) => {
  let settled = false;
  void promise.then(() => {
    settled = true;
  });
  await turns();
  return !settled;
};

test('an empty list for an unknown name settles', async (t) => {
  const m = start(t);
  assert.deepEqual(await m.aspire('m', []), { name: 'm', versions: [], superseded: false });
});

test('settled is one promise, also when it is asked for late', async (t) => {
  const m = start(t);
  const transition = m.manager.setAspiredVersions('m', counted(1));
  await m.saw('m', 1, 'Available');
  assert.equal(transition.settled, transition.settled);
  assert.equal((await m.settled(transition)).versions[0]?.managerState, 'Available');
  assert.equal(transition.name, 'm');
});

test('versions come in the order of the list', async (t) => {
  const m = start(t);
  const { versions } = await m.aspire('m', counted(3, 1, 2));
  assert.deepEqual(
    versions.map(({ version }) => version),
    [3, 1, 2],
  );
});

test('it waits for all versions, and for the end of what was dropped', async (t) => {
  const m = start(t);
  const old = new ManualLoader({ manualUnload: true });
  const first = m.manager.setAspiredVersions('m', one(1, old));
  (await old.loading()).succeed(1);
  await m.settled(first);
  const loader = new ManualLoader();
  const { settled } = m.manager.setAspiredVersions('m', [...one(2, loader), ...counted(3)]);
  await m.saw('m', 3, 'Available');
  const unload = await old.unloading();
  assert.equal(await pendingAfter(settled), true, '2 is loading, 1 is unloading');
  (await loader.loading()).succeed(2);
  await m.saw('m', 2, 'Available');
  assert.equal(await pendingAfter(settled), true, '1 is unloading');
  unload.succeed();
  assert.deepEqual(
    (await deadline(settled, 'settled')).versions.map((v) => v.managerState),
    ['Available', 'Available'],
  );
});

test('what was dropped under a lease is waited for', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const handle = m.manager.getServableHandle('m');
  const { settled } = m.manager.setAspiredVersions('m', counted(2));
  await m.saw('m', 1, 'Unloading');
  assert.equal(await pendingAfter(settled), true);
  handle.release();
  assert.equal((await deadline(settled, 'settled')).superseded, false);
});

test('a list that is superseded settles when its own versions have come out', async (t) => {
  const m = start(t);
  const loader = new ManualLoader();
  const first = m.manager.setAspiredVersions('m', one(1, loader));
  const attempt = await loader.loading();
  const second = m.manager.setAspiredVersions('m', one(1, new CountingLoader(1)));
  assert.equal(await pendingAfter(first.settled), true);
  attempt.succeed(1);
  const results = [await m.settled(first), await m.settled(second)];
  assert.deepEqual(
    results.map((r) => [r.superseded, r.versions[0]?.managerState]),
    [
      [true, 'Available'],
      [false, 'Available'],
    ],
  );
});

test('a hundred lists in a row all settle, and only the last one is not superseded', async (t) => {
  const m = start(t);
  const transitions = Array.from({ length: 100 }, (_, i) =>
    m.manager.setAspiredVersions('m', counted(i % 7, (i % 7) + 1)),
  );
  const results = await Promise.all(transitions.map((transition) => m.settled(transition)));
  assert.deepEqual(
    results.map(({ superseded }) => superseded),
    [...Array.from({ length: 99 }, () => true), false],
  );
  assert.deepEqual(m.available(), ['m/1', 'm/2']);
});

test('a version that was dropped before its load began ends as cancelled', async (t) => {
  const m = start(t, { numLoadThreads: 1 });
  const [busy, queued] = [new ManualLoader(), new CountingLoader(1)];
  m.manager.setAspiredVersions('busy', one(1, busy));
  const attempt = await busy.loading();
  const transition = m.manager.setAspiredVersions('m', one(1, queued));
  await m.aspire('m', []);
  const { versions, superseded } = await m.settled(transition);
  assert.deepEqual([superseded, versions[0]?.error?.code], [true, 'ERR_LOAD_CANCELLED']);
  attempt.succeed(1);
  await m.saw('busy', 1, 'Available');
  assert.equal(queued.loads, 0);
});

test('a failed version that the last good one has to stand in for settles the list', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2));
  const { versions } = await m.aspire('m', [...one(3, new FailingLoader(3)), { version: 4, error: 'not prepared' }]);
  assert.deepEqual(
    versions.map(({ error }) => error?.code),
    ['ERR_LOAD_FAILED', 'ERR_SOURCE_ERROR'],
  );
  assert.deepEqual(m.available(), ['m/2']);
});

test('dropped and aspired again while it is unloading: the list settles when the version is back', async (t) => {
  const m = start(t);
  const [first, second] = [new ManualLoader({ manualUnload: true }), new CountingLoader(1)];
  const loading = m.manager.setAspiredVersions('m', one(1, first));
  (await first.loading()).succeed(1);
  await m.settled(loading);
  const dropping = m.manager.setAspiredVersions('m', []);
  const unload = await first.unloading();
  const back = m.manager.setAspiredVersions('m', one(1, second));
  assert.equal(await pendingAfter(back.settled), true);
  assert.equal(second.loads, 0, 'not before the old one is gone');
  unload.succeed();
  assert.equal((await m.settled(back)).versions[0]?.managerState, 'Available');
  assert.equal((await m.settled(dropping)).superseded, true);
  assert.deepEqual([second.loads, m.resolve('m')], [1, 'm/1']);
});

test('dropped, aspired and dropped again while it is unloading: the one in between is cancelled unused', async (t) => {
  const m = start(t);
  const [first, second] = [new ManualLoader({ manualUnload: true }), new CountingLoader(1)];
  const loading = m.manager.setAspiredVersions('m', one(1, first));
  (await first.loading()).succeed(1);
  await m.settled(loading);
  m.manager.setAspiredVersions('m', []);
  const unload = await first.unloading();
  const between = m.manager.setAspiredVersions('m', one(1, second));
  const last = m.manager.setAspiredVersions('m', []);
  assert.equal((await m.settled(between)).versions[0]?.error?.code, 'ERR_LOAD_CANCELLED');
  unload.succeed();
  await m.settled(last);
  assert.equal(second.loads, 0);
});

test('close() settles what is left', async (t) => {
  const m = start(t, { abandons: true });
  await m.aspire('held', counted(1));
  const handle = m.manager.getServableHandle('held');
  const pending = m.manager.setAspiredVersions('held', []);
  const loading = m.manager.setAspiredVersions('m', one(1, new ManualLoader({ deaf: true })));
  await m.saw('m', 1, 'Loading');
  const results = Promise.all([pending.settled, loading.settled]);
  await deadline(m.manager.close({ drainTimeoutMs: 10 }), 'close()');
  const [dropped, cancelled] = await deadline(results, 'what was pending');
  assert.deepEqual(dropped.versions, []);
  assert.equal(cancelled.versions[0]?.managerState, 'End');
  assert.ok(cancelled.versions[0]?.error);
  handle.release();
});

test('a list does not take the end of an earlier incarnation for that of the version it dropped', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const handle = m.manager.getServableHandle('m');
  const early: number[] = [];
  let held = true;
  let last = m.manager.setAspiredVersions('m', []);
  for (let i = 0; i < 3000; i++) {
    // Work for the loop, so that it is delivering events of others when those of m come.
    m.manager.setAspiredVersions(`other-${i % 8}`, i % 16 < 8 ? counted(1, 2, 3) : []);
    m.manager.setAspiredVersions('m', counted(1)); // revokes the unload: End, Start, Available
    last = m.manager.setAspiredVersions('m', []);
    void last.settled.then(({ superseded }) => {
      if (!superseded && held) early.push(i);
    });
    if (i % 10 === 0) await turns(1);
  }
  await turns();
  assert.deepEqual(early, [], 'settled while the version was held');
  held = false;
  handle.release();
  await m.settled(last);
});
