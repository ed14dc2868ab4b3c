// Where we promise to be different from TensorFlow Serving: one test per row of that table in the design, named by the row.
// The rows on RESOURCE_EXHAUSTED and on an unload behind a waiting load belong to the resource model.
//
// The reconciliation period is an hour here: whatever happens, happens because of an event, not because of a tick.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { FileSystemSource } from 'aspired';
import { deadline, eventually, turns } from '../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../support/loaders.js';
import { TestManager, type TestManagerOptions, THREAD_SHAPES } from '../support/manager.js';

const HOUR = 3_600_000;

for (const [numLoadThreads, numUnloadThreads] of THREAD_SHAPES) {
  const by = `threads {${numLoadThreads},${numUnloadThreads}}`;
  const start = (t: TestContext, options: TestManagerOptions = {}) =>
    new TestManager(t, {
      numLoadThreads,
      numUnloadThreads,
      manageStateIntervalMs: HOUR,
      maxNumLoadRetries: 0,
      loadRetryIntervalMs: HOUR,
      ...options,
    });

  suite(by, () => {
    test(`{1} -> {2 loading} -> {1}: 2 is cancelled and never visible, 1 never left; ${by}`, async (t) => {
      const m = start(t);
      const [one1, two, unused] = [new CountingLoader(1), new ManualLoader({ deaf: true }), new CountingLoader(1)];
      await m.aspire('m', one(1, one1));
      const promotion = m.manager.setAspiredVersions('m', one(2, two));
      const attempt = await two.loading();
      assert.equal(attempt.context.signal.aborted, false);
      const rollback = m.manager.setAspiredVersions('m', one(1, unused));
      assert.deepEqual(
        m.manager.getServableStates('m').map(({ id, state, aspired }) => [id.version, state, aspired]),
        [
          [2, 'Loading', false],
          [1, 'Ready', true],
        ],
      );
      await eventually(() => attempt.context.signal.aborted, 'the cancellation');
      attempt.succeed(2); // it pays no attention, and comes all the same
      assert.deepEqual((await m.settled(rollback)).versions, [{ version: 1, managerState: 'Available' }]);
      const { superseded, versions } = await m.settled(promotion);
      assert.equal(superseded, true);
      assert.deepEqual([versions[0]?.managerState, versions[0]?.error?.code], ['End', 'ERR_LOAD_CANCELLED']);
      assert.equal(two.unloads, 1, 'what it brought is given back');
      assert.deepEqual(m.events.statesOf('m', 1), ['Start', 'Loading', 'Available']);
      assert.ok(!m.events.statesOf('m', 2).includes('Available'));
      assert.deepEqual([one1.loads, one1.unloads, unused.loads], [1, 0, 0]);
      assert.equal(m.resolve('m'), 'm/1');
    });

    test(`{1} -> {2 fails} -> {1}: satisfied at once; ${by}`, async (t) => {
      const m = start(t);
      const [one1, unused] = [new CountingLoader(1), new CountingLoader(1)];
      await m.aspire('m', one(1, one1));
      const failed = await m.aspire('m', one(2, new FailingLoader(2)));
      assert.equal(failed.versions[0]?.error?.code, 'ERR_LOAD_FAILED');
      assert.deepEqual(m.available(), ['m/1']);
      const { versions } = await m.aspire('m', one(1, unused));
      assert.deepEqual(versions, [{ version: 1, managerState: 'Available' }]);
      assert.deepEqual([one1.loads, one1.unloads, unused.loads], [1, 0, 0]);
      const [row, ...others] = m.manager.getServableStates('m');
      assert.deepEqual([row?.id.version, row?.aspired, row?.degraded, others.length], [1, true, false, 0], '2 is gone');
    });

    test(`{1} -> {2 fails} -> {1, 3}: 3 is loaded; ${by}`, async (t) => {
      const m = start(t);
      const one1 = new CountingLoader(1);
      await m.aspire('m', one(1, one1));
      await m.aspire('m', one(2, new FailingLoader(2)));
      const { versions } = await m.aspire('m', counted(1, 3));
      assert.deepEqual(
        versions.map(({ managerState }) => managerState),
        ['Available', 'Available'],
      );
      assert.deepEqual(m.available(), ['m/1', 'm/3']);
      assert.deepEqual([one1.loads, one1.unloads], [1, 0]);
    });

    test(`a handle to A is held: nothing else notices; ${by}`, async (t) => {
      const m = start(t);
      await m.aspire('A', counted(1));
      await m.aspire('B', counted(1));
      const handle = m.manager.getServableHandle<number>('A');
      const held = m.manager.setAspiredVersions('A', counted(2));
      await m.saw('A', 1, 'Unloading');
      await m.aspire('B', counted(2)); // a load and an unload of another servable
      await m.aspire('C', counted(1)); // a new one
      const more = m.manager.setAspiredVersions('A', counted(2, 3)); // another version of the same servable
      await m.saw('A', 3, 'Available');
      await m.aspire('C', []);
      assert.deepEqual(m.available(), ['A/2', 'A/3', 'B/2']);
      assert.deepEqual([handle.servable, handle.id.version], [1, 1]);
      assert.deepEqual(m.events.statesOf('A', 1), ['Start', 'Loading', 'Available', 'Unloading'], 'still held');
      handle.release();
      assert.equal((await m.settled(more)).superseded, false);
      assert.deepEqual(m.events.statesOf('A', 1).at(-1), 'End', 'a list has settled when what it dropped is gone');
      assert.equal((await m.settled(held)).superseded, true);
    });

    test(`N no-op models aspired at once: no tick is waited for; ${by}`, async (t) => {
      const m = start(t);
      const names = Array.from({ length: 500 }, (_, i) => `model-${i}`);
      const transitions = names.map((name) => m.manager.setAspiredVersions(name, counted(1)));
      for (const transition of transitions) await m.settled(transition);
      assert.equal(m.available().length, names.length);
    });

    test(`N slow models aspired at once: as many loads at a time as there are threads; ${by}`, async (t) => {
      const m = start(t);
      const slots = Math.max(1, numLoadThreads);
      const loaders = Array.from({ length: 6 }, () => new ManualLoader());
      loaders.forEach((loader, i) => void m.manager.setAspiredVersions(`model-${i}`, one(1, loader)));
      const begun = () => loaders.filter(({ loads }) => loads > 0);
      for (let done = 0; done < loaders.length; done++) {
        await eventually(() => begun().length >= Math.min(loaders.length, done + slots), 'the next loads');
        await turns();
        assert.equal(begun().length, Math.min(loaders.length, done + slots));
        (await (begun()[done] as ManualLoader).loading()).succeed(done);
      }
      for (let i = 0; i < loaders.length; i++) await m.saw(`model-${i}`, 1, 'Available');
    });

    test(`1 -> 2 switch of a no-op model: no tick is waited for, and no reader is without a version; ${by}`, async (t) => {
      const m = start(t);
      await m.aspire('m', counted(1));
      let [reading, reads, last] = [true, 0, 0];
      const reader = (async () => {
        while (reading) {
          const version = await m.manager.withServable<number, number>('m', (servable) => servable);
          assert.ok(version >= last, `back from ${last} to ${version}`);
          last = version;
          reads++;
          await turns(1);
        }
      })();
      for (let version = 2; version <= 30; version++) {
        await m.aspire('m', counted(version));
        assert.equal(m.resolve('m'), `m/${version}`);
      }
      reading = false;
      await deadline(reader, 'the reader');
      assert.ok(reads > 0 && last > 1);
    });

    test(`load fails: retried with back-off for as long as it is aspired, visibly degraded; ${by}`, async (t) => {
      const m = start(t, { loadRetryIntervalMs: 0, maxNumLoadRetries: 1, slowRetryIntervalMs: 5 });
      const loader = new FailingLoader(2, new Error('not yet'), 7); // three incarnations of two attempts, and one more
      await m.aspire('m', counted(1));
      const failed = await m.aspire('m', one(2, loader));
      assert.equal(failed.versions[0]?.managerState, 'End');
      const [two, one1] = m.manager.getServableStates('m');
      assert.deepEqual([two?.id.version, two?.aspired, two?.degraded, one1?.degraded], [2, true, true, true]);
      assert.equal(two?.error?.cause, loader.error);
      assert.equal(m.resolve('m'), 'm/1', 'the last good one serves meanwhile');
      await m.saw('m', 2, 'Available');
      await m.saw('m', 1, 'End');
      assert.equal(loader.attempts, 8);
      const incarnations = new Set(m.events.events.filter(({ id }) => id.version === 2).map((e) => e.incarnation));
      assert.equal(incarnations.size, 4);
      const [now, ...rest] = m.manager.getServableStates('m');
      assert.deepEqual([now?.degraded, now?.error, rest.length], [false, undefined, 0]);
    });

    test(`events: strictly forward, one End per incarnation; ${by}`, async (t) => {
      const m = start(t, { loadRetryIntervalMs: 0, maxNumLoadRetries: 1, slowRetryIntervalMs: 1 });
      // Lists that overtake each other, failures, and drops at any moment; the recorder checks at the end.
      for (let i = 0; i < 60; i++) {
        const name = `m${i % 3}`;
        const versions = [1, 2, 3].filter((version) => (i + version) % (2 + (i % 3)) !== 0);
        m.manager.setAspiredVersions(
          name,
          versions.map((version) => ({
            version,
            loader: (i + version) % 4 === 0 ? new FailingLoader(version, 'no', 1) : new CountingLoader(version),
          })),
        );
        if (i % 2 === 0) await turns(i % 5);
      }
      for (let i = 0; i < 3; i++) await m.aspire(`m${i}`, counted(1));
      assert.deepEqual(m.available(), ['m0/1', 'm1/1', 'm2/1']);
      m.events.assertForward();
    });

    test(`shutdown with a live handle: waits for the drain; ${by}`, async (t) => {
      const m = start(t);
      const loader = new CountingLoader(1);
      await m.aspire('m', one(1, loader));
      const handle = m.manager.getServableHandle<number>('m');
      const closing = m.manager.close({ drainTimeoutMs: 60_000 });
      await m.saw('m', 1, 'Unloading');
      await turns();
      assert.deepEqual([handle.servable, loader.unloads], [1, 0], 'not under the reader');
      handle.release();
      assert.deepEqual(await deadline(closing, 'close()'), { abandoned: [] });
      assert.equal(loader.unloads, 1);
      assert.deepEqual(m.events.statesOf('m', 1), ['Start', 'Loading', 'Available', 'Unloading', 'End']);
    });

    test(`shutdown with a live handle: reports what it abandoned at the deadline; ${by}`, async (t) => {
      const m = start(t, { abandons: true });
      const loader = new CountingLoader(1);
      await m.aspire('m', one(1, loader));
      const handle = m.manager.getServableHandle<number>('m');
      const { abandoned } = await deadline(m.manager.close({ drainTimeoutMs: 20 }), 'close()');
      assert.deepEqual(abandoned, [{ name: 'm', version: 1 }]);
      assert.deepEqual([handle.servable, loader.unloads], [1, 0], 'the reader still reads');
      await m.events.finish();
      const end = m.events.events.find(({ id, managerState }) => id.name === 'm' && managerState === 'End');
      assert.equal(end?.error?.code, 'ERR_ABANDONED');
      handle.release();
      await turns();
      assert.equal(loader.unloads, 0);
    });

    test(`retry predicate: decides retries only; ${by}`, async (t) => {
      const asked: string[] = [];
      const shouldRetryModelLoad = (error: Error, id: { name: string }) => {
        asked.push(id.name);
        return (error.cause as Error).message === 'UNAVAILABLE';
      };
      const m = start(t, {
        shouldRetryModelLoad,
        maxNumLoadRetries: 3,
        loadRetryIntervalMs: 0,
        slowRetryIntervalMs: 1,
      });
      await m.aspire('good', counted(1));
      assert.deepEqual(m.available(), ['good/1'], 'a load that succeeds is no matter of retries');
      const again = new FailingLoader(1, new Error('UNAVAILABLE'), 2);
      assert.equal((await m.aspire('again', one(1, again))).versions[0]?.managerState, 'Available');
      const fatal = new FailingLoader(1, new Error('corrupt'));
      assert.equal((await m.aspire('fatal', one(1, fatal))).versions[0]?.managerState, 'End');
      await m.aspire('later', counted(1));
      assert.equal(fatal.attempts, 1);
      const [row] = m.manager.getServableStates('fatal');
      assert.deepEqual([row?.degraded, row?.nextRetryAt], [true, undefined], 'no slow retry either');
      assert.deepEqual(asked, ['again', 'again', 'fatal']);
    });

    test(`completion: settled tells how each version of the list came out; ${by}`, async (t) => {
      const m = start(t);
      const error = new Error('no disk');
      const list = [...counted(1), ...one(2, new FailingLoader(2)), { version: 3, error }];
      const { name, superseded, versions } = await m.aspire('m', list);
      assert.deepEqual([name, superseded], ['m', false]);
      assert.deepEqual(
        versions.map((v) => [v.version, v.managerState, v.error?.code]),
        [
          [1, 'Available', undefined],
          [2, 'End', 'ERR_LOAD_FAILED'],
          [3, 'End', 'ERR_SOURCE_ERROR'],
        ],
      );
      const gone = await m.aspire('m', []);
      assert.deepEqual(
        [gone.versions, m.manager.getServableStates('m')],
        [[], []],
        'and when all that was dropped is gone',
      );
    });

    test(`a rollback cancels the retries of the promotion at once, in the pause too; ${by}`, async (t) => {
      const m = start(t, { maxNumLoadRetries: 5 }); // the first pause is an hour
      const failing = new FailingLoader(2);
      await m.aspire('m', counted(1));
      const promotion = m.manager.setAspiredVersions('m', one(2, failing));
      await eventually(() => m.manager.getServableStates('m')[0]?.nextRetryAt !== undefined, 'the pause');
      const { versions } = await m.aspire('m', counted(1));
      assert.equal(versions[0]?.managerState, 'Available');
      assert.equal((await m.settled(promotion)).versions[0]?.error?.code, 'ERR_LOAD_CANCELLED');
      assert.equal(failing.attempts, 1);
      assert.deepEqual(
        m.manager.getServableStates('m').map(({ id }) => id.version),
        [1],
      );
    });

    test(`a pause before a retry holds no load slot; ${by}`, async (t) => {
      const m = start(t, { maxNumLoadRetries: 5 });
      for (let i = 0; i < 5; i++) m.manager.setAspiredVersions(`bad-${i}`, one(1, new FailingLoader(1)));
      await m.aspire('good', counted(1));
      assert.deepEqual(m.available(), ['good/1']);
    });
  });
}

test('one bad base path: holds back itself', async (t) => {
  const base = mkdtempSync(join(tmpdir(), 'aspired-promises-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  mkdirSync(join(base, 'good', '1'), { recursive: true });
  writeFileSync(join(base, 'good', '1', 'weights'), 'w');
  const m = new TestManager(t);
  const source = new FileSystemSource({
    servables: [
      { name: 'bad', basePath: join(base, 'nowhere') },
      { name: 'good', basePath: join(base, 'good') },
    ],
    pollIntervalMs: 20,
  });
  using connection = source.connect(m.manager, ({ path }) => ({ load: () => path }));
  assert.equal(connection.closed, false);
  await m.saw('good', 1, 'Available');
  assert.deepEqual(m.available(), ['good/1']);
});
