// events(): bounded, counted, abortable, over when the manager is.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { deadline, turns } from '../../support/deadline.js';
import { counted } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

const start = (t: TestContext, options = {}) => new TestManager(t, options);

const lines = async (stream: AsyncIterable<{ id: { version: number }; managerState: string }>) => {
  const seen: string[] = [];
  for await (const { id, managerState } of stream) seen.push(`${id.version} ${managerState}`);
  return seen;
};

test('events carry id, state, time and incarnation, in order', async (t) => {
  const m = start(t);
  const before = Date.now();
  await m.aspire('m', counted(1));
  await m.aspire('m', []);
  await m.aspire('m', counted(1));
  const events = m.events.events;
  assert.deepEqual(
    events.map(({ id, managerState }) => `${id.name}/${id.version} ${managerState}`),
    ['Start', 'Loading', 'Available', 'Unloading', 'End', 'Start', 'Loading', 'Available'].map(
      (state) => `m/1 ${state}`,
    ),
  );
  const [first, second] = [events[0]?.incarnation ?? 0, events[5]?.incarnation ?? 0];
  assert.ok(second > first);
  assert.deepEqual(
    events.map((e) => e.incarnation),
    [first, first, first, first, first, second, second, second],
  );
  for (const { at } of events) assert.ok(at >= before - 1000 && at <= Date.now() + 1000, `${at}`);
  assert.ok(events.every((event) => !('error' in event)));
});

test('a subscriber hears what comes after it subscribed; several hear the same', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const [one, two] = [m.manager.events(), m.manager.events()];
  await m.aspire('m', counted(2));
  await deadline(m.manager.close(), 'close()');
  const [first, second] = [await deadline(lines(one), 'the end'), await deadline(lines(two), 'the end')];
  assert.deepEqual(first.slice(0, 5), ['2 Start', '2 Loading', '2 Available', '1 Unloading', '1 End']);
  assert.deepEqual(first.slice(5), ['2 Unloading', '2 End'], 'also those of the close');
  assert.deepEqual(second, first);
});

test('a slow subscriber loses the oldest events, and is told how many', async (t) => {
  const m = start(t);
  const stream = m.manager.events({ bufferSize: 2 });
  await m.aspire('m', counted(1));
  await m.aspire('m', []);
  assert.equal(stream.dropped, 3);
  await deadline(m.manager.close(), 'close()');
  assert.deepEqual(await deadline(lines(stream), 'the end'), ['1 Unloading', '1 End']);
  assert.equal(stream.dropped, 3);
});

test('a subscriber that waits loses nothing, with a buffer of one', async (t) => {
  const m = start(t);
  const stream = m.manager.events({ bufferSize: 1 });
  const waiting = [stream.next(), stream.next(), stream.next()];
  await m.aspire('m', counted(1));
  const states = (await Promise.all(waiting)).map(({ value }) => value?.managerState);
  assert.deepEqual([states, stream.dropped], [['Start', 'Loading', 'Available'], 0]);
});

test('abort ends it with the reason, for who waits and for who comes next', async (t) => {
  const m = start(t);
  const reason = new Error('enough');
  const [waiting, later] = [new AbortController(), new AbortController()];
  const stream = m.manager.events({ signal: waiting.signal });
  const next = stream.next();
  waiting.abort(reason);
  await assert.rejects(next, (error) => error === reason);
  assert.deepEqual(await stream.next(), { value: undefined, done: true });
  const other = m.manager.events({ signal: later.signal });
  later.abort(reason);
  await assert.rejects(other.next(), (error) => error === reason);
  assert.deepEqual(await other.next(), { value: undefined, done: true });
  await m.aspire('m', counted(1));
  assert.deepEqual(await other.next(), { value: undefined, done: true }, 'nothing comes any more');
});

test('a signal that was aborted before ends it at once', async (t) => {
  const m = start(t);
  const stream = m.manager.events({ signal: AbortSignal.abort(new Error('before')) });
  await assert.rejects(lines(stream), /before/);
});

test('leaving the loop ends the subscription, and the other ones go on', async (t) => {
  const m = start(t);
  const stream = m.manager.events();
  const first = (async () => {
    for await (const event of stream) return event.managerState;
    return undefined;
  })();
  await m.aspire('m', counted(1));
  assert.equal(await first, 'Start');
  assert.deepEqual(await stream.next(), { value: undefined, done: true });
  await m.aspire('m', counted(2));
  assert.deepEqual(m.events.statesOf('m', 2), ['Start', 'Loading', 'Available']);
});

test('await using ends the subscription', async (t) => {
  const m = start(t);
  const stream = m.manager.events();
  {
    await using subscription = stream;
    assert.equal(subscription.dropped, 0);
  }
  assert.deepEqual(await stream.next(), { value: undefined, done: true });
});

test('a subscriber that throws in its loop disturbs nobody', async (t) => {
  const m = start(t);
  const failing = (async () => {
    for await (const event of m.manager.events()) throw new Error(`at ${event.managerState}`);
  })();
  const failed = assert.rejects(failing, /at Start/);
  await m.aspire('m', counted(1));
  await failed;
  assert.equal(m.resolve('m'), 'm/1');
});

test('after all subscribers left a new one hears again', async (t) => {
  const m = start(t);
  await m.manager.events().return();
  const stream = m.manager.events();
  await m.aspire('m', counted(1));
  assert.equal((await stream.next()).value?.managerState, 'Start');
  await turns();
});

test('options are checked', async (t) => {
  const { manager } = start(t);
  const events = (options: unknown) => () => manager.events(options as never);
  for (const bufferSize of [0, -1, 1.5, Number.NaN, '8', null, Number.POSITIVE_INFINITY]) {
    assert.throws(events({ bufferSize }), coded('ERR_INVALID_ARGUMENT', 'INVALID_ARGUMENT'), String(bufferSize));
  }
  assert.throws(events({ signal: {} }), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(events({ bufersize: 8 }), /Did you mean bufferSize/);
  assert.throws(events(null), coded('ERR_INVALID_ARGUMENT'));
});
