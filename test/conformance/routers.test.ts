// TensorFlow Serving's cases for its routers, by the ids of the behaviour specification.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DynamicSourceRouter, noRoute, type SourceItem, SourceRouter, StaticSourceRouter } from 'aspired';
import { coded, RecordingTarget } from '../unit/sources/support.js';

type Item = SourceItem<string>;
const list: readonly Item[] = [{ version: 1, payload: 'path' }];

function connectAll(router: SourceRouter<Item>): RecordingTarget<Item>[] {
  return Array.from({ length: router.numPorts }, (_, port) => {
    const target = new RecordingTarget<Item>();
    router.connect(port, target);
    return target;
  });
}

/** The names that each target got, in order. */
const names = (targets: readonly RecordingTarget<Item>[]) => targets.map(({ lists }) => lists.map(({ name }) => name));

// There a call blocks until the port has a target. Here nothing blocks: the newest list waits for the target.
test('SR-03 lists that come before any port has a target arrive when it has one', () => {
  const router = new SourceRouter<Item>(2, (name) => (name === 'zero' ? 0 : 1));
  router.setAspiredVersions('zero', list);
  router.setAspiredVersions('one', [{ version: 7, payload: 'superseded' }]);
  router.setAspiredVersions('one', list);
  const targets = connectAll(router);
  assert.deepEqual(names(targets), [['zero'], ['one']]);
  assert.deepEqual(targets[1]?.lists[0]?.items, list, 'the newest list, and only it');
});

test('SR-04 a port without a target holds back only its own names', () => {
  const router = new SourceRouter<Item>(2, (name) => (name === 'zero' ? 0 : 1));
  const zero = new RecordingTarget<Item>();
  const one = new RecordingTarget<Item>();
  router.connect(0, zero);
  router.setAspiredVersions('one', list);
  router.setAspiredVersions('zero', list);
  assert.deepEqual(names([zero, one]), [['zero'], []]);
  router.connect(1, one);
  assert.deepEqual(names([zero, one]), [['zero'], ['one']]);
});

test('SR-05 no route drops the list', () => {
  const router = new SourceRouter<Item>(2, () => noRoute);
  const targets = connectAll(router);
  router.setAspiredVersions('any', list);
  assert.deepEqual(names(targets), [[], []]);
});

test('SSR-01 the first pattern in a name decides, the last port takes the rest', () => {
  const router = new StaticSourceRouter<Item>(['0th', '1st']);
  assert.equal(router.numPorts, 3);
  const targets = connectAll(router);
  for (const name of ['0th_foo', '0th_foo_1st', 'foo_1st', 'no_match']) router.setAspiredVersions(name, list);
  assert.deepEqual(names(targets), [['0th_foo', '0th_foo_1st'], ['foo_1st'], ['no_match']]);
});

for (const port of [-1, 2, 1]) {
  test(`DSR-01 a table with port ${port} of 2 is refused`, () => {
    assert.throws(
      () => new DynamicSourceRouter<Item>(2, { foo: port }),
      coded('ERR_INVALID_ARGUMENT', 'INVALID_ARGUMENT'),
    );
  });

  test(`DSR-02 an update with port ${port} of 2 is refused and leaves the table`, () => {
    const router = new DynamicSourceRouter<Item>(2, { foo: 0 });
    assert.throws(() => router.updateRoutes({ bar: port }), coded('ERR_INVALID_ARGUMENT', 'INVALID_ARGUMENT'));
    assert.deepEqual([...router.getRoutes()], [['foo', 0]]);
  });
}

test('DSR-03 names go by the table, others to the last port', () => {
  const routes = { foo: 0, bar: 1 };
  const router = new DynamicSourceRouter<Item>(4, routes);
  assert.deepEqual(Object.fromEntries(router.getRoutes()), routes);
  const targets = connectAll(router);
  for (const name of ['foo', 'bar', 'other']) router.setAspiredVersions(name, list);
  assert.deepEqual(names(targets), [['foo'], ['bar'], [], ['other']]);
});

test('DSR-04 a new table sends nothing by itself, and holds from the next list on', () => {
  const router = new DynamicSourceRouter<Item>(2, { foo: 0 });
  const targets = connectAll(router);
  router.setAspiredVersions('foo', list);
  router.setAspiredVersions('bar', list);
  router.updateRoutes({ bar: 0 });
  assert.deepEqual(names(targets), [['foo'], ['bar']]);
  router.setAspiredVersions('foo', list);
  router.setAspiredVersions('bar', list);
  assert.deepEqual(names(targets), [
    ['foo', 'bar'],
    ['bar', 'foo'],
  ]);
});
