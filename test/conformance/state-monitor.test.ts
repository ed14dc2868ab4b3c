// TensorFlow Serving's cases for its ServableStateMonitor, by the ids of the behaviour specification, section 10.8, as far as
// they can be said through the public API: getServableStates(), getEventLog(), events() and waits. The others are in C++.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { ManagerState, ServableRequest } from 'aspired';
import { turns } from '../support/deadline.js';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../support/loaders.js';
import { coded, TestManager } from '../support/manager.js';

const start = (t: TestContext, options = {}) =>
  new TestManager(t, { maxNumLoadRetries: 0, numLoadThreads: 4, numUnloadThreads: 4, ...options });

const wait = (m: TestManager, requests: ServableRequest[], goal: ManagerState) =>
  m.until(m.manager.waitUntilServablesReachState(requests, goal), `${goal} of ${JSON.stringify(requests)}`);

test('SSM-01 states and log follow the events; what is unknown is absent', async (t) => {
  const m = start(t, { maxLogEvents: 4 });
  assert.deepEqual([m.manager.getServableStates('foo'), m.manager.getEventLog()], [[], []]);
  const loader = new ManualLoader();
  m.manager.setAspiredVersions('foo', one(42, loader));
  const before = Date.now();
  const attempt = await loader.loading();
  assert.equal(m.manager.getServableStates('foo')[0]?.managerState, 'Loading');
  attempt.succeed(42);
  await m.saw('foo', 42, 'Available');
  const log = m.manager.getEventLog();
  assert.deepEqual(
    log.map(({ id, managerState, error }) => [id.name, id.version, managerState, error]),
    [
      ['foo', 42, 'Start', undefined],
      ['foo', 42, 'Loading', undefined],
      ['foo', 42, 'Available', undefined],
    ],
  );
  assert.deepEqual(log, m.events.events, 'the log is what subscribers heard');
  assert.ok(log.every(({ at }, i) => at >= before - 60_000 && at >= (log[i - 1]?.at ?? 0)));
  assert.deepEqual(m.manager.getServableStates('bar'), []);
});

// There a later event may go backwards. Here it cannot happen; the bound of the log is the same.
test('SSM-02 the log keeps the last events', async (t) => {
  const m = start(t, { maxLogEvents: 3 });
  await m.aspire('foo', counted(1, 2));
  await m.aspire('foo', []);
  const log = m.manager.getEventLog();
  assert.equal(log.length, 3);
  assert.deepEqual(log, m.events.events.slice(-3));
});

// There the log is off by default; here it keeps 1,000 unless told otherwise.
test('SSM-03 a log of size 0 is empty, and states are known all the same', async (t) => {
  const m = start(t, { maxLogEvents: 0 });
  await m.aspire('foo', counted(1));
  assert.deepEqual(m.manager.getEventLog(), []);
  assert.equal(m.manager.getServableStates('foo')[0]?.managerState, 'Available');
});

test('SSM-04 a version that has ended is no longer among the states, nor is its name', async (t) => {
  const m = start(t);
  await m.aspire('foo', counted(1, 2));
  await m.aspire('foo', counted(2));
  assert.deepEqual(
    m.manager.getServableStates('foo').map(({ id }) => id.version),
    [2],
  );
  await m.aspire('foo', []);
  assert.deepEqual(m.manager.getServableStates('foo'), []);
  await m.aspire('bar', counted(1)); // a round later
  assert.deepEqual(m.manager.listServableNames(), ['bar']);
});

test('SSM-06 versions come in descending order', async (t) => {
  const m = start(t);
  await m.aspire('foo', counted(42, 7, 9, 100));
  assert.deepEqual(
    m.manager.getServableStates('foo').map(({ id }) => id.version),
    [100, 42, 9, 7],
  );
});

test('SSM-08 no request: reached at once', async (t) => {
  const m = start(t);
  assert.deepEqual(await wait(m, [], 'Available'), []);
});

test('SSM-09 a version that becomes Available ends the wait', async (t) => {
  const m = start(t);
  const waiting = wait(m, [{ name: 'foo', version: 42 }], 'Available');
  await m.aspire('foo', counted(42));
  assert.deepEqual(await waiting, [{ name: 'foo', version: 42 }]);
  assert.deepEqual(
    await wait(m, [{ name: 'foo', version: 42 }], 'Available'),
    [{ name: 'foo', version: 42 }],
    'is there',
  );
});

test('SSM-11 a name waits for any of its versions', async (t) => {
  const m = start(t);
  const waiting = wait(m, ['foo'], 'Available');
  await m.aspire('foo', counted(42));
  assert.deepEqual(await waiting, [{ name: 'foo', version: 42 }]);
});

// There the caller gets (false, states); here the wait rejects.
test('SSM-12 a stream whose versions all ended instead rejects', async (t) => {
  const m = start(t);
  const waiting = assert.rejects(wait(m, ['foo'], 'Available'), coded('ERR_SERVABLE_ENDED', 'FAILED_PRECONDITION'));
  await m.aspire('foo', one(7, new FailingLoader(7)));
  await waiting;
});

test('SSM-13 several requests: not before the last one; one that ended fails the wait', async (t) => {
  const m = start(t);
  let over = false;
  const waiting = wait(m, [{ name: 'a', version: 1 }, { name: 'b', version: 1 }, 'c'], 'Available');
  const failing = assert.rejects(waiting, (error: Error) => {
    over = true;
    assert.match(error.message, /b\/1/);
    return coded('ERR_SERVABLE_ENDED')(error);
  });
  await m.aspire('a', counted(1));
  await turns();
  assert.equal(over, false);
  await m.aspire('b', one(1, new FailingLoader(1)));
  await turns();
  assert.equal(over, false, 'it settles with the last request');
  await m.aspire('c', counted(1));
  await failing;
});

test('SSM-14 a wait ends once; a version counts from the moment it came to the goal', async (t) => {
  const m = start(t);
  const waiting = wait(m, [{ name: 'foo', version: 1 }, 'bar'], 'Available');
  await m.aspire('foo', counted(1));
  await m.aspire('foo', []); // gone again, but it was there
  await m.aspire('bar', counted(3));
  assert.deepEqual(await waiting, [
    { name: 'foo', version: 1 },
    { name: 'bar', version: 3 },
  ]);
});

test('a goal that is passed through counts; End can be a goal', async (t) => {
  const m = start(t);
  const loader = new CountingLoader(1);
  const passing = wait(m, [{ name: 'foo', version: 1 }], 'Loading');
  const ending = wait(m, [{ name: 'foo', version: 1 }], 'End');
  await m.aspire('foo', one(1, loader));
  assert.deepEqual(await passing, [{ name: 'foo', version: 1 }]);
  await m.aspire('foo', []);
  assert.deepEqual(await ending, [{ name: 'foo', version: 1 }]);
});
