// Standbys: versions that are dropped and stay loaded, closed to readers, for a way back that takes no load.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Loader } from 'aspired';
import { deadline, eventually, turns } from '../../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../../support/loaders.js';
import { coded, TestManager, type TestManagerOptions } from '../../support/manager.js';

const start = (t: TestContext, options: TestManagerOptions = {}) =>
  new TestManager(t, { maxNumLoadRetries: 0, standby: { versions: 1 }, ...options });

/** 'version state', with a * for standbys, highest first. */
const statesOf = (m: TestManager, name = 'm'): string[] =>
  m.manager.getServableStates(name).map(({ id, state, standby }) => `${id.version} ${state}${standby ? '*' : ''}`);

/** Aspires to these versions, one after another, each with a loader of its own. */
async function promote(m: TestManager, ...versions: number[]): Promise<CountingLoader[]> {
  const loaders = versions.map((version) => new CountingLoader(version));
  for (const loader of loaders) await m.aspire('m', one(loader.value, loader));
  return loaders;
}

test('without the option what is dropped is unloaded', async (t) => {
  const m = start(t, { standby: false });
  await promote(m, 1, 2);
  assert.deepEqual(statesOf(m), ['2 Ready']);
});

test('the last version that was dropped stays loaded, closed to readers', async (t) => {
  const m = start(t);
  const [first, second] = await promote(m, 1, 2);
  assert.deepEqual(statesOf(m), ['2 Ready', '1 Quiesced*']);
  assert.deepEqual([first?.unloads, second?.unloads], [0, 0]);
  assert.throws(
    () => m.manager.getServableHandle({ name: 'm', version: 1 }),
    coded('ERR_SERVABLE_NOT_FOUND', 'NOT_FOUND'),
  );
  assert.deepEqual([m.resolve('m'), m.resolve({ name: 'm', version: 'earliest' })], ['m/2', 'm/2']);
  assert.deepEqual(m.available(), ['m/2']);
  const [, row] = m.manager.getServableStates('m');
  assert.deepEqual([row?.managerState, row?.aspired, row?.bad, row?.baking], ['Unloading', false, false, false]);
  assert.deepEqual(m.events.statesOf('m', 1), ['Start', 'Loading', 'Available', 'Unloading']);
});

test('as many as were asked for: the oldest goes', async (t) => {
  const m = start(t, { standby: { versions: 2 } });
  const loaders = await promote(m, 1, 2, 3, 4);
  await m.saw('m', 1, 'End');
  assert.deepEqual(statesOf(m), ['4 Ready', '3 Quiesced*', '2 Quiesced*']);
  assert.deepEqual(
    loaders.map(({ unloads }) => unloads),
    [1, 0, 0, 0],
  );
});

test('what counts is when a version was dropped, not its number', async (t) => {
  const m = start(t);
  await promote(m, 5, 2, 9);
  await m.saw('m', 5, 'End');
  assert.deepEqual(statesOf(m), ['9 Ready', '2 Quiesced*']);
});

test('a standby is back without a load, at once, with its labels', async (t) => {
  const m = start(t);
  const [first, second] = await promote(m, 1, 2);
  const unused = new CountingLoader(1);
  const { versions } = await m.aspire('m', one(1, unused), { labels: { stable: 1 } });
  assert.deepEqual(versions, [{ version: 1, managerState: 'Available' }]);
  assert.deepEqual([first?.loads, first?.unloads, unused.loads, unused.unloads], [1, 0, 0, 0]);
  assert.deepEqual([m.resolve('m'), m.resolve({ name: 'm', label: 'stable' })], ['m/1', 'm/1']);
  assert.deepEqual(statesOf(m), ['2 Quiesced*', '1 Ready']);
  assert.equal(second?.unloads, 0);
  // To and fro for ever.
  for (let i = 0; i < 10; i++) await m.aspire('m', one(1 + ((i + 1) % 2), new FailingLoader(0)));
  assert.deepEqual([first?.loads, second?.loads], [1, 1]);
});

