// The rule by which the storm of fault/memory-limit.test.ts tells requests in a gap from those that really fail.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AspiredError, type HarnessState, type Loader, type ManagerState, type ServableVersionState } from 'aspired';
import { isGap, metGap, type Sight } from '../../support/gaps.js';
import { CountingLoader, FailingLoader, ManualLoader, one } from '../../support/loaders.js';
import { TestManager } from '../../support/manager.js';

const missing = new AspiredError('ERR_SERVABLE_NOT_FOUND', 'Servable m was not found; no version is available.');

type Row = readonly [state: HarnessState, managerState: ManagerState, aspired: boolean];
const WAITS: Row = ['LoadRequested', 'Start', true];
const SERVES: Row = ['Ready', 'Available', true];
const FAILED: Row = ['Error', 'End', true];

const sight = (rows: readonly Row[], more: Partial<Sight> = {}): Sight => ({
  dropped: false,
  mayGap: true,
  found: false,
  states: rows.map(([state, managerState, aspired]) => ({ state, managerState, aspired })),
  ...more,
});

const gaps: readonly (readonly [string, readonly Row[]])[] = [
  ['the next one waits for the old one to go', [['Unloading', 'Unloading', false], WAITS]],
  ['the old one has ended', [['Disabled', 'End', false], WAITS]],
  ['the next one is new', [['New', 'Start', true]]],
  ['the next one is approved', [['LoadApproved', 'Start', true]]],
  ['the next one loads', [['Loading', 'Loading', true]]],
  ['the one that goes is wanted back', [['Unloading', 'Unloading', true]]],
  ['the one that drains is wanted back', [['Quiescing', 'Unloading', true]]],
  ['the one that has gone is wanted back', [['Disabled', 'End', true]]],
];
for (const [what, rows] of gaps) {
  test(`there is a gap while ${what}, for a servable that may have one, and with nothing there`, () => {
    assert.equal(isGap(sight(rows)), true);
    assert.equal(isGap(sight(rows, { mayGap: false })), false);
    assert.equal(isGap(sight([...rows, SERVES])), false);
    assert.equal(isGap(sight(rows, { dropped: true })), true);
  });
}

const none: readonly (readonly [string, readonly Row[]])[] = [
  ['a version serves', [SERVES]],
  ['there is no version', []],
  ['the only one has failed', [FAILED]],
  ['one goes for nothing', [['Unloading', 'Unloading', false]]],
  ['one has gone for nothing', [['Disabled', 'End', false]]],
  ['the next one has failed', [['Disabled', 'End', false], FAILED]],
];
for (const [what, rows] of none) {
  test(`there is no gap when ${what}`, () => assert.equal(isGap(sight(rows)), false));
}

const gap = sight([WAITS]);
const serves = sight([SERVES], { found: true });
/** The core has opened it, and this thread has not heard of it. */
const opening = sight([SERVES]);

/** Looks that see one after the other, and the last one for ever. */
function looks(...sights: Sight[]): () => Sight {
  return () => (sights.length > 1 ? (sights.shift() as Sight) : (sights[0] as Sight));
}

test('a request is forgiven that found nothing in a gap: one that was there, that began, or that ends', async () => {
  assert.equal(await metGap(missing, gap, looks(serves)), true);
  assert.equal(await metGap(missing, opening, looks(gap)), true);
  assert.equal(await metGap(missing, opening, looks(opening, opening, serves)), true);
  const dropped = sight([], { dropped: true, mayGap: false });
  assert.equal(await metGap(missing, dropped, looks(serves)), true);
  assert.equal(await metGap(missing, sight([], { mayGap: false }), looks(dropped)), true);
});

test('a request is not forgiven that failed otherwise, gap or not', async () => {
  const other = new AspiredError('ERR_INVALID_INPUT', 'no');
  const alike = Object.assign(new Error(missing.message), { code: missing.code });
  for (const error of [other, alike, undefined]) assert.equal(await metGap(error, gap, looks(gap)), false);
});

