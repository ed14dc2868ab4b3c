// Memory before a load: what waits and says why, what is admitted and when, what never fits, and what is given back.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { AspiredVersion, LoadContext, Loader, ResourceAllocation, ServableVersionState } from 'aspired';
import { AspiredError } from 'aspired';
import { eventually, turns } from '../../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one, PendingCall } from '../../support/loaders.js';
import { coded, TestManager, type TestManagerOptions } from '../../support/manager.js';

const MiB = 2 ** 20;

function start(t: TestContext, options: TestManagerOptions = {}): TestManager {
  return new TestManager(t, { maxNumLoadRetries: 0, resources: { ram: '100MiB' }, ...options });
}

/** The loader, with an estimate of so many MiB. */
function taking<L extends Loader>(mib: number, loader: L): L {
  return Object.assign(loader, { estimateResources: () => ({ ram: `${mib}MiB` }) });
}

/** A list of one version that takes so many MiB. */
const list = (mib: number, version = 1): AspiredVersion[] => one(version, taking(mib, new CountingLoader(version)));

const stateOf = (m: TestManager, name: string): ServableVersionState | undefined =>
  m.manager.getServableStates(name)[0];

const ram = (m: TestManager) => {
  const [device] = m.manager.resources().devices;
  assert.ok(device);
  return device;
};

/** Waits until the version waits for memory; why. */
async function waiting(m: TestManager, name: string): Promise<string> {
  await m.until(
    eventually(() => /needs/.test(stateOf(m, name)?.waiting ?? ''), `${name} to wait`),
    `${name} to wait`,
  );
  assert.equal(stateOf(m, name)?.state, 'LoadRequested');
  return stateOf(m, name)?.waiting ?? '';
}

const assertEmpty = (m: TestManager): void => {
  const { estimated, reserved, measured } = ram(m);
  assert.deepEqual({ estimated, reserved, measured }, { estimated: 0, reserved: 0, measured: 0 });
  assert.deepEqual(m.manager.resources().versions, []);
};

test('a load that does not fit waits, visibly and with the arithmetic, and is admitted when memory comes free', async (t) => {
  const m = start(t);
  await m.aspire('a', list(70));
  const transition = m.manager.setAspiredVersions('b', list(50));
  const why = await waiting(m, 'b');
  assert.match(why, /50(\.00)? MiB|52428800/, why);
  assert.match(why, /limit .*100/, why);
  assert.match(why, /reserved .*70/, why);
  assert.deepEqual(m.events.statesOf('b', 1), ['Start'], 'it is not Loading while it waits');
  const row = m.manager.resources().versions.find(({ id }) => id.name === 'b');
  assert.equal(row?.state, 'LoadRequested');
  assert.match(row?.waiting ?? '', /limit/);
  assert.deepEqual(
    row?.shares.map(({ estimated, reserved }) => [estimated, reserved]),
    [[50 * MiB, 0]],
  );
  assert.equal(ram(m).reserved, 70 * MiB);
  await m.aspire('a', []);
  assert.equal((await m.settled(transition)).versions[0]?.managerState, 'Available');
  assert.equal(stateOf(m, 'b')?.waiting, undefined);
  assert.equal(ram(m).reserved, 50 * MiB);
});

test('a load that waits is admitted when the limit is raised', async (t) => {
  const m = start(t);
  await m.aspire('a', list(70));
  const transition = m.manager.setAspiredVersions('b', list(50));
  await waiting(m, 'b');
  m.manager.setResourceLimits({ ram: '119MiB' });
  await turns();
  assert.deepEqual(m.available(), ['a/1']);
  m.manager.setResourceLimits({ ram: '120MiB' });
  await m.settled(transition);
  assert.equal(ram(m).reserved, 120 * MiB);
});