test('a standby that came back is a new incarnation, and each has its End', async (t) => {
  const m = start(t);
  await promote(m, 1, 2);
  await m.aspire('m', counted(1));
  await m.aspire('m', []);
  await m.saw('m', 1, 'End');
  const states = m.events.statesOf('m', 1);
  assert.equal(states.filter((state) => state === 'Available').length, 2);
  assert.equal(states.at(-1), 'End');
});

test('settled does not wait for the end of a standby', async (t) => {
  const m = start(t);
  const loader = new ManualLoader({ manualUnload: true });
  const first = m.manager.setAspiredVersions('m', one(1, loader));
  (await loader.loading()).succeed(1);
  await m.settled(first);
  await m.aspire('m', counted(2));
  assert.equal(loader.unloads, 0);
  assert.equal(m.events.indexOf('m', 1, 'End'), -1);
  m.manager.setAspiredVersions('m', []);
  (await loader.unloading()).succeed();
});

test('settled waits for the drain of what becomes a standby', async (t) => {
  const m = start(t);
  await promote(m, 1);
  const handle = m.manager.getServableHandle('m');
  const transition = m.manager.setAspiredVersions('m', counted(2));
  let settled = false;
  void transition.settled.then(() => {
    settled = true;
  });
  await m.saw('m', 1, 'Unloading');
  await turns();
  assert.deepEqual([settled, m.manager.getServableStates('m')[1]?.standby], [false, false]);
  handle.release();
  await m.settled(transition);
  assert.deepEqual(statesOf(m), ['2 Ready', '1 Quiesced*']);
});

test('`for` ends a standby; aspired again before, it is not touched', async (t) => {
  const m = start(t, { standby: { versions: 1, for: 30 } });
  const [first] = await promote(m, 1, 2);
  assert.equal((await m.saw('m', 1, 'End')).error, undefined);
  assert.equal(first?.unloads, 1);
  assert.deepEqual(statesOf(m), ['2 Ready']);

  m.manager.setServableOptions('m', { standby: { versions: 1, for: 60 } });
  const [third] = await promote(m, 3);
  const second = m.manager.getServableStates('m').find(({ id }) => id.version === 2);
  assert.equal(second?.standby, true);
  await m.aspire('m', counted(2)); // back, before its time
  // 3 became a standby later than 2: when 3 has ended, the time of 2 is over as well.
  await m.saw('m', 3, 'End');
  assert.equal(third?.unloads, 1);
  assert.deepEqual(statesOf(m), ['2 Ready']);
  assert.equal(m.resolve('m'), 'm/2');
});

for (const time of [Number.MAX_SAFE_INTEGER, 200_000_000_000_000, '100000d']) {
  test(`a standby for ${time} stays`, async (t) => {
    const m = start(t, { standby: { versions: 1, for: time } });
    const [first] = await promote(m, 1, 2);
    await m.aspire('other', counted(1));
    await m.aspire('other', counted(2));
    await turns();
    assert.equal(first?.unloads, 0);
    assert.deepEqual(statesOf(m), ['2 Ready', '1 Quiesced*']);
  });
}

test('an empty list ends standbys, too: nothing is expected back', async (t) => {
  const m = start(t, { standby: { versions: 5 } });
  const loaders = await promote(m, 1, 2, 3);
  await m.aspire('m', []);
  for (const version of [1, 2, 3]) await m.saw('m', version, 'End');
  assert.deepEqual(
    loaders.map(({ unloads }) => unloads),
    [1, 1, 1],
  );
  // Its record goes a round after the end is told.
  await m.until(
    eventually(() => m.manager.listServableNames().length === 0, 'the name to be gone'),
    'the name to be gone',
  );
});

test('close() unloads standbys and abandons none', async (t) => {
  const m = start(t, { standby: { versions: 5 } });
  const loaders = await promote(m, 1, 2, 3);
  assert.deepEqual((await deadline(m.manager.close(), 'close()')).abandoned, []);
  assert.deepEqual(
    loaders.map(({ unloads }) => unloads),
    [1, 1, 1],
  );
});

