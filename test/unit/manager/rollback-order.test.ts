// Which version a bake goes back to, and which one needs none, however lists and rounds fall.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { eventually } from '../../support/deadline.js';
import { CountingLoader, one } from '../../support/loaders.js';
import { TestManager } from '../../support/manager.js';

const good = (version: number) => new CountingLoader(version);
const start = (t: TestContext) => new TestManager(t, { bake: { for: '10m', minRequests: 10, maxErrorRate: 0.01 } });

test('the first version needs no bake when it comes back, however soon the second list came', async (t) => {
  for (let i = 0; i < 200; i++) {
    const m = start(t);
    await m.aspire('m', one(1, good(1)));
    m.manager.setAspiredVersions('m', one(2, good(2)));
    await m.saw('m', 2, 'Available');
    const { versions } = await m.aspire('m', one(1, good(1)));
    assert.deepEqual(versions, [{ version: 1, managerState: 'Available' }]);
    await m.manager.close();
  }
});

test('a third list during a bake: the version that has proved itself is kept, and gone back to', async (t) => {
  const m = start(t);
  const old = good(1);
  await m.aspire('m', one(1, old));
  await m.aspire('other', one(1, good(1)));
  m.manager.setAspiredVersions('m', one(2, good(2)));
  await m.until(
    eventually(() => m.manager.getServableStates('m').some(({ baking }) => baking), 'the bake'),
    'the bake',
  );
  const transition = m.manager.setAspiredVersions('m', one(3, good(3)));
  await m.saw('m', 3, 'Available');
  let running = true;
  const traffic = (async () => {
    while (running) {
      await m.manager.withServable({ name: 'm', version: 3 }, () => Promise.reject(new Error('no'))).catch(() => {});
      await nextTurn();
    }
  })();
  await m.settled(transition).finally(() => {
    running = false;
  });
  await traffic;
  assert.deepEqual([m.resolve('m'), old.unloads], ['m/1', 0]);
});