test('a load that waits is admitted at the cost of a standby', async (t) => {
  const m = start(t, { standby: { versions: 1 } });
  const standby = taking(30, new CountingLoader(1));
  await m.aspire('a', one(1, standby));
  await m.aspire('a', list(30, 2));
  assert.deepEqual([standby.unloads, ram(m).reserved], [0, 60 * MiB]);
  await m.aspire('b', list(60));
  assert.deepEqual([standby.unloads, ram(m).reserved], [1, 90 * MiB]);
});

test('a smaller load goes past one that does not fit', async (t) => {
  const m = start(t);
  await m.aspire('a', list(70));
  const transition = m.manager.setAspiredVersions('b', list(50));
  await waiting(m, 'b');
  await m.aspire('c', list(30));
  await m.aspire('none', counted(1));
  await m.aspire('a', []);
  await m.settled(transition);
});

test('memory that comes free goes by priority, then by age', async (t) => {
  const m = start(t);
  await m.aspire('a', list(90));
  const names = ['old', 'young', 'low', 'high', 'higher'];
  const priorities: Record<string, number> = { low: -1, high: 1, higher: 7 };
  const transitions = [];
  for (const name of names) {
    const priority = priorities[name];
    transitions.push(m.manager.setAspiredVersions(name, list(40), priority === undefined ? undefined : { priority }));
    await waiting(m, name);
  }
  m.manager.setAspiredVersions('a', []);
  // Two fit at a time; the next two when those are dropped.
  await m.settled(transitions[4] as never);
  await m.settled(transitions[3] as never);
  assert.deepEqual(m.available(), ['high/1', 'higher/1']);
  await m.aspire('high', []);
  await m.settled(transitions[0] as never);
  assert.deepEqual(m.available(), ['higher/1', 'old/1']);
  await m.aspire('higher', []);
  await m.settled(transitions[1] as never);
  assert.deepEqual(m.available(), ['old/1', 'young/1']);
  await m.aspire('old', []);
  await m.settled(transitions[2] as never);
});

test('a load that can never fit fails at once, with the arithmetic', async (t) => {
  const m = start(t, { maxNumLoadRetries: 5, loadRetryIntervalMs: 3_600_000 });
  const loader = taking(101, new CountingLoader(1));
  const { versions } = await m.aspire('a', one(1, loader));
  const error = versions[0]?.error;
  assert.equal(versions[0]?.managerState, 'End');
  coded('ERR_RESOURCE_EXHAUSTED', 'RESOURCE_EXHAUSTED')(error);
  assert.match(error?.message ?? '', /a\/1.* can never fit: .*101(\.00)? MiB.*100(\.00)? MiB/);
  assert.deepEqual({ ...error?.servable }, { name: 'a', version: 1 });
  assert.equal(loader.loads, 0);
  assert.equal(stateOf(m, 'a')?.state, 'Error');
  assertEmpty(m);
  await m.aspire('b', list(100));
});

test('a load that can never fit fails at once though every slot is taken', async (t) => {
  const m = start(t, { numLoadThreads: 1 });
  const busy = taking(10, new ManualLoader());
  m.manager.setAspiredVersions('busy', one(1, busy));
  const attempt = await busy.loading();
  const { versions } = await m.aspire('a', list(200));
  coded('ERR_RESOURCE_EXHAUSTED', 'RESOURCE_EXHAUSTED')(versions[0]?.error);
  attempt.succeed(1);
});

test('what could never fit stays failed when the limit is raised where nothing that failed is loaded again', async (t) => {
  const m = start(t, { enableReloadServablesWithError: false });
  await m.aspire('a', list(101));
  m.manager.setResourceLimits({ ram: '101MiB' });
  await m.aspire('b', list(1));
  assert.equal(stateOf(m, 'a')?.state, 'Error');
  await m.aspire('a', []);
  await m.aspire('a', list(100));
  assert.equal(stateOf(m, 'a')?.state, 'Ready');
});

test('what could never fit is tried again when the limit is raised', async (t) => {
  const m = start(t);
  await m.aspire('a', list(101));
  m.manager.setResourceLimits({ ram: '101MiB' });
  await m.saw('a', 1, 'Available');
  assert.deepEqual(m.events.statesOf('a', 1), ['Start', 'End', 'Start', 'Loading', 'Available']);
  assert.equal(stateOf(m, 'a')?.error, undefined);
});

