// Cases that TensorFlow Serving has no test for, by their numbers in the behaviour specification, section 13. Numbers 1 to
// 7, 10 and 11 are in promises.test.ts; 19, 20 and 24 are with the sources; the memory of 8, 9, 14, 16, 26 and 27 is in memory-cases.test.ts.
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { deadline, eventually, turns } from '../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../support/loaders.js';
import { coded, TestManager, type TestManagerOptions, THREAD_SHAPES } from '../support/manager.js';

for (const [numLoadThreads, numUnloadThreads] of THREAD_SHAPES) {
  const by = `threads {${numLoadThreads},${numUnloadThreads}}`;
  const start = (t: TestContext, options: TestManagerOptions = {}) =>
    new TestManager(t, { numLoadThreads, numUnloadThreads, maxNumLoadRetries: 0, loadRetryIntervalMs: 0, ...options });

  suite(by, () => {
    test(`13.12 an empty list unloads everything, lowest first; ${by}`, async (t) => {
      const m = start(t);
      await m.aspire('m', counted(3, 1, 2));
      await m.aspire('m', []);
      const order = m.events.events.filter((e) => e.managerState === 'Unloading').map(({ id }) => id.version);
      assert.deepEqual(order, [1, 2, 3]);
    });

    test(`13.12 the failure of one model has no effect on another; ${by}`, async (t) => {
      const m = start(t);
      await m.aspire('good', counted(1));
      await m.aspire('bad', one(1, new FailingLoader(1)));
      await m.aspire('good', counted(2));
      assert.deepEqual(m.available(), ['good/2']);
    });

    test(`13.13 several new versions: highest first, as many at once as there are threads; ${by}`, async (t) => {
      const m = start(t);
      const loaders = new Map([1, 2, 3, 4].map((version) => [version, new ManualLoader()]));
      const list = [...loaders].map(([version, loader]) => ({ version, loader }));
      const transition = m.manager.setAspiredVersions('m', list);
      const slots = Math.max(1, numLoadThreads);
      const begun = () => [...loaders].filter(([, { loads }]) => loads > 0).map(([version]) => version);
      await eventually(() => begun().length === slots, 'the first loads');
      await turns();
      assert.deepEqual(begun(), [1, 2, 3, 4].slice(-slots));
      for (const loader of [...loaders.values()].reverse()) (await loader.loading()).succeed(1);
      await m.settled(transition);
    });

    test(`13.14 resource-preserving: what is dropped is gone before what is new is loaded; ${by}`, async (t) => {
      const m = start(t, { aspiredVersionPolicy: 'resource-preserving' });
      const old = new ManualLoader({ manualUnload: true });
      const first = m.manager.setAspiredVersions('m', one(1, old));
      (await old.loading()).succeed(1);
      await m.settled(first);
      const young = new CountingLoader(2);
      const transition = m.manager.setAspiredVersions('m', one(2, young));
      const unload = await old.unloading();
      await turns();
      assert.equal(young.loads, 0);
      unload.succeed();
      await m.settled(transition);
      assert.equal(m.resolve('m'), 'm/2');
    });

    test(`13.15 the same version in consecutive lists: the first loader stays, the others are never used; ${by}`, async (t) => {
      const m = start(t);
      const loaders = [1, 2, 3].map(() => new CountingLoader(1));
      for (const loader of loaders) await m.aspire('m', one(1, loader));
      await m.aspire('m', []);
      assert.deepEqual(
        loaders.map(({ loads, unloads }) => [loads, unloads]),
        [
          [1, 1],
          [0, 0],
          [0, 0],
        ],
      );
    });

    test(`13.16 load and unload bracket one loader; an unload only after a successful load; ${by}`, async (t) => {
      const m = start(t, { maxNumLoadRetries: 2 });
      const [good, late, bad] = [new CountingLoader(1), new FailingLoader(2, new Error('no'), 2), new FailingLoader(3)];
      await m.aspire('m', [...one(1, good), ...one(2, late), ...one(3, bad)]);
      await m.aspire('m', []);
      assert.deepEqual([good.loads, good.unloads], [1, 1]);
      assert.deepEqual([late.attempts, late.loads, late.unloads], [3, 1, 1]);
      assert.deepEqual([bad.attempts, bad.loads, bad.unloads], [3, 0, 0]);
    });

    test(`13.17 a duplicate in a list is told to the caller, and nothing changes; ${by}`, async (t) => {
      const m = start(t);
      await m.aspire('m', counted(1));
      assert.throws(() => m.manager.setAspiredVersions('m', counted(2, 2)), coded('ERR_DUPLICATE_VERSION'));
      assert.deepEqual(
        m.manager.getServableStates('m').map(({ id }) => id.version),
        [1],
      );
    });

    test(`13.18 64 readers during promotions: none is ever without a version, and none goes back; ${by}`, async (t) => {
      const m = start(t);
      const loader = (version: number) => ({ load: () => turns(1).then(() => version) });
      await m.aspire('m', one(1, loader(1)));
      let reading = true;
      const readers = Array.from({ length: 64 }, async (_, i) => {
        let last = 0;
        while (reading) {
          await m.manager.withServable<number, void>('m', async (version) => {
            assert.ok(version >= last, `from ${last} back to ${version}`);
            last = version;
            await turns(i % 3);
          });
          await turns(1);
        }
        return last;
      });
      for (let version = 2; version <= 20; version++) await m.aspire('m', one(version, loader(version)));
      reading = false;
      const last = await deadline(Promise.all(readers), 'the readers');
      assert.ok(last.every((version) => version > 1));
    });

    test(`13.23 a wait that was given up leaves nothing behind; ${by}`, async (t) => {
      const m = start(t);
      const waits = Array.from({ length: 50 }, () => {
        const controller = new AbortController();
        const waiting = m.manager.waitUntilServablesReachState(['m'], 'Available', { signal: controller.signal });
        const rejected = assert.rejects(waiting, { name: 'AbortError' });
        controller.abort();
        return rejected;
      });
      await Promise.all(waits);
      await m.aspire('m', counted(1));
      assert.equal(m.resolve('m'), 'm/1');
    });

    test(`13.27 a model that flaps for ever does not starve another one; ${by}`, async (t) => {
      const m = start(t, { slowRetryIntervalMs: 1, maxSlowRetryIntervalMs: 1, maxNumLoadRetries: 1 });
      const flapping = new FailingLoader(1);
      m.manager.setAspiredVersions('flapping', one(1, flapping));
      for (let version = 1; version <= 20; version++) await m.aspire('good', counted(version));
      const before = flapping.attempts;
      await eventually(() => flapping.attempts > before, 'the next attempt');
      assert.equal(m.resolve('good'), 'good/20');
      await m.aspire('flapping', []);
    });
  });
}