test('standbys of each servable are its own, and the option of a list or of setServableOptions counts before the manager', async (t) => {
  const m = start(t, { standby: false });
  await m.aspire('kept', counted(1), { standby: { versions: 1 } });
  await m.aspire('kept', counted(2));
  await m.aspire('m', counted(1));
  await m.aspire('m', counted(2));
  assert.deepEqual([statesOf(m, 'kept'), statesOf(m)], [['2 Ready', '1 Quiesced*'], ['2 Ready']]);
});

test('fewer standbys, or none, end what is too much at once', async (t) => {
  const m = start(t, { standby: { versions: 3 } });
  await promote(m, 1, 2, 3, 4);
  assert.equal(statesOf(m).length, 4);
  m.manager.setServableOptions('m', { standby: { versions: 1 } });
  await m.saw('m', 1, 'End');
  await m.saw('m', 2, 'End');
  assert.deepEqual(statesOf(m), ['4 Ready', '3 Quiesced*']);
  m.manager.setServableOptions('m', { standby: false });
  await m.saw('m', 3, 'End');
  assert.deepEqual(statesOf(m), ['4 Ready']);
});

test('versions that failed or never came are no standbys', async (t) => {
  const m = start(t, { standby: { versions: 5 } });
  await promote(m, 1);
  await m.aspire('m', one(2, new FailingLoader(2)));
  await m.aspire('m', counted(3));
  assert.deepEqual(statesOf(m), ['3 Ready', '1 Quiesced*']);
});

test('a standby has its share of the ledger, and goes oldest first when memory is needed', async (t) => {
  const m = start(t, { standby: { versions: 5 }, resources: { ram: '100MiB' } });
  const taking = (version: number): Loader & CountingLoader =>
    Object.assign(new CountingLoader(version), { estimateResources: () => ({ ram: '25MiB' }) });
  const loaders = [1, 2, 3, 4, 5].map(taking);
  for (const loader of loaders.slice(0, 4)) await m.aspire('m', one(loader.value, loader));
  const shares = m.manager.resources().versions.map(({ id, standby }) => `${id.version}${standby ? '*' : ''}`);
  assert.deepEqual(shares.sort(), ['1*', '2*', '3*', '4']);
  await m.aspire('m', one(5, loaders[4] as Loader));
  assert.deepEqual(
    loaders.map(({ unloads }) => unloads),
    [1, 0, 0, 0, 0],
  );
  await m.aspire('n', one(1, Object.assign(new CountingLoader(1), { estimateResources: () => ({ ram: '50MiB' }) })));
  assert.deepEqual(
    loaders.map(({ unloads }) => unloads),
    [1, 1, 1, 0, 0],
  );
  assert.equal(m.manager.resources().devices[0]?.reserved, 100 * 2 ** 20);
});

test('a way back under readers: none is without a version, and what each reads is loaded', async (t) => {
  const m = start(t);
  await promote(m, 1, 2);
  let reading = true;
  let reads = 0;
  const readers = Array.from({ length: 16 }, async (_, i) => {
    while (reading) {
      await m.manager.withServable<number, void>('m', async (version) => {
        reads++;
        assert.ok(version === 1 || version === 2);
        await turns(i % 3);
      });
      await turns(1);
    }
  });
  for (let i = 0; i < 40; i++) await m.aspire('m', one(1 + (i % 2), new FailingLoader(0)));
  reading = false;
  await deadline(Promise.all(readers), 'the readers');
  assert.ok(reads > 100, `${reads} reads`);
});

test('by hand, without a thread', async (t) => {
  const m = start(t, { manageStateIntervalMs: 0, numLoadThreads: 0, numUnloadThreads: 0, standby: { for: 20 } });
  const [first] = await promote(m, 1, 2);
  assert.equal(first?.unloads, 0);
  await m.until(
    eventually(() => first?.unloads === 1, 'the end of the standby'),
    'the end of the standby',
  );
});
