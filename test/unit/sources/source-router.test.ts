// What the conformance cases of the routers leave open: kept lists, connections, chains.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DynamicSourceRouter, injectErrors, type SourceItem, SourceRouter, toLoaders } from 'aspired';
import { coded, loaderOf, loaderTarget, RecordingTarget, servableOf } from './support.js';

type Item = SourceItem<string>;
const item = (version: number): Item => ({ version, payload: 'path' });

test('a port that gets another target gives it the newest lists', () => {
  const router = new SourceRouter<Item>(1, () => 0);
  const connection = router.connect(0, new RecordingTarget<Item>());
  router.setAspiredVersions('kept', [item(1)]);
  router.setAspiredVersions('gone', [item(1)]);
  router.setAspiredVersions('gone', []);
  connection.dispose();
  router.setAspiredVersions('kept', [item(2)]);
  router.setAspiredVersions('emptied', []);
  const next = new RecordingTarget<Item>();
  router.connect(0, next);
  assert.deepEqual(next.versionsOf('kept'), [[2]]);
  assert.deepEqual(next.versionsOf('gone'), [], 'nothing is left to say of it');
  assert.deepEqual(next.versionsOf('emptied'), [[]]);
});

test('a kept list goes where its name is routed when the target comes', () => {
  const router = new DynamicSourceRouter<Item>(3, { m: 0 });
  router.setAspiredVersions('m', [item(1)]);
  router.updateRoutes({ m: 1 });
  const targets = [0, 1].map((port) => {
    const target = new RecordingTarget<Item>();
    router.connect(port, target);
    return target;
  });
  assert.deepEqual(
    targets.map(({ lists }) => lists.length),
    [0, 1],
  );
});

test('a port has one target at a time, until it is disposed or closes', () => {
  const router = new SourceRouter<Item>(1, () => 0);
  const target = new RecordingTarget<Item>();
  const connection = router.connect(0, target);
  assert.throws(() => router.connect(0, target), coded('ERR_SOURCE_CONNECTED'));
  target.close();
  assert.equal(connection.closed, true);
  router.connect(0, target).dispose();
  router.connect(0, target);
});

test('a target that throws when it is connected leaves the port free', () => {
  const router = new SourceRouter<Item>(1, () => 0);
  router.setAspiredVersions('m', [item(1)]);
  const broken = new RecordingTarget<Item>();
  broken.onList = () => {
    throw new TypeError('broken target');
  };
  assert.throws(() => router.connect(0, broken), TypeError);
  const good = new RecordingTarget<Item>();
  router.connect(0, good);
  assert.deepEqual(good.versionsOf('m'), [[1]]);
});

test('the answer of the target comes back', () => {
  const router = new SourceRouter<Item>(1, () => 0);
  const target = new RecordingTarget<Item>();
  target.onList = () => 'transition';
  router.connect(0, target);
  assert.equal(router.setAspiredVersions('m', [item(1)]), 'transition');
});

test('the routes are a copy, and may be a Map with any names', () => {
  const routes = new Map([['__proto__', 0]]);
  const router = new DynamicSourceRouter<Item>(2, routes);
  routes.set('other', 7);
  router.getRoutes().set('other', 7);
  assert.deepEqual([...router.getRoutes()], [['__proto__', 0]]);
});

test('names of two kinds go to loaders of their own, and unknown ones are errors that show', async () => {
  const manager = loaderTarget();
  const router = new DynamicSourceRouter<Item>(3, { digits: 0, words: 1 });
  router.connect(0, toLoaders<string, string>((path) => loaderOf(`digits ${path}`)).to(manager));
  router.connect(1, toLoaders<string, string>((path) => loaderOf(`words ${path}`)).to(manager));
  router.connect(2, injectErrors(new Error('no platform')).to(manager));
  for (const name of ['digits', 'words', 'unknown']) router.setAspiredVersions(name, [item(1)]);
  const [digits, words, unknown] = manager.lists.map(({ items }) => items[0]);
  assert.equal(await servableOf(digits), 'digits path');
  assert.equal(await servableOf(words), 'words path');
  assert.match(String(unknown?.error), /no platform/);
});