test('a limit that is lowered takes nothing from anybody, and holds for what comes', async (t) => {
  const m = start(t);
  const loader = taking(60, new CountingLoader(1));
  await m.aspire('a', one(1, loader));
  m.manager.setResourceLimits({ ram: '50MiB' });
  assert.deepEqual([ram(m).limit, ram(m).reserved, ram(m).available], [50 * MiB, 60 * MiB, 0]);
  const transition = m.manager.setAspiredVersions('b', list(1));
  await waiting(m, 'b');
  assert.deepEqual([loader.loads, loader.unloads], [1, 0]);
  await m.aspire('a', []);
  await m.settled(transition);
});

test('an unload never waits behind loads that wait for memory', async (t) => {
  const m = start(t, { numLoadThreads: 1, numUnloadThreads: 1 });
  await m.aspire('a', list(70));
  await m.aspire('small', list(20));
  const transitions = [1, 2, 3].map((i) => m.manager.setAspiredVersions(`b${i}`, list(50)));
  for (const i of [1, 2, 3]) await waiting(m, `b${i}`);
  await m.aspire('small', []);
  assert.equal(ram(m).reserved, 70 * MiB);
  await m.aspire('a', []);
  await m.settled(transitions[0] as never);
  await m.settled(transitions[1] as never);
  await m.aspire('b1', []);
  await m.settled(transitions[2] as never);
});

test('a load that waits is dropped at once when it is not aspired any more', async (t) => {
  const m = start(t);
  await m.aspire('a', list(70));
  const loader = taking(50, new CountingLoader(1));
  const transition = m.manager.setAspiredVersions('b', one(1, loader));
  await waiting(m, 'b');
  await m.aspire('b', []);
  const { versions, superseded } = await m.settled(transition);
  assert.deepEqual([versions[0]?.managerState, superseded], ['End', true]);
  assert.deepEqual(m.events.statesOf('b', 1), ['Start', 'End']);
  assert.equal(loader.loads, 0);
  assert.deepEqual(m.manager.getServableStates('b'), []);
  assert.equal(ram(m).reserved, 70 * MiB);
});

test('close() ends what waits for memory', async (t) => {
  const m = start(t);
  await m.aspire('a', list(70));
  const transition = m.manager.setAspiredVersions('b', list(50));
  await waiting(m, 'b');
  const { abandoned } = await m.manager.close();
  assert.deepEqual(abandoned, []);
  assert.equal((await transition.settled).versions[0]?.managerState, 'End');
});

test('a load is told what is reserved for it, and nothing where nothing is', async (t) => {
  const m = start(t);
  const contexts: (LoadContext['reservation'] | 'none')[] = [];
  const load = ({ reservation }: LoadContext): number => contexts.push(reservation ?? 'none');
  await m.aspire('a', one(1, { load, estimateResources: () => ({ ram: '10MiB' }) }));
  await m.aspire('b', one(1, { load, estimateResources: async () => ({ ram: 5 }) }));
  await m.aspire('c', one(1, { load }));
  await m.aspire('d', one(1, { load, estimateResources: () => ({}) }));
  assert.deepEqual(contexts, [{ ram: 10 * MiB, cuda: [] }, { ram: 5, cuda: [] }, 'none', 'none']);
});

test('estimateResources() is called on its loader, before the load, once for each incarnation', async (t) => {
  const m = start(t);
  const calls: string[] = [];
  const loader = {
    mib: 30,
    async estimateResources(): Promise<ResourceAllocation> {
      calls.push('estimate');
      return { ram: `${this.mib}MiB` };
    },
    load(): number {
      calls.push('load');
      return 1;
    },
  };
  await m.aspire('a', one(1, loader));
  assert.deepEqual(calls, ['estimate', 'load']);
  assert.equal(ram(m).reserved, 30 * MiB);
  await m.aspire('a', []);
  await m.aspire('a', one(1, loader));
  assert.deepEqual(calls, ['estimate', 'load', 'estimate', 'load']);
});