test('a request is not forgiven that did not find what was there', async () => {
  assert.equal(await metGap(missing, serves, looks(serves)), false);
  assert.equal(await metGap(missing, sight([WAITS], { found: true }), looks(gap)), false);
});

test('a request is not forgiven where nothing opens, or no gap may be', async () => {
  assert.equal(await metGap(missing, opening, looks(opening)), false);
  assert.equal(await metGap(missing, sight([FAILED]), looks(sight([FAILED]))), false);
  const strict = { mayGap: false };
  assert.equal(await metGap(missing, sight([WAITS], strict), looks(sight([WAITS], strict))), false);
  assert.equal(await metGap(missing, sight([], strict), looks(sight([], strict), { ...serves, ...strict })), false);
});

// ------------------------------------------------------------------------------------- what a manager really shows

const start = (t: TestContext) =>
  new TestManager(t, {
    maxNumLoadRetries: 0,
    resources: { ram: '100MiB' },
    onInsufficientMemory: 'resource-preserving',
  });

const taking = <L extends Loader>(loader: L): L =>
  Object.assign(loader, { estimateResources: () => ({ ram: '60MiB' }) });

const look = (m: TestManager): Sight => ({
  dropped: false,
  mayGap: true,
  found: m.available().some((id) => id.startsWith('m/')),
  states: m.manager.getServableStates('m'),
});

/** What becomes of one request: its answer, a gap, or the code of its error. */
async function request(m: TestManager): Promise<unknown> {
  const before = look(m);
  try {
    return await m.manager.withServable('m', (servable) => servable);
  } catch (error) {
    return (await metGap(error, before, () => look(m))) ? 'gap' : (error as AspiredError).code;
  }
}

/** Loads version 1, which is unloaded by hand, and sets another list. */
async function replaced(m: TestManager, next: Loader): Promise<ManualLoader> {
  const old = taking(new ManualLoader({ manualUnload: true }));
  const first = m.manager.setAspiredVersions('m', one(1, old));
  assert.equal(await request(m), 'gap', 'nothing is loaded yet');
  (await old.loading()).succeed(1);
  await m.settled(first);
  assert.equal(await request(m), 1);
  m.manager.setAspiredVersions('m', one(2, taking(next)));
  await old.unloading();
  return old;
}

const stateOf = (m: TestManager, version: number): ServableVersionState | undefined =>
  m.manager.getServableStates('m').find(({ id }) => id.version === version);

test('from the end of one version to the other one all requests are in the gap', async (t) => {
  const m = start(t);
  const next = new ManualLoader();
  const old = await replaced(m, next);
  assert.equal(await request(m), 'gap', 'the old one unloads');
  (await old.unloading()).succeed();
  const attempt = await next.loading();
  assert.equal(await request(m), 'gap', 'the next one loads');
  attempt.succeed(2);
  await m.saw('m', 2, 'Available');
  assert.equal(await request(m), 2);
});

test('a version that went for another one, and is wanted back, is on its way', async (t) => {
  const m = start(t);
  const next = new ManualLoader();
  const old = await replaced(m, next);
  const { settled } = m.manager.setAspiredVersions('m', one(1, old));
  assert.equal(stateOf(m, 1)?.aspired, true);
  assert.equal(await request(m), 'gap', 'it unloads');
  (await old.unloading()).succeed();
  const again = await old.loading(2);
  assert.equal(await request(m), 'gap', 'it loads again');
  again.succeed(11);
  await m.until(settled, 'the way back');
  assert.equal(await request(m), 11);
  const gone = m.aspire('m', []);
  (await old.unloading(2)).succeed();
  await gone;
});

test('a servable whose versions have all failed, or that nobody wants, has no gap', async (t) => {
  const m = start(t);
  await m.aspire('m', one(1, taking(new FailingLoader(1))));
  assert.equal(await request(m), 'ERR_SERVABLE_NOT_FOUND');
  const good = taking(new CountingLoader(2));
  await m.aspire('m', one(2, good));
  assert.equal(await request(m), 2);
  await m.aspire('m', []);
  assert.equal(await request(m), 'ERR_SERVABLE_NOT_FOUND');
});
