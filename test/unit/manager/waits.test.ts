// waitUntilServablesReachState(): every wait ends.
import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { type TestContext, test } from 'node:test';
import { deadline, turns } from '../../support/deadline.js';
import { counted, FailingLoader, ManualLoader, one } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

const start = (t: TestContext) => {
  const m = new TestManager(t, { maxNumLoadRetries: 0 });
  return { m, wait: m.manager.waitUntilServablesReachState.bind(m.manager) };
};
const m1 = [{ name: 'm', version: 1 }];

test('it resolves with the ids, in the order of the requests', async (t) => {
  const { m, wait } = start(t);
  const waiting = wait([{ name: 'n', version: 2 }, 'm', { name: 'm', version: 'latest' }], 'Available');
  await m.aspire('m', counted(1));
  await m.aspire('n', counted(2));
  assert.deepEqual(await deadline(waiting, 'the wait'), [
    { name: 'n', version: 2 },
    { name: 'm', version: 1 },
    { name: 'm', version: 1 },
  ]);
});

test('what is reached already resolves at once, and so does no request at all', async (t) => {
  const { m, wait } = start(t);
  await m.aspire('m', counted(1));
  assert.deepEqual(await deadline(wait(m1, 'Available'), 'the wait'), m1);
  assert.deepEqual(await deadline(wait(m1, 'Loading'), 'a state that it is past'), m1);
  assert.deepEqual(await deadline(wait([], 'Available'), 'no wait'), []);
});

test('a version that ends instead rejects, with the error of the version as cause', async (t) => {
  const { m, wait } = start(t);
  const failing = new FailingLoader(1);
  const waiting = assert.rejects(wait(m1, 'Available'), (error: Error & { servable?: unknown; cause?: Error }) => {
    assert.deepEqual(error.servable, m1[0]);
    assert.equal(error.cause?.cause, failing.error);
    return coded('ERR_SERVABLE_ENDED', 'FAILED_PRECONDITION')(error);
  });
  await m.aspire('m', one(1, failing));
  await deadline(waiting, 'the wait');
});

test('a version that is dropped before it was loaded rejects', async (t) => {
  const { m, wait } = start(t);
  const loader = new ManualLoader();
  m.manager.setAspiredVersions('m', one(1, loader));
  const waiting = assert.rejects(wait(m1, 'Available'), coded('ERR_SERVABLE_ENDED'));
  await loader.loading();
  await m.aspire('m', []);
  await deadline(waiting, 'the wait');
});

test('abort rejects with the reason, at once, and the wait is forgotten', async (t) => {
  const { m, wait } = start(t);
  const controller = new AbortController();
  const reason = new Error('no more');
  const waiting = wait(m1, 'Available', { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(waiting, (error) => error === reason);
  await m.aspire('m', counted(1));
  await assert.rejects(wait(m1, 'Available', { signal: AbortSignal.abort(reason) }), (error) => error === reason);
});

test('an abort after the wait has ended changes nothing', async (t) => {
  const { m, wait } = start(t);
  const controller = new AbortController();
  await m.aspire('m', counted(1));
  const ids = await wait(m1, 'Available', { signal: controller.signal });
  controller.abort();
  await turns();
  assert.deepEqual(ids, m1);
});

test('a deadline is a signal', async (t) => {
  const { wait } = start(t);
  const waiting = wait(m1, 'Available', { signal: AbortSignal.timeout(10) });
  await assert.rejects(deadline(waiting, 'the wait'), { name: 'TimeoutError' });
});

test('close() rejects what waits for what will not come', async (t) => {
  const { m, wait } = start(t);
  const waiting = assert.rejects(wait(m1, 'Available'), coded('ERR_MANAGER_CLOSED', 'FAILED_PRECONDITION'));
  await deadline(m.manager.close(), 'close()');
  await deadline(waiting, 'the wait');
  await assert.rejects(wait(m1, 'Available'), coded('ERR_MANAGER_CLOSED'));
});

test('close() is what some wait for', async (t) => {
  const { m, wait } = start(t);
  await m.aspire('m', counted(1));
  const waiting = wait(m1, 'End');
  await deadline(m.manager.close(), 'close()');
  assert.deepEqual(await deadline(waiting, 'the wait'), m1);
});

test('a thousand waits end, half of them by abort', async (t) => {
  const { m, wait } = start(t);
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const waits = Array.from({ length: 1000 }, (_, i) =>
    wait(m1, 'Available', i % 2 === 0 ? {} : { signal: controller.signal }),
  );
  const outcomes = Promise.allSettled(waits);
  controller.abort();
  await m.aspire('m', counted(1));
  const states = (await deadline(outcomes, 'the waits')).map(({ status }) => status);
  assert.equal(states.filter((status) => status === 'fulfilled').length, 500);
});

test('bad arguments reject, and name what is wrong', async (t) => {
  const { wait } = start(t);
  const bad = (...args: unknown[]) => (wait as (...args: unknown[]) => Promise<unknown>)(...args);
  await assert.rejects(bad('m', 'Available'), coded('ERR_INVALID_ARGUMENT', 'INVALID_ARGUMENT'));
  await assert.rejects(bad(m1, 'Ready'), /Start, Loading, Available, Unloading, End/);
  for (const name of ['', 1, undefined]) await assert.rejects(bad([{ name }], 'End'), coded('ERR_INVALID_NAME'));
  for (const version of [-1, 0.5, '1']) {
    await assert.rejects(bad([{ name: 'm', version }], 'End'), coded('ERR_INVALID_VERSION'), String(version));
  }
  await assert.rejects(bad([{ name: 'm', vresion: 1 }], 'End'), /Did you mean version/);
  await assert.rejects(bad([null], 'End'), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(bad(m1, 'End', { signal: 'soon' }), coded('ERR_INVALID_ARGUMENT'));
  await assert.rejects(bad(m1, 'End', { timeout: 5 }), coded('ERR_UNKNOWN_OPTION'));
});