test('a retry keeps the reservation of the attempt before it', async (t) => {
  const m = start(t, { maxNumLoadRetries: 2, loadRetryIntervalMs: 0 });
  let estimates = 0;
  const loader = Object.assign(new FailingLoader(1, new Error('not yet'), 2), {
    estimateResources: () => {
      estimates++;
      return { ram: '30MiB' };
    },
  });
  await m.aspire('a', one(1, loader));
  assert.deepEqual([loader.attempts, estimates, ram(m).reserved], [3, 1, 30 * MiB]);
});

for (const [how, estimateResources] of [
  [
    'throws',
    () => {
      throw new Error('no manifest');
    },
  ],
  ['rejects', () => Promise.reject(new Error('no manifest'))],
] as [string, () => never][]) {
  test(`an estimate that ${how} is a failed load, with its cause`, async (t) => {
    const m = start(t);
    const loader = Object.assign(new CountingLoader(1), { estimateResources });
    const { versions } = await m.aspire('a', one(1, loader));
    const error = versions[0]?.error;
    coded('ERR_ESTIMATE_FAILED')(error);
    assert.match(error?.message ?? '', /^Estimating a\/1 failed: no manifest$/);
    assert.equal((error?.cause as Error | undefined)?.message, 'no manifest');
    assert.deepEqual({ ...error?.servable }, { name: 'a', version: 1 });
    assert.deepEqual(m.events.statesOf('a', 1), ['Start', 'End']);
    assert.equal(stateOf(m, 'a')?.error, error);
    assert.equal(loader.loads, 0);
  });
}

test('an estimate that fails is retried like a load, quickly and then slowly', async (t) => {
  const m = start(t, { maxNumLoadRetries: 2, loadRetryIntervalMs: 1, slowRetryIntervalMs: 1 });
  let estimates = 0;
  const loader = Object.assign(new CountingLoader(1), {
    estimateResources: () => {
      if (++estimates < 6) throw new Error('not yet');
      return { ram: '1MiB' };
    },
  });
  m.manager.setAspiredVersions('a', one(1, loader));
  await m.saw('a', 1, 'Available');
  assert.equal(estimates, 6);
  assert.deepEqual(m.events.statesOf('a', 1), ['Start', 'End', 'Start', 'Loading', 'Available']);
});

test('shouldRetryModelLoad decides about estimates, too', async (t) => {
  const asked: string[] = [];
  const shouldRetryModelLoad = ({ code }: AspiredError): boolean => {
    asked.push(code);
    return false;
  };
  const m = start(t, { maxNumLoadRetries: 5, loadRetryIntervalMs: 0, slowRetryIntervalMs: 0, shouldRetryModelLoad });
  const estimateResources = () => Promise.reject(new Error('no manifest'));
  await m.aspire('a', one(1, Object.assign(new CountingLoader(1), { estimateResources })));
  assert.deepEqual(asked, ['ERR_ESTIMATE_FAILED']);
  assert.equal(stateOf(m, 'a')?.nextRetryAt, undefined);
});

test('an error with a code of its own keeps it', async (t) => {
  const m = start(t);
  const thrown = new AspiredError('ERR_MODEL_NOT_FOUND', 'gone');
  const estimateResources = () => Promise.reject(thrown);
  const { versions } = await m.aspire('a', one(1, Object.assign(new CountingLoader(1), { estimateResources })));
  coded('ERR_MODEL_NOT_FOUND')(versions[0]?.error);
  assert.equal(versions[0]?.error?.cause, thrown);
});

