// Cases of section 13 of the behaviour specification that need the resource model, or the content of versions. Their ids are
// in their names. The arithmetic of 26 is in resource_util_conformance_test.cc; the files of 24 are in unit/sources.
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import type { Loader } from 'aspired';
import { eventually, turns } from '../support/deadline.js';
import { CountingLoader, FailingLoader, ManualLoader, one } from '../support/loaders.js';
import { coded, TestManager, type TestManagerOptions, THREAD_SHAPES } from '../support/manager.js';

const MiB = 2 ** 20;

/** The loader, with an estimate of so many MiB. */
const taking = <L extends Loader>(mib: number, loader: L): L =>
  Object.assign(loader, { estimateResources: () => ({ ram: `${mib}MiB` }) });

const list = (mib: number, version = 1) => one(version, taking(mib, new CountingLoader(version)));

const reserved = (m: TestManager) => m.manager.resources().devices[0]?.reserved;

/** Waits until a version of the servable waits for memory. */
const waits = (m: TestManager, name: string) =>
  m.until(
    eventually(() => m.manager.getServableStates(name).some(({ waiting }) => waiting), `${name} to wait for memory`),
    `${name} to wait for memory`,
  );

for (const [numLoadThreads, numUnloadThreads] of THREAD_SHAPES) {
  const by = `threads {${numLoadThreads},${numUnloadThreads}}`;
  const start = (t: TestContext, options: TestManagerOptions = {}) =>
    new TestManager(t, {
      numLoadThreads,
      numUnloadThreads,
      maxNumLoadRetries: 0,
      loadRetryIntervalMs: 0,
      resources: { ram: '100MiB' },
      ...options,
    });

  suite(by, () => {
    test(`13.8 a load for which memory is exhausted is admitted when memory is freed; ${by}`, async (t) => {
      const m = start(t);
      await m.aspire('a', list(60));
      const b = taking(60, new CountingLoader(1));
      const transition = m.manager.setAspiredVersions('b', one(1, b));
      await waits(m, 'b');
      assert.equal(b.loads, 0);
      await m.aspire('a', []);
      assert.equal((await m.settled(transition)).versions[0]?.managerState, 'Available');
      assert.equal(b.loads, 1);
    });

    test(`13.8 one that was refused, because it could never fit, is tried again when the limit is raised; ${by}`, async (t) => {
      const m = start(t);
      const { versions } = await m.aspire('a', list(200));
      coded('ERR_RESOURCE_EXHAUSTED', 'RESOURCE_EXHAUSTED')(versions[0]?.error);
      m.manager.setResourceLimits({ ram: '200MiB' });
      await m.saw('a', 1, 'Available');
    });

    test(`13.9 an unload that is requested while a load waits for memory proceeds, and lets that load succeed; ${by}`, async (t) => {
      const m = start(t);
      await m.aspire('old', list(60));
      const waiting = m.manager.setAspiredVersions('new', list(60));
      await waits(m, 'new');
      const unload = m.manager.setAspiredVersions('old', []);
      await m.settled(unload);
      await m.settled(waiting);
      assert.ok(m.events.indexOf('old', 1, 'End') < m.events.indexOf('new', 1, 'Loading'));
    });

    test(`13.9 as many loads as there are threads wait, and unloads and loads that fit still proceed; ${by}`, async (t) => {
      const m = start(t);
      await m.aspire('old', list(60));
      const waiting = Array.from({ length: 5 }, (_, i) => m.manager.setAspiredVersions(`new${i}`, list(60)));
      for (let i = 0; i < 5; i++) await waits(m, `new${i}`);
      await m.aspire('small', list(40));
      await m.aspire('small', []);
      let last = 'old';
      for (const [i, transition] of waiting.entries()) {
        await m.aspire(last, []);
        await m.settled(transition);
        last = `new${i}`;
      }
      assert.equal(reserved(m), 60 * MiB);
    });

    test(`13.14 resource-preserving: what is dropped has given its memory back before what is new reserves any; ${by}`, async (t) => {
      const m = start(t, { aspiredVersionPolicy: 'resource-preserving', resources: { ram: '60MiB' } });
      const old = taking(60, new ManualLoader({ manualUnload: true }));
      const first = m.manager.setAspiredVersions('m', one(1, old));
      (await m.until(old.loading(), 'the load')).succeed(1);
      await m.settled(first);
      const young = taking(60, new CountingLoader(2));
      const transition = m.manager.setAspiredVersions('m', one(2, young));
      const unload = await m.until(old.unloading(), 'the unload');
      await turns();
      assert.equal(young.loads, 0);
      unload.succeed();
      await m.settled(transition);
      assert.deepEqual([m.resolve('m'), reserved(m)], ['m/2', 60 * MiB]);
    });

    test(`13.14 with the automatic way back to the last good version; ${by}`, async (t) => {
      const m = start(t, { onInsufficientMemory: 'resource-preserving' });
      let loads = 0;
      const old: Loader<string> = {
        estimateResources: () => ({ ram: '60MiB' }),
        load: () => `good ${++loads}`,
      };
      await m.aspire('m', one(1, old));
      const { versions } = await m.aspire('m', one(2, taking(60, new FailingLoader(2))));
      assert.equal(versions[0]?.managerState, 'End');
      await m.until(
        eventually(() => m.available().includes('m/1'), 'the last good one'),
        'the last good one',
      );
      assert.equal(
        m.manager.withServableSync('m', (servable) => servable),
        'good 2',
      );
    });

    test(`13.16 a load that fails releases its memory at once; ${by}`, async (t) => {
      const m = start(t, { maxNumLoadRetries: 1 });
      const failing = taking(100, new FailingLoader(1));
      await m.aspire('a', one(1, failing));
      assert.deepEqual([failing.attempts, failing.unloads, reserved(m)], [2, 0, 0]);
      assert.deepEqual(m.manager.resources().versions, []);
      // It stays aspired, and failed; what it had is there for others.
      await m.aspire('b', list(100));
    });

    test(`13.16 load and unload bracket one servable also when its memory decides when; ${by}`, async (t) => {
      const m = start(t, { standby: { versions: 1 }, onInsufficientMemory: 'resource-preserving' });
      const loaders = [1, 2, 3, 4].map((version) => taking(45, new CountingLoader(version)));
      for (const loader of loaders) await m.aspire('m', one(loader.value, loader));
      await m.aspire('m', []);
      for (const { value } of loaders) await m.saw('m', value, 'End');
      assert.deepEqual(
        loaders.map(({ loads, unloads }) => [loads, unloads]),
        loaders.map(() => [1, 1]),
      );
      assert.equal(reserved(m), 0);
    });

    test(`13.24 a version whose content was replaced in place is refused, or loaded anew, as was asked; ${by}`, async (t) => {
      const m = start(t);
      const [first, second, third] = [new CountingLoader('a'), new CountingLoader('b'), new CountingLoader('b')];
      const versions = (loader: Loader, digest: string) => [{ version: 1, loader, digest }];
      await m.aspire('m', versions(first, 'a'));
      await m.aspire('m', versions(second, 'b'));
      assert.deepEqual(
        m.errors.map(({ code }) => code),
        ['ERR_CONTENT_CHANGED'],
      );
      assert.deepEqual([first.unloads, second.loads], [0, 0]);
      await m.aspire('m', versions(third, 'b'), { onContentChange: 'reload' });
      assert.deepEqual([first.unloads, third.loads], [1, 1]);
    });

    test(`13.26 the sum of what is reserved is the arithmetic of the estimates; too much is an error, not an overflow; ${by}`, async (t) => {
      const m = start(t);
      await m.aspire('a', list(30));
      await m.aspire('b', list(20));
      assert.equal(reserved(m), 50 * MiB);
      for (const amount of [Number.MAX_SAFE_INTEGER, '7PiB', '100.1MiB']) {
        const loader = Object.assign(new CountingLoader(1), { estimateResources: () => ({ ram: amount }) });
        const { versions } = await m.aspire('c', one(1, loader));
        coded('ERR_RESOURCE_EXHAUSTED', 'RESOURCE_EXHAUSTED')(versions[0]?.error);
        await m.aspire('c', []);
      }
      assert.equal(reserved(m), 50 * MiB);
      await m.aspire('d', list(50));
      assert.equal(reserved(m), 100 * MiB);
    });

    test(`13.27 a model that flaps for ever with most of the memory does not starve another one; ${by}`, async (t) => {
      const m = start(t, { slowRetryIntervalMs: 1, maxSlowRetryIntervalMs: 1 });
      const flapping = taking(90, new FailingLoader(1));
      m.manager.setAspiredVersions('flapping', one(1, flapping));
      for (let version = 1; version <= 10; version++) await m.aspire('good', list(40, version));
      const before = flapping.attempts;
      await m.aspire('good', []);
      await m.until(
        eventually(() => flapping.attempts > before, 'the next attempt'),
        'the next attempt',
      );
      await m.aspire('flapping', []);
      assert.equal(reserved(m), 0);
    });
  });
}

