// TensorFlow Serving's cases for its BasicManager, by the ids of the behaviour specification, section 10.7, as far as they
// can be said through the public API. "Manage and load" is to aspire, "unload and stop managing" is to drop. The cases of
// calls that only the core has (BM-07, -15, -19, -25 to -29) are in C++; BM-47 to -55 come with the resource model.
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { AspiredVersionsManager } from 'aspired';
import { deadline, turns } from '../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../support/loaders.js';
import { coded, TestManager, type TestManagerOptions, THREAD_SHAPES } from '../support/manager.js';

const rows = (m: TestManager, name: string) =>
  m.manager.getServableStates(name).map(({ id, state, managerState }) => `${id.version} ${state} ${managerState}`);

for (const [numLoadThreads, numUnloadThreads] of THREAD_SHAPES) {
  const by = `threads {${numLoadThreads},${numUnloadThreads}}`;

  const fixture = async (t: TestContext, options: TestManagerOptions = {}): Promise<TestManager> => {
    const retries = { maxNumLoadRetries: 10, loadRetryIntervalMs: 0 };
    const m = new TestManager(t, { numLoadThreads, numUnloadThreads, ...retries, ...options });
    for (const name of ['A', 'B']) await m.aspire(name, counted(1, 2));
    return m;
  };

  suite(by, () => {
    test(`BM-01 BM-02 what is unknown is not found; ${by}`, async (t) => {
      const m = await fixture(t);
      assert.throws(() => m.manager.getServableHandle('C'), coded('ERR_SERVABLE_NOT_FOUND', 'NOT_FOUND'));
      const request = { name: 'A', version: 100 };
      assert.throws(() => m.manager.getServableHandle(request), coded('ERR_SERVABLE_NOT_FOUND', 'NOT_FOUND'));
    });

    test(`BM-04 BM-06 Latest is the highest one that is loaded; ${by}`, async (t) => {
      const m = await fixture(t);
      await m.aspire('A', counted(1, 2, 3));
      await m.aspire('C', counted(1));
      assert.deepEqual([m.resolve('A'), m.resolve('B'), m.resolve('C')], ['A/3', 'B/2', 'C/1']);
    });

    test(`BM-05 a version cannot be managed twice: not in one list, and a later list leaves it alone; ${by}`, async (t) => {
      const m = await fixture(t);
      assert.throws(() => m.manager.setAspiredVersions('A', counted(1, 1)), coded('ERR_DUPLICATE_VERSION'));
      const later = counted(1, 2);
      await m.aspire('A', later);
      assert.deepEqual(
        later.map(({ loader }) => (loader as CountingLoader).loads),
        [0, 0],
      );
      assert.deepEqual(m.events.statesOf('A', 1), ['Start', 'Loading', 'Available']);
    });

    test(`BM-09 a version that was unloaded has ended well and is managed no more; ${by}`, async (t) => {
      const m = await fixture(t);
      await m.aspire('A', counted(2));
      assert.deepEqual(rows(m, 'A'), ['2 Ready Available']);
      const end = await m.saw('A', 1, 'End');
      assert.equal(end.error, undefined);
    });

    test(`BM-10 a load that fails: its error, state Error, still managed; ${by}`, async (t) => {
      const m = await fixture(t);
      const loader = new FailingLoader(3);
      const { versions } = await m.aspire('A', [...counted(1, 2), ...one(3, loader)]);
      assert.equal(versions[2]?.error?.cause, loader.error);
      assert.deepEqual(rows(m, 'A'), ['3 Error End', '2 Ready Available', '1 Ready Available']);
      assert.equal((await m.saw('A', 3, 'End')).error, versions[2]?.error);
    });

    test(`BM-11 a version by its id; ${by}`, async (t) => {
      const m = await fixture(t);
      using handle = m.manager.getServableHandle<number>({ name: 'B', version: 1 });
      assert.deepEqual([handle.servable, { ...handle.id }], [1, { name: 'B', version: 1 }]);
    });

    test(`BM-12 Latest moves down while the unload of the highest one is under way; ${by}`, async (t) => {
      const m = await fixture(t);
      const loader = new ManualLoader({ manualUnload: true });
      const aspiring = m.manager.setAspiredVersions('C', [...counted(0), ...one(1, loader)]);
      (await loader.loading()).succeed(1);
      await m.settled(aspiring);
      assert.equal(m.resolve('C'), 'C/1');
      const dropping = m.manager.setAspiredVersions('C', counted(0));
      const unload = await loader.unloading();
      assert.equal(m.resolve('C'), 'C/0');
      assert.deepEqual(rows(m, 'C'), ['1 Unloading Unloading', '0 Ready Available']);
      unload.succeed();
      await m.settled(dropping);
    });

    test(`BM-14 handles of all that is available; ${by}`, async (t) => {
      const m = await fixture(t);
      const all = () =>
        [...m.manager.getAvailableServableHandles<number>()]
          .map(([key, handle]) => {
            using held = handle;
            return `${key} ${held.servable}`;
          })
          .sort();
      assert.deepEqual(all(), ['A/1 1', 'A/2 2', 'B/1 1', 'B/2 2']);
      await m.aspire('A', []);
      assert.deepEqual(all(), ['B/1 1', 'B/2 2']);
    });

    test(`BM-16 BM-17 names and states of what is managed; ${by}`, async (t) => {
      const m = await fixture(t);
      assert.deepEqual(m.manager.listServableNames().sort(), ['A', 'B']);
      assert.deepEqual(rows(m, 'A'), ['2 Ready Available', '1 Ready Available'], 'highest first');
      assert.deepEqual(m.manager.getServableStates('unknown'), []);
    });

    test(`BM-20 what serves is not disturbed by another loader for it, good or bad; ${by}`, async (t) => {
      const m = await fixture(t);
      const failing = new FailingLoader(1);
      await m.aspire('A', [...one(1, failing), ...counted(2)]);
      await m.aspire('A', [...one(1, new CountingLoader(99)), ...counted(2)]);
      assert.equal(failing.attempts, 0);
      assert.equal(await m.manager.withServable<number, number>({ name: 'A', version: 1 }, (servable) => servable), 1);
    });

    test(`BM-21 BM-30 a version that comes as an error: End with that error, and never a servable; ${by}`, async (t) => {
      const m = await fixture(t);
      const error = new Error('no such path');
      const { versions } = await m.aspire('A', [...counted(1, 2), { version: 3, error }]);
      assert.deepEqual([versions[2]?.managerState, versions[2]?.error?.cause], ['End', error]);
      assert.equal(m.resolve({ name: 'A', version: 3 }), 'ERR_SERVABLE_NOT_FOUND');
      assert.deepEqual(rows(m, 'A')[0], '3 Error End');
    });

    test(`BM-22 a handle that outlives everything else of its version holds it; ${by}`, async (t) => {
      const m = await fixture(t);
      const loader = new CountingLoader(7);
      await m.aspire('A', one(7, loader));
      const handle = m.manager.getServableHandle<number>('A');
      const dropping = m.manager.setAspiredVersions('A', []);
      await m.saw('A', 7, 'Unloading');
      assert.deepEqual([handle.servable, loader.unloads], [7, 0]);
      handle.release();
      await m.settled(dropping);
      assert.equal(loader.unloads, 1);
    });

    test(`BM-31 Start before its load; End with the error after it failed; ${by}`, async (t) => {
      const m = await fixture(t, { maxNumLoadRetries: 0 });
      const loader = new ManualLoader();
      const aspiring = m.manager.setAspiredVersions('C', one(1, loader));
      const error = new Error('no');
      (await loader.loading()).fail(error);
      await m.settled(aspiring);
      assert.deepEqual(m.events.statesOf('C', 1), ['Start', 'Loading', 'End']);
      assert.equal((await m.saw('C', 1, 'End')).error?.cause, error);
    });

    test(`BM-32 the whole life of a version; ${by}`, async (t) => {
      const m = await fixture(t);
      const loader = new ManualLoader({ manualUnload: true });
      m.manager.setAspiredVersions('C', one(1, loader));
      const attempt = await loader.loading();
      assert.deepEqual(rows(m, 'C'), ['1 Loading Loading']);
      attempt.succeed(1);
      await m.saw('C', 1, 'Available');
      assert.deepEqual(rows(m, 'C'), ['1 Ready Available']);
      const dropping = m.manager.setAspiredVersions('C', []);
      const unload = await loader.unloading();
      assert.deepEqual(rows(m, 'C'), ['1 Unloading Unloading']);
      unload.succeed();
      await m.settled(dropping);
      assert.deepEqual(m.events.statesOf('C', 1), ['Start', 'Loading', 'Available', 'Unloading', 'End']);
    });

    test(`BM-33 nobody listens to the events: everything works; ${by}`, async () => {
      await using manager = new AspiredVersionsManager({ numLoadThreads, numUnloadThreads, maxLogEvents: 0 });
      const loader = new CountingLoader(1);
      const loaded = await deadline(manager.setAspiredVersions('A', one(1, loader)).settled, 'the load');
      assert.equal(loaded.versions[0]?.managerState, 'Available');
      await deadline(manager.setAspiredVersions('A', []).settled, 'the unload');
      assert.deepEqual([loader.loads, loader.unloads], [1, 1]);
    });

    test(`BM-35 many servables at once: each is loaded and unloaded once; ${by}`, async (t) => {
      const m = await fixture(t);
      const loaders = Array.from({ length: 20 }, () => new CountingLoader(1));
      await Promise.all(
        loaders.map(async (loader, i) => {
          await m.aspire(`C${i}`, one(1, loader));
          assert.equal(m.resolve(`C${i}`), `C${i}/1`);
          await m.aspire(`C${i}`, []);
        }),
      );
      assert.ok(loaders.every(({ loads, unloads }) => loads === 1 && unloads === 1));
    });

    test(`BM-40 many lists for one version at once: exactly one of their loaders is used; ${by}`, async (t) => {
      const m = await fixture(t);
      const loaders = Array.from({ length: 4 }, () => new CountingLoader(1));
      const results = await Promise.all(loaders.map((loader) => m.aspire('C', one(1, loader))));
      assert.deepEqual(
        loaders.map(({ loads }) => loads),
        [1, 0, 0, 0],
      );
      assert.ok(results.every(({ versions }) => versions[0]?.managerState === 'Available'));
    });

    test(`BM-41 many lists that drop one version at once: it is unloaded once, and all settle; ${by}`, async (t) => {
      const m = await fixture(t);
      const loader = new CountingLoader(1);
      await m.aspire('C', one(1, loader));
      await Promise.all([1, 2, 3, 4].map(() => m.aspire('C', [])));
      assert.equal(loader.unloads, 1);
    });

    test(`BM-42 BM-43 quick retries, within one incarnation; ${by}`, async (t) => {
      const m = await fixture(t);
      const once = new FailingLoader(1, new Error('first'), 1);
      assert.equal((await m.aspire('C', one(1, once))).versions[0]?.managerState, 'Available');
      assert.equal(m.manager.getServableStates('C')[0]?.attempts, 2);
      const always = new FailingLoader(1);
      const { versions } = await m.aspire('D', one(1, always));
      assert.deepEqual([versions[0]?.managerState, versions[0]?.error?.cause], ['End', always.error]);
      assert.equal(always.attempts, 11);
      assert.equal(new Set(m.events.events.filter(({ id }) => id.name === 'D').map((e) => e.incarnation)).size, 1);
    });

    test(`BM-44 a load that was dropped during its attempt is not attempted again; ${by}`, async (t) => {
      const m = await fixture(t);
      const loader = new ManualLoader({ deaf: true });
      const aspiring = m.manager.setAspiredVersions('C', one(1, loader));
      const attempt = await loader.loading();
      const dropping = m.manager.setAspiredVersions('C', []);
      const error = new Error('and then it failed');
      attempt.fail(error); // before the cancellation has reached it: this is how it ended
      await m.settled(dropping);
      assert.equal(loader.loads, 1);
      assert.equal((await m.settled(aspiring)).versions[0]?.error?.cause, error);
      assert.deepEqual(m.events.statesOf('C', 1), ['Start', 'Loading', 'End']);
    });

    test(`BM-46 the hook runs once per load, before it; ${by}`, async (t) => {
      const calls: string[] = [];
      const m = await fixture(t, { preLoadHook: ({ name, version }) => void calls.push(`hook ${name}/${version}`) });
      calls.length = 0;
      await m.aspire('C', one(7, { load: () => calls.push('load') }));
      assert.deepEqual(calls, ['hook C/7', 'load']);
    });
  });
}