for (const [what, estimate] of [
  ['undefined', undefined],
  ['null', null],
  ['an amount', '5MiB'],
  ['an array', []],
  ['of another kind', { vram: 1 }],
  ['negative', { ram: -1 }],
  ['no amount', { ram: '5 megs' }],
  ['of a GPU that is no GPU', { cuda: [7] }],
] as [string, never][]) {
  test(`an estimate that is ${what} is ERR_INVALID_ESTIMATE, and nothing is loaded`, async (t) => {
    const m = start(t);
    for (const [name, estimateResources] of [
      ['a', () => estimate],
      ['b', async () => estimate],
    ] as [string, () => never][]) {
      const loader = Object.assign(new CountingLoader(1), { estimateResources });
      const { versions } = await m.aspire(name, one(1, loader));
      coded('ERR_INVALID_ESTIMATE', 'INVALID_ARGUMENT')(versions[0]?.error);
      assert.equal(loader.loads, 0);
    }
    assertEmpty(m);
  });
}

test('an estimate that never comes delays nothing else, and the version can be dropped', async (t) => {
  const m = start(t, { numLoadThreads: 1 });
  const never = Object.assign(new CountingLoader(1), { estimateResources: () => new Promise<never>(() => {}) });
  m.manager.setAspiredVersions('a', one(1, never));
  await m.saw('a', 1, 'Start');
  await m.aspire('b', list(30));
  assert.equal(stateOf(m, 'a')?.waiting, 'Its loader is asked for an estimate');
  await m.aspire('a', []);
  assert.equal(never.loads, 0);
  assert.deepEqual(m.events.statesOf('a', 1), ['Start', 'End']);
});

test('an estimate that takes longer than loadTimeoutMs has failed, and what it still brings counts for nothing', async (t) => {
  const m = start(t, { loadTimeoutMs: 20 });
  const call = new PendingCall<ResourceAllocation>();
  const late = Object.assign(new CountingLoader(1), { estimateResources: () => call.promise });
  const { versions } = await m.aspire('a', one(1, late));
  coded('ERR_LOAD_TIMEOUT', 'DEADLINE_EXCEEDED')(versions[0]?.error);
  assert.match(versions[0]?.error?.message ?? '', /^Estimating a\/1 took longer than loadTimeoutMs \(20 ms\)\.$/);
  call.succeed({ ram: '50MiB' });
  await m.aspire('b', list(1));
  assert.deepEqual([late.loads, ram(m).reserved], [0, MiB]);
});

test('an estimate that comes after its version was dropped changes nothing', async (t) => {
  const m = start(t);
  const call = new PendingCall<ResourceAllocation>();
  const late = Object.assign(new CountingLoader(1), { estimateResources: () => call.promise });
  m.manager.setAspiredVersions('a', one(1, late));
  await m.saw('a', 1, 'Start');
  await m.aspire('a', []);
  call.succeed({ ram: '50MiB' });
  await turns();
  await m.aspire('b', list(1));
  assert.equal(ram(m).reserved, MiB);
  assert.equal(late.loads, 0);
});

test('a load that fails, is refused or is cancelled gives its reservation back', async (t) => {
  const m = start(t);
  await m.aspire('fails', one(1, taking(90, new FailingLoader(1))));
  assertEmpty(m);
  await m.aspire('refused', one(1, taking(90, new CountingLoader(1))), { validate: () => false });
  assertEmpty(m);
  const manual = taking(90, new ManualLoader());
  m.manager.setAspiredVersions('cancelled', one(1, manual));
  await manual.loading();
  assert.equal(ram(m).reserved, 90 * MiB);
  await m.aspire('cancelled', []);
  assertEmpty(m);
  await m.aspire('good', list(90));
});

test('a reservation is held until the unload is over', async (t) => {
  const m = start(t);
  const loader = taking(60, new ManualLoader({ manualUnload: true }));
  const loading = m.manager.setAspiredVersions('a', one(1, loader));
  (await loader.loading()).succeed(1);
  await m.settled(loading);
  m.manager.setAspiredVersions('a', []);
  const unload = await loader.unloading();
  const next = m.manager.setAspiredVersions('b', list(60));
  await waiting(m, 'b');
  assert.equal(ram(m).reserved, 60 * MiB);
  unload.succeed();
  await m.settled(next);
});

