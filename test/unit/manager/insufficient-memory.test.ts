// What happens when the old and the new version cannot be resident together: onInsufficientMemory.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Loader } from 'aspired';
import { eventually, turns } from '../../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../../support/loaders.js';
import { coded, TestManager, type TestManagerOptions } from '../../support/manager.js';

const start = (t: TestContext, options: TestManagerOptions = {}) =>
  new TestManager(t, { maxNumLoadRetries: 0, resources: { ram: '100MiB' }, ...options });

const frees = { onInsufficientMemory: 'resource-preserving' } as const;

const taking = <L extends Loader>(mib: number, loader: L): L =>
  Object.assign(loader, { estimateResources: () => ({ ram: `${mib}MiB` }) });

/** Loads any number of times, as the loader of a version that is loaded again must; every load but the first may fail. */
class AgainLoader implements Loader<string> {
  loads = 0;
  unloads = 0;
  constructor(
    readonly value: string,
    readonly failsFrom = Number.POSITIVE_INFINITY,
  ) {}
  load(): string {
    if (++this.loads >= this.failsFrom) throw new Error('not again');
    return this.value;
  }
  unload(): void {
    this.unloads++;
  }
}

const waits = (m: TestManager, name: string, version: number) =>
  m.until(
    eventually(
      // Not: for its estimate.
      () =>
        m.manager
          .getServableStates(name)
          .some(({ id, waiting }) => id.version === version && /needs/.test(waiting ?? '')),
      `${name}/${version} to wait`,
    ),
    `${name}/${version} to wait`,
  );

test("'wait': the old one serves, the new one waits until memory comes free", async (t) => {
  const m = start(t);
  await m.aspire('other', one(1, taking(40, new CountingLoader(1))));
  await m.aspire('m', one(1, taking(60, new CountingLoader(1))));
  const transition = m.manager.setAspiredVersions('m', one(2, taking(40, new CountingLoader(2))));
  await waits(m, 'm', 2);
  await turns();
  assert.equal(m.resolve('m'), 'm/1');
  await m.aspire('other', []);
  await m.settled(transition);
  assert.equal(m.resolve('m'), 'm/2');
});

test("'resource-preserving': together where both fit, as by the policy", async (t) => {
  const m = start(t, frees);
  await m.aspire('m', one(1, taking(50, new CountingLoader(1))));
  await m.aspire('m', one(2, taking(50, new CountingLoader(2))));
  assert.ok(m.events.indexOf('m', 2, 'Available') < m.events.indexOf('m', 1, 'Unloading'));
});

test("'resource-preserving': the old one goes first where only that makes room", async (t) => {
  const m = start(t);
  const old = taking(60, new CountingLoader(1));
  await m.aspire('m', one(1, old), frees);
  const { versions } = await m.aspire('m', one(2, taking(60, new CountingLoader(2))));
  assert.deepEqual(versions, [{ version: 2, managerState: 'Available' }]);
  assert.ok(m.events.indexOf('m', 1, 'End') < m.events.indexOf('m', 2, 'Loading'));
  assert.equal(old.unloads, 1);
  assert.equal(m.manager.resources().devices[0]?.reserved, 60 * 2 ** 20);
});

test("'resource-preserving': the old one stays when its going would not make room", async (t) => {
  const m = start(t);
  const old = taking(30, new CountingLoader(1));
  await m.aspire('other', one(1, taking(60, new CountingLoader(1))));
  await m.aspire('m', one(1, old), frees);
  const transition = m.manager.setAspiredVersions('m', one(2, taking(50, new CountingLoader(2))));
  await waits(m, 'm', 2);
  await turns();
  assert.deepEqual([m.resolve('m'), old.unloads], ['m/1', 0]);
  await m.aspire('other', []);
  await m.settled(transition);
});

test("'resource-preserving': a version that could never fit does not cost the old one", async (t) => {
  const m = start(t, frees);
  const old = taking(60, new CountingLoader(1));
  await m.aspire('m', one(1, old));
  const { versions } = await m.aspire('m', one(2, taking(101, new CountingLoader(2))));
  coded('ERR_RESOURCE_EXHAUSTED')(versions[0]?.error);
  assert.deepEqual([m.resolve('m'), old.unloads], ['m/1', 0]);
});