test('BM-36 the number of loads at once can be changed to and from zero', async (t) => {
  const m = new TestManager(t, { numLoadThreads: 0 });
  m.manager.setNumLoadThreads(2);
  assert.equal(m.manager.stats().load.threads, 2);
  await m.aspire('C', counted(0));
  m.manager.setNumLoadThreads(0);
  assert.equal(m.manager.stats().load.threads, 0);
  await m.aspire('C', counted(0, 1));
  assert.deepEqual(m.available(), ['C/0', 'C/1']);
});

test('BM-37 with one slot, loads never run together, also when the size is set again', async (t) => {
  const m = new TestManager(t, { numLoadThreads: 1 });
  const loaders = [new ManualLoader(), new ManualLoader()] as const;
  loaders.forEach((loader, i) => void m.manager.setAspiredVersions(`C${i}`, one(1, loader)));
  const first = await loaders[0].loading();
  m.manager.setNumLoadThreads(1);
  await turns();
  assert.equal(loaders[1].loads, 0);
  first.succeed(1);
  (await loaders[1].loading()).succeed(1);
  await m.saw('C0', 1, 'Available');
  await m.saw('C1', 1, 'Available');
});

test('BM-38 the size changes both ways while loads are queued: none is lost', async (t) => {
  const m = new TestManager(t, { numLoadThreads: 1 });
  const loaders = Array.from({ length: 20 }, () => new ManualLoader());
  loaders.forEach((loader, i) => void m.manager.setAspiredVersions(`C${i}`, one(1, loader)));
  m.manager.setNumLoadThreads(32);
  const attempts = await Promise.all(loaders.map((loader) => loader.loading())); // all at once
  m.manager.setNumLoadThreads(1);
  for (const attempt of attempts) attempt.succeed(1);
  for (let i = 0; i < 20; i++) await m.saw(`C${i}`, 1, 'Available');
  await Promise.all(loaders.map((_, i) => m.aspire(`C${i}`, [])));
  assert.ok(loaders.every(({ loads, unloads }) => loads === 1 && unloads === 1));
});
