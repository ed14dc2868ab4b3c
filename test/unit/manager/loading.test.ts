// How loaders are run: contexts, hooks, warm-ups, retries, limits of time, and how many at once.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { AspiredError, type LoadContext } from 'aspired';
import { deadline, eventually, turns } from '../../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one, PendingCall } from '../../support/loaders.js';
import { TestManager } from '../../support/manager.js';

const HOUR = 3_600_000;
const start = (t: TestContext, options = {}) =>
  new TestManager(t, { maxNumLoadRetries: 0, loadRetryIntervalMs: 0, ...options });

/** Drops a version that is loading; the cancellation has come to this thread when it resolves. */
async function drop(m: TestManager, name: string): Promise<void> {
  const witness = new ManualLoader();
  m.manager.setAspiredVersions('witness', one(1, witness));
  const { context } = await witness.loading();
  const cancelled = once(context.signal, 'abort'); // behind that of the version: they come in order
  m.manager.setAspiredVersions(name, []);
  m.manager.setAspiredVersions('witness', []);
  await deadline(cancelled, 'the cancellation');
}

test('load() is called as a method, with id, attempt and a signal that is the same each time', async (t) => {
  const m = start(t, { maxNumLoadRetries: 2 });
  const contexts: LoadContext[] = [];
  const loader = {
    value: 'mine',
    load(context: LoadContext) {
      contexts.push(context);
      assert.equal(context.signal, context.signal);
      if (context.attempt < 3) throw new Error('again');
      return this.value;
    },
  };
  await m.aspire('m', one(1, loader));
  assert.equal(
    m.manager.withServableSync('m', (servable) => servable),
    'mine',
  );
  assert.deepEqual(
    contexts.map(({ id, attempt }) => [id.name, id.version, attempt]),
    [
      ['m', 1, 1],
      ['m', 1, 2],
      ['m', 1, 3],
    ],
  );
  assert.ok(contexts.every(({ signal }) => signal instanceof AbortSignal && !signal.aborted));
});

test('the signal fires when the version is dropped, with the reason', async (t) => {
  const m = start(t);
  const loader = new ManualLoader();
  m.manager.setAspiredVersions('m', one(1, loader));
  const { context } = await loader.loading();
  await m.aspire('m', []);
  assert.equal((context.signal.reason as AspiredError).code, 'ERR_LOAD_CANCELLED');
});

test('a signal that is first looked at after the drop has fired', async (t) => {
  const m = start(t);
  const gate = new PendingCall<void>();
  let aborted: boolean | undefined;
  const begun = new PendingCall<void>();
  const load = async (context: LoadContext) => {
    begun.succeed();
    await gate.promise;
    aborted = context.signal.aborted;
    context.signal.throwIfAborted();
  };
  m.manager.setAspiredVersions('m', one(1, { load }));
  await deadline(begun.promise, 'the load');
  await drop(m, 'm');
  gate.succeed();
  await m.saw('m', 1, 'End');
  assert.equal(aborted, true);
});

test('preLoadHook runs before each attempt; async is waited for', async (t) => {
  const calls: string[] = [];
  const preLoadHook = async (id: { name: string }) => {
    await turns(1);
    calls.push(`hook ${id.name}`);
  };
  const m = start(t, { preLoadHook, maxNumLoadRetries: 1 });
  const load = () => {
    calls.push('load');
    if (calls.length < 4) throw new Error('again');
    return 1;
  };
  await m.aspire('m', one(1, { load }));
  assert.deepEqual(calls, ['hook m', 'load', 'hook m', 'load']);
});

for (const [kind, preLoadHook] of [
  [
    'throws',
    () => {
      throw new Error('of the hook');
    },
  ],
  ['rejects', () => Promise.reject(new Error('of the hook'))],
] as const) {
  test(`a preLoadHook that ${kind} is a failed attempt, and load() is not called`, async (t) => {
    const m = start(t, { preLoadHook });
    const loader = new CountingLoader(1);
    const { versions } = await m.aspire('m', one(1, loader));
    assert.equal(versions[0]?.error?.code, 'ERR_LOAD_FAILED');
    assert.match(String(versions[0]?.error?.cause), /of the hook/);
    assert.equal(loader.loads, 0);
  });
}