test('after everything is unloaded the ledger is where it began', async (t) => {
  const m = start(t);
  for (const name of ['a', 'b', 'c']) await m.aspire(name, list(30));
  assert.deepEqual([ram(m).reserved, ram(m).estimated], [90 * MiB, 90 * MiB]);
  for (const name of ['a', 'b', 'c']) await m.aspire(name, []);
  assertEmpty(m);
});

test('resources() says what there is: one row for main memory, one for each version with a share', async (t) => {
  const m = start(t);
  await m.aspire('a', list(30));
  await m.aspire('none', counted(1));
  const { devices, versions } = m.manager.resources();
  const { device, limit, available, total, used, error } = ram(m);
  assert.equal(devices.length, 1);
  assert.deepEqual([device, limit, available, error], ['ram', 100 * MiB, 70 * MiB, undefined]);
  assert.ok(total !== undefined && used !== undefined && used > 0 && total >= used);
  assert.deepEqual(
    versions.map(({ id, state, standby, shares }) => [id.name, state, standby, shares[0]?.reserved]),
    [['a', 'Ready', false, 30 * MiB]],
  );
});

/** What is freed while something loads would hide what the load takes. */
const kept: Buffer[] = [];

/** Really takes so many MiB outside of the heap of JavaScript. */
function allocating(mib: number, estimate?: ResourceAllocation): Loader<Buffer> & { reserved: number[] } {
  const reserved: number[] = [];
  return {
    reserved,
    ...(estimate ? { estimateResources: () => estimate } : {}),
    load({ reservation }) {
      reserved.push(reservation?.ram ?? 0);
      const buffer = Buffer.alloc(mib * MiB, 1);
      kept.push(buffer);
      return buffer;
    },
  };
}

test('what a load really took corrects the estimate of the next one, here and in a later manager', async (t) => {
  const m = start(t, { resources: { ram: '400MiB' } });
  const loaders = [1, 2].map(() => allocating(64, { ram: '8MiB' }));
  await m.aspire('a', one(1, loaders[0] as Loader));
  const { measured, drift } = ram(m);
  assert.ok(measured > 55 * MiB && measured < 80 * MiB, `measured ${measured / MiB} MiB`);
  assert.equal(drift, measured - 8 * MiB);
  await m.aspire('a', one(2, loaders[1] as Loader));
  assert.equal(loaders[0]?.reserved[0], 8 * MiB);
  assert.ok((loaders[1]?.reserved[0] ?? 0) > 55 * MiB, `reserved ${(loaders[1]?.reserved[0] ?? 0) / MiB} MiB`);
  const footprints = m.manager.exportFootprints();
  assert.deepEqual(
    footprints.footprints.map(({ servable, device, estimated }) => [servable, device, estimated]),
    [
      ['a', 'ram', 8 * MiB],
      ['a', 'ram', 8 * MiB],
    ],
  );
  const later = start(t, { resources: { ram: '400MiB' }, footprints: JSON.parse(JSON.stringify(footprints)) });
  const third = allocating(1, { ram: '8MiB' });
  await later.aspire('a', one(3, third));
  assert.ok((third.reserved[0] ?? 0) > 55 * MiB, `reserved ${(third.reserved[0] ?? 0) / MiB} MiB`);
});

test('what a loader without an estimate took is reserved for the next version', async (t) => {
  const m = start(t, { resources: { ram: '400MiB' } });
  const loaders = [1, 2].map(() => allocating(64));
  await m.aspire('a', one(1, loaders[0] as Loader));
  await m.aspire('a', one(2, loaders[1] as Loader));
  assert.equal(loaders[0]?.reserved[0], 0);
  assert.ok((loaders[1]?.reserved[0] ?? 0) > 55 * MiB, `reserved ${(loaders[1]?.reserved[0] ?? 0) / MiB} MiB`);
});