test("'resource-preserving': should the new version fail, the last good one is loaded again, by itself", async (t) => {
  const m = start(t, { ...frees, maxNumLoadRetries: 5, loadRetryIntervalMs: 3_600_000 });
  const old = taking(60, new AgainLoader('old'));
  await m.aspire('m', one(1, old));
  const bad = taking(60, new FailingLoader(2));
  const { versions } = await m.aspire('m', one(2, bad));
  coded('ERR_LOAD_FAILED')(versions[0]?.error);
  await m.until(
    eventually(() => m.available().includes('m/1'), 'the last good one'),
    'the last good one',
  );
  assert.deepEqual([m.resolve('m'), old.loads, old.unloads, bad.attempts], ['m/1', 2, 1, 1]);
  // It is told after it is so.
  await eventually(() => m.events.statesOf('m', 1).length === 8, 'the events of the last good one');
  const states = m.events.statesOf('m', 1);
  assert.deepEqual(states.slice(0, 5), ['Start', 'Loading', 'Available', 'Unloading', 'End']);
  assert.deepEqual(states.slice(5), ['Start', 'Loading', 'Available']);
  const [row] = m.manager.getServableStates('m');
  assert.deepEqual([row?.id.version, row?.degraded], [2, true]);
  // The next one is as free to take its place.
  await m.aspire('m', one(3, taking(60, new CountingLoader(3))));
  assert.deepEqual([m.resolve('m'), old.unloads], ['m/3', 2]);
});

test('a fallback that is aspired to stays, with its own loader', async (t) => {
  const m = start(t, frees);
  const old = taking(60, new AgainLoader('old'));
  await m.aspire('m', one(1, old));
  await m.aspire('m', one(2, taking(60, new FailingLoader(2))));
  await m.until(
    eventually(() => m.available().includes('m/1'), 'the last good one'),
    'the last good one',
  );
  const unused = taking(60, new CountingLoader(1));
  await m.aspire('m', one(1, unused));
  assert.deepEqual([old.loads, old.unloads, unused.loads], [2, 1, 0]);
  assert.deepEqual(
    m.manager.getServableStates('m').map(({ id, aspired, state }) => [id.version, aspired, state]),
    [[1, true, 'Ready']],
  );
});

test('a fallback that fails is over, and the next list is followed', async (t) => {
  const m = start(t, frees);
  const old = taking(60, new AgainLoader('old', 2));
  await m.aspire('m', one(1, old));
  await m.aspire('m', one(2, taking(60, new FailingLoader(2))));
  await m.until(
    eventually(() => old.loads === 2, 'the last good one to be tried'),
    'the last good one to be tried',
  );
  await m.aspire('m', one(3, taking(60, new CountingLoader(3))));
  assert.equal(m.resolve('m'), 'm/3');
});

test('the old one drains before its memory is given to the new one', async (t) => {
  const m = start(t, frees);
  await m.aspire('m', one(1, taking(60, new CountingLoader(1))));
  const handle = m.manager.getServableHandle<number>('m');
  const young = taking(60, new CountingLoader(2));
  const transition = m.manager.setAspiredVersions('m', one(2, young));
  await eventually(() => m.resolve('m') === 'ERR_SERVABLE_NOT_FOUND', 'the close of the old one');
  await turns();
  assert.deepEqual([young.loads, handle.servable, m.resolve('m')], [0, 1, 'ERR_SERVABLE_NOT_FOUND']);
  handle.release();
  await m.settled(transition);
});

test('back before the new one is there: the old one is aspired to again', async (t) => {
  const m = start(t, frees);
  await m.aspire('m', one(1, taking(60, new AgainLoader('old'))));
  const young = taking(60, new ManualLoader());
  m.manager.setAspiredVersions('m', one(2, young));
  await young.loading();
  const { versions } = await m.aspire('m', one(1, taking(60, new CountingLoader(1))));
  assert.equal(versions[0]?.managerState, 'Available');
  assert.equal(m.resolve('m'), 'm/1');
  assert.deepEqual(
    m.manager.getServableStates('m').map(({ id }) => id.version),
    [1],
  );
});

test('can be changed while a version waits', async (t) => {
  const m = start(t);
  await m.aspire('m', one(1, taking(60, new CountingLoader(1))));
  const transition = m.manager.setAspiredVersions('m', one(2, taking(60, new CountingLoader(2))));
  await waits(m, 'm', 2);
  assert.equal(m.resolve('m'), 'm/1');
  await m.aspire('m', one(2, taking(60, new CountingLoader(2))), frees);
  await m.settled(transition);
  assert.equal(m.resolve('m'), 'm/2');
});

test('with a standby: that goes first, and the old one serves until the switch', async (t) => {
  const m = start(t, { ...frees, standby: { versions: 1 } });
  await m.aspire('m', one(1, taking(40, new CountingLoader(1))));
  await m.aspire('m', one(2, taking(40, new CountingLoader(2))));
  await m.aspire('m', one(3, taking(40, new CountingLoader(3))));
  assert.ok(m.events.indexOf('m', 1, 'End') < m.events.indexOf('m', 3, 'Loading'));
  assert.ok(m.events.indexOf('m', 3, 'Available') < m.events.indexOf('m', 2, 'Unloading'));
  await m.aspire('other', counted(1));
});