test('a version dropped during its preLoadHook is not loaded', async (t) => {
  const [begun, gate] = [new PendingCall<void>(), new PendingCall<void>()];
  const preLoadHook = ({ name }: { name: string }) => {
    if (name !== 'm') return;
    begun.succeed();
    return gate.promise;
  };
  const m = start(t, { preLoadHook });
  const loader = new CountingLoader(1);
  m.manager.setAspiredVersions('m', one(1, loader));
  await deadline(begun.promise, 'the hook');
  await drop(m, 'm');
  gate.succeed();
  await m.saw('m', 1, 'End');
  assert.equal(loader.loads, 0);
});

test('warmup() runs before the version is Available', async (t) => {
  const m = start(t);
  const [begun, gate] = [new PendingCall<unknown>(), new PendingCall<void>()];
  const warmup = (servable: unknown) => {
    begun.succeed(servable);
    return gate.promise;
  };
  const transition = m.manager.setAspiredVersions('m', one(1, { load: () => 'warm', warmup }));
  assert.equal(await deadline(begun.promise, 'the warm-up'), 'warm');
  assert.equal(m.resolve('m'), 'ERR_SERVABLE_NOT_FOUND');
  gate.succeed();
  await m.settled(transition);
  assert.equal(m.resolve('m'), 'm/1');
});

test('a warmup() that fails is a failed load, and the servable is unloaded', async (t) => {
  const m = start(t);
  const loader = new CountingLoader(2);
  const error = new Error('wrong answers');
  const warmup = () => Promise.reject(error);
  await m.aspire('m', counted(1));
  const { versions } = await m.aspire('m', one(2, Object.assign(loader, { warmup })));
  assert.deepEqual([versions[0]?.error?.code, versions[0]?.error?.cause], ['ERR_WARMUP_FAILED', error]);
  assert.deepEqual([loader.loads, loader.unloads, m.resolve('m')], [1, 1, 'm/1']);
});

test('a version dropped during its warmup() is unloaded, and never visible', async (t) => {
  const m = start(t);
  const [begun, gate] = [new PendingCall<void>(), new PendingCall<void>()];
  const warmup = () => {
    begun.succeed();
    return gate.promise;
  };
  const loader = Object.assign(new CountingLoader(1), { warmup });
  m.manager.setAspiredVersions('m', one(1, loader));
  await deadline(begun.promise, 'the warm-up');
  await drop(m, 'm');
  gate.succeed();
  await m.saw('m', 1, 'End');
  assert.equal(loader.unloads, 1);
  assert.ok(!m.events.statesOf('m', 1).includes('Available'));
});

test('an error of the loader that is an AspiredError keeps its code and gets the servable', async (t) => {
  const m = start(t);
  const error = new AspiredError('ERR_MODEL_INVALID', 'not a model');
  const { versions } = await m.aspire('m', one(1, new FailingLoader(1, error)));
  const got = versions[0]?.error;
  assert.deepEqual(
    [got?.code, got?.status, got?.servable],
    ['ERR_MODEL_INVALID', 'INVALID_ARGUMENT', { name: 'm', version: 1 }],
  );
});

test('loadTimeoutMs: an attempt that takes longer is aborted and has failed', async (t) => {
  const m = start(t, { loadTimeoutMs: 10 });
  const loader = new ManualLoader();
  const { versions } = await m.aspire('m', one(1, loader));
  assert.deepEqual([versions[0]?.error?.code, versions[0]?.error?.status], ['ERR_LOAD_TIMEOUT', 'DEADLINE_EXCEEDED']);
  assert.equal((await loader.loading()).context.signal.aborted, true);
});

test('loadTimeoutMs: what comes too late is unloaded', async (t) => {
  const m = start(t, { loadTimeoutMs: 10, cancelGraceMs: 10 });
  const loader = new ManualLoader({ deaf: true });
  const { versions } = await m.aspire('m', one(1, loader));
  assert.equal(versions[0]?.error?.code, 'ERR_LOAD_TIMEOUT');
  (await loader.loading()).succeed(1);
  await turns();
  assert.deepEqual([loader.unloads, m.resolve('m')], [1, 'ERR_SERVABLE_NOT_FOUND']);
});