test('13.27 a large load is not starved by small ones that come and go for ever', async (t) => {
  const m = new TestManager(t, { maxNumLoadRetries: 0, numLoadThreads: 4, resources: { ram: '100MiB' } });
  const loading: ManualLoader[] = [];
  let count = 0;
  const add = (): string => {
    const loader = taking(40, new ManualLoader());
    const load = loader.load.bind(loader);
    loader.load = (context) => {
      loading.push(loader);
      return load(context);
    };
    const name = `small${count++}`;
    m.manager.setAspiredVersions(name, one(1, loader));
    return name;
  };
  for (let i = 0; i < 2; i++) add();
  await eventually(() => loading.length === 2, 'two small loads');
  const large = new CountingLoader(1);
  m.manager.setAspiredVersions('large', one(1, taking(90, large)));
  await waits(m, 'large');
  // Another small one is there before one of the two goes: left to itself the large one would never have room.
  while (large.loads === 0) {
    assert.ok(count < 40, 'the large load starves');
    await waits(m, add());
    const [oldest] = loading.splice(0, 1);
    assert.ok(oldest, 'nothing loads');
    const ended = m.events.events.filter(({ managerState }) => managerState === 'End').length;
    (await oldest.loading()).fail(new Error('it only came to go'));
    const isOver = () => m.events.events.filter(({ managerState }) => managerState === 'End').length > ended;
    await eventually(isOver, 'the end of a small load');
    await eventually(() => loading.length > 0 || large.loads > 0, 'the next load');
  }
  assert.ok(count > 4, 'small ones went past it before');
  await m.saw('large', 1, 'Available');
  for (let i = 0; i < count; i++) m.manager.setAspiredVersions(`small${i}`, []);
});
