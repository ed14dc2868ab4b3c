// A load that was given up and still runs: its memory is not promised to anybody else before it is over.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Loader, ServableVersionState, VersionResources } from 'aspired';
import { eventually, turns } from '../../support/deadline.js';
import { CountingLoader, ManualLoader, one } from '../../support/loaders.js';
import { TestManager, type TestManagerOptions } from '../../support/manager.js';

const MiB = 2 ** 20;

function start(t: TestContext, options: TestManagerOptions = {}): TestManager {
  return new TestManager(t, { maxNumLoadRetries: 0, resources: { ram: '100MiB' }, ...options });
}

function taking<L extends Loader>(mib: number, loader: L): L {
  return Object.assign(loader, { estimateResources: () => ({ ram: `${mib}MiB` }) });
}

const stateOf = (m: TestManager, name: string): ServableVersionState | undefined =>
  m.manager.getServableStates(name)[0];

const reserved = (m: TestManager): number => (m.manager.resources().devices[0]?.reserved ?? Number.NaN) / MiB;

const givenUp = (m: TestManager): VersionResources[] => m.manager.resources().versions.filter((row) => row.givenUp);

async function waiting(m: TestManager, name: string): Promise<string> {
  await m.until(
    eventually(() => /needs/.test(stateOf(m, name)?.waiting ?? ''), `${name} to wait`),
    `${name} to wait`,
  );
  return stateOf(m, name)?.waiting ?? '';
}

/** Drops a deaf load of 60 MiB; its version is gone then. */
async function dropped(m: TestManager, loader = taking(60, new ManualLoader({ deaf: true }))): Promise<ManualLoader> {
  m.manager.setAspiredVersions('deaf', one(1, loader));
  await loader.loading();
  await m.aspire('deaf', []);
  assert.equal(stateOf(m, 'deaf'), undefined);
  return loader;
}

for (const [how, end] of [
  ['fails', (deaf) => deaf.fail(new Error('late'))],
  ['brings something', (deaf) => deaf.succeed(1)],
  ['brings undefined', (deaf) => deaf.succeed(undefined as never)],
] as [string, (attempt: Awaited<ReturnType<ManualLoader['loading']>>) => void][]) {
  test(`a load that was given up keeps its reservation until it ${how}`, async (t) => {
    const m = start(t);
    const deaf = await dropped(m);
    assert.equal(reserved(m), 60);
    const [row] = givenUp(m);
    assert.deepEqual(
      [row?.id, row?.state, row?.shares[0]?.reserved],
      [{ name: 'deaf', version: 1 }, 'Loading', 60 * MiB],
    );
    const next = m.manager.setAspiredVersions('next', one(1, taking(60, new CountingLoader(1))));
    assert.match(await waiting(m, 'next'), /given up and still run have/);
    await m.aspire('small', one(1, taking(40, new CountingLoader(1)))); // its slot is free
    end(await deaf.loading());
    assert.equal((await m.settled(next)).versions[0]?.managerState, 'Available');
    assert.deepEqual([reserved(m), givenUp(m)], [100, []]);
  });
}

for (const [what, more] of [
  ['what it brings', {}],
  ['what it brings and is not validated any more', { validate: () => true }],
] as [string, Partial<Loader>][]) {
  for (const fails of [false, true]) {
    test(`${what} has its memory until its unload ${fails ? 'has failed' : 'is over'}`, async (t) => {
      const m = start(t, { cancelGraceMs: 1 });
      const loader = new ManualLoader({ deaf: true, manualUnload: true });
      const deaf = await dropped(m, Object.assign(taking(60, loader), more));
      (await deaf.loading()).succeed(1);
      const unload = await deaf.unloading();
      await turns();
      assert.deepEqual([reserved(m), givenUp(m).map(({ id }) => id.name)], [60, ['deaf']]);
      if (fails) unload.fail(new Error('stuck'));
      else unload.succeed();
      await turns();
      assert.deepEqual([reserved(m), givenUp(m)], [0, []]);
      assert.deepEqual(
        m.errors.map(({ code }) => code),
        fails ? ['ERR_UNLOAD_FAILED'] : [],
      );
    });
  }
}

test('an unload within the grace that outlasts it keeps the reservation, too', async (t) => {
  const m = start(t, { cancelGraceMs: 20, loadTimeoutMs: 1 });
  const late = taking(60, new ManualLoader({ deaf: true, manualUnload: true }));
  const transition = m.manager.setAspiredVersions('late', one(1, late));
  const attempt = await late.loading();
  await eventually(() => attempt.context.signal.aborted, 'the end of its time');
  attempt.succeed(1);
  const unload = await late.unloading();
  assert.equal((await m.settled(transition)).versions[0]?.error?.code, 'ERR_LOAD_TIMEOUT');
  assert.equal(reserved(m), 60);
  unload.succeed();
  await turns();
  assert.equal(reserved(m), 0);
});

test('the next attempt of a load that was given up waits until that is over, or there is room for both', async (t) => {
  const m = start(t, { loadTimeoutMs: 20, maxNumLoadRetries: 1, loadRetryIntervalMs: 0 });
  const deaf = taking(60, new ManualLoader({ deaf: true }));
  const transition = m.manager.setAspiredVersions('deaf', one(1, deaf));
  const first = await deaf.loading();
  assert.match(await waiting(m, 'deaf'), /given up and still run have/);
  assert.deepEqual([stateOf(m, 'deaf')?.state, deaf.loads, reserved(m)], ['Loading', 1, 60]);
  first.fail(new Error('late'));
  (await deaf.loading(2)).succeed(2);
  assert.equal((await m.settled(transition)).versions[0]?.managerState, 'Available');
  assert.deepEqual([reserved(m), givenUp(m)], [60, []]);
});

test('close() does not wait for a load that was given up, and what that brings is unloaded', async (t) => {
  const m = start(t, { cancelGraceMs: 1 });
  const deaf = await dropped(m);
  assert.deepEqual((await m.manager.close()).abandoned, []);
  (await deaf.loading()).succeed(1);
  await deaf.unloading();
});