test('loadTimeoutMs: what comes within the grace has its memory until its unload has returned', async (t) => {
  const m = start(t, { loadTimeoutMs: 10, cancelGraceMs: 600_000, resources: { ram: '100MiB' } });
  const loader = new ManualLoader({ deaf: true, manualUnload: true });
  const estimateResources = () => ({ ram: '60MiB' });
  const transition = m.manager.setAspiredVersions('m', one(1, Object.assign(loader, { estimateResources })));
  const attempt = await loader.loading();
  await eventually(() => attempt.context.signal.aborted, 'the end of its time');
  attempt.succeed(1);
  const unload = await loader.unloading();
  await turns();
  const reserved = () => m.manager.resources().devices[0]?.reserved;
  assert.deepEqual([m.manager.getServableStates('m')[0]?.state, reserved()], ['Loading', 60 * 2 ** 20]);
  unload.succeed();
  assert.equal((await m.settled(transition)).versions[0]?.error?.code, 'ERR_LOAD_TIMEOUT');
  assert.equal(reserved(), 0);
});

test('unloadTimeoutMs: an unload that takes longer is given up, and the version is gone', async (t) => {
  const m = start(t, { unloadTimeoutMs: 10 });
  const loader = new ManualLoader({ manualUnload: true });
  const transition = m.manager.setAspiredVersions('m', one(1, loader));
  (await loader.loading()).succeed(1);
  await m.settled(transition);
  await m.aspire('m', []);
  assert.equal((await m.saw('m', 1, 'End')).error?.code, 'ERR_UNLOAD_FAILED');
  await m.aspire('m', counted(1));
  assert.equal(m.resolve('m'), 'm/1');
});

test('shouldRetryModelLoad is asked with the error and the id; one that throws is reported and means yes', async (t) => {
  const asked: unknown[] = [];
  const shouldRetryModelLoad = (error: AspiredError, id: object) => {
    asked.push([error.code, { ...id }]);
    throw new Error('of the predicate');
  };
  const m = start(t, { shouldRetryModelLoad, maxNumLoadRetries: 3 });
  const { versions } = await m.aspire('m', one(1, new FailingLoader(1, new Error('no'), 1)));
  assert.equal(versions[0]?.managerState, 'Available');
  assert.deepEqual(asked, [['ERR_LOAD_FAILED', { name: 'm', version: 1 }]]);
  assert.match(m.errors[0]?.message ?? '', /shouldRetryModelLoad threw/);
});

test('a failed version is loaded again at once when a list names it with a new loader', async (t) => {
  const m = start(t, { loadRetryIntervalMs: HOUR });
  await m.aspire('m', one(1, new FailingLoader(1)));
  const { versions } = await m.aspire('m', counted(1));
  assert.equal(versions[0]?.managerState, 'Available');
});

test('enableReloadServablesWithError off: it stays failed until it was dropped', async (t) => {
  const m = start(t, { enableReloadServablesWithError: false, slowRetryIntervalMs: 1 });
  const failing = new FailingLoader(1);
  await m.aspire('m', one(1, failing));
  const next = new CountingLoader(1);
  assert.equal((await m.aspire('m', one(1, next))).versions[0]?.error?.cause, failing.error);
  await m.aspire('m', []);
  assert.equal((await m.aspire('m', one(1, next))).versions[0]?.managerState, 'Available');
  assert.deepEqual([failing.attempts, next.loads], [1, 1]);
});

test('the fields of a state: attempts, next retry, error, degraded, leases, incarnation', async (t) => {
  const m = start(t, { maxNumLoadRetries: 5, loadRetryIntervalMs: HOUR });
  const failing = new FailingLoader(2);
  await m.aspire('m', counted(1));
  using held = m.manager.getServableHandle('m');
  const before = Date.now();
  m.manager.setAspiredVersions('m', [...counted(1), ...one(2, failing)]);
  await eventually(() => m.manager.getServableStates('m')[0]?.nextRetryAt !== undefined, 'the pause');
  const [two, one1] = m.manager.getServableStates('m');
  assert.deepEqual(
    [two?.id, two?.state, two?.managerState, two?.aspired, two?.attempts, two?.degraded, two?.leases],
    [{ name: 'm', version: 2 }, 'Loading', 'Loading', true, 1, true, 0],
  );
  assert.equal(two?.error?.cause, failing.error);
  const pause = (two?.nextRetryAt ?? 0) - before;
  assert.ok(pause > 0.7 * HOUR && pause < 1.3 * HOUR, `${pause} ms, with jitter of 20 %`);
  assert.deepEqual(
    [one1?.id.version, one1?.attempts, one1?.leases, one1?.degraded, one1?.error],
    [1, 1, 1, true, undefined],
  );
  assert.ok((two?.incarnation ?? 0) > (one1?.incarnation ?? 0));
  assert.equal(held.id.version, 1);
});

test('a dropped version that is held is shown with its lease', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const handle = m.manager.getServableHandle('m');
  const dropping = m.manager.setAspiredVersions('m', []);
  await m.saw('m', 1, 'Unloading');
  const [row] = m.manager.getServableStates('m');
  assert.deepEqual([row?.state, row?.aspired, row?.leases], ['Quiescing', false, 1]);
  handle.release();
  await m.settled(dropping);
});

test('stats() counts threads, and what is queued and managed', async (t) => {
  const m = start(t, { numLoadThreads: 3, numUnloadThreads: 2 });
  await m.aspire('m', counted(1, 2));
  const { managedVersions, load, unload } = m.manager.stats();
  assert.deepEqual([managedVersions, load.threads, unload.threads, load.queued, unload.running], [2, 3, 2, 0, 0]);
});

test('the number of loads at once follows setNumLoadThreads(); 0 is one at a time', async (t) => {
  const m = start(t, { numLoadThreads: 1 });
  const loaders = Array.from({ length: 6 }, () => new ManualLoader());
  loaders.forEach((loader, i) => void m.manager.setAspiredVersions(`m${i}`, one(1, loader)));
  const begun = () => loaders.filter(({ loads }) => loads > 0).length;
  await eventually(() => begun() === 1, 'the first load');
  m.manager.setNumLoadThreads(4);
  await eventually(() => begun() === 4, 'four loads');
  m.manager.setNumLoadThreads(0);
  for (const loader of loaders.filter(({ loads }) => loads > 0)) (await loader.loading()).succeed(1);
  await eventually(() => begun() === 5, 'the next one');
  await turns();
  assert.equal(begun(), 5, 'one at a time');
  for (const loader of loaders.slice(4)) (await loader.loading()).succeed(1);
  for (let i = 0; i < 6; i++) await m.saw(`m${i}`, 1, 'Available');
  for (const count of [-1, 1.5, 257, Number.NaN, '2', undefined]) {
    assert.throws(() => m.manager.setNumLoadThreads(count as never), { code: 'ERR_INVALID_ARGUMENT' }, String(count));
    assert.throws(() => m.manager.setNumUnloadThreads(count as never), { code: 'ERR_INVALID_ARGUMENT' });
  }
});

test('the number of unloads at once follows setNumUnloadThreads()', async (t) => {
  const m = start(t, { numUnloadThreads: 1, numLoadThreads: 4 });
  const loaders = Array.from({ length: 4 }, () => new ManualLoader({ manualUnload: true }));
  loaders.forEach((loader, i) => void m.manager.setAspiredVersions(`m${i}`, one(1, loader)));
  for (const [i, loader] of loaders.entries()) {
    (await loader.loading()).succeed(1);
    await m.saw(`m${i}`, 1, 'Available');
  }
  loaders.forEach((_, i) => void m.manager.setAspiredVersions(`m${i}`, []));
  const begun = () => loaders.filter(({ unloads }) => unloads > 0).length;
  await eventually(() => begun() === 1, 'the first unload');
  await turns();
  assert.equal(begun(), 1);
  m.manager.setNumUnloadThreads(3);
  await eventually(() => begun() === 3, 'three unloads');
  m.manager.setNumUnloadThreads(0);
  for (const loader of loaders.filter(({ unloads }) => unloads > 0)) (await loader.unloading()).succeed();
  await eventually(() => begun() === 4, 'the last unload');
  for (const loader of loaders) (await loader.unloading()).succeed();
  for (let i = 0; i < 4; i++) await m.saw(`m${i}`, 1, 'End');
});

test('a loader may use the manager: aspire, read, even drop itself', async (t) => {
  const m = start(t, { numLoadThreads: 1 });
  await m.aspire('base', counted(1));
  const load = () => {
    m.manager.setAspiredVersions('more', counted(1));
    return m.manager.withServableSync<number, number>('base', (servable) => servable + 1);
  };
  await m.aspire('m', one(1, { load }));
  assert.equal(
    m.manager.withServableSync('m', (servable) => servable),
    2,
  );
  await m.saw('more', 1, 'Available');
  const selfish = { load: () => m.manager.setAspiredVersions('self', []).name };
  const { versions } = await m.aspire('self', one(1, selfish));
  assert.equal(versions[0]?.managerState, 'End');
});
