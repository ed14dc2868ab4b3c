// StaticSource: its lists, once, inside connect.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AspiredVersionsManager, type SourceItem, StaticSource } from 'aspired';
import { coded, loaderOf, loaderTarget, RecordingTarget, servableOf } from './support.js';

const versions = [
  { name: 'a', version: 1, path: '/a/1' },
  { name: 'b', version: 7 },
  { name: 'a', version: 2, path: '/a/2' },
];

test('one list per name arrives inside connect', async () => {
  const target = loaderTarget();
  const connection = new StaticSource(versions).connect(target, ({ name, version, path }) =>
    loaderOf(`${name} ${version} ${path}`),
  );
  assert.deepEqual(target.versionsOf('a'), [[1, 2]]);
  assert.deepEqual(target.versionsOf('b'), [[7]]);
  assert.equal(await servableOf(target.lists[0]?.items[1]), 'a 2 /a/2');
  assert.equal(await servableOf(target.lists[1]?.items[0]), 'b 7 undefined');
  connection.dispose();
  assert.equal(target.lists.length, 2, 'the end of a connection un-aspires nothing');
});

test('without a factory the paths arrive', () => {
  const target = new RecordingTarget<SourceItem<string | undefined>>();
  new StaticSource(versions).connect(target);
  assert.deepEqual(
    target.lists[0]?.items.map(({ payload }) => payload),
    ['/a/1', '/a/2'],
  );
});

test('a factory that throws is the error of its version', () => {
  const target = loaderTarget();
  new StaticSource(versions).connect(target, ({ version }) => {
    if (version === 2) throw new Error('no');
    return loaderOf('');
  });
  assert.deepEqual(
    target.lists[0]?.items.map(({ error }) => error === undefined),
    [true, false],
  );
});

test('one connection at a time, also after the target closed or threw', () => {
  const source = new StaticSource(versions);
  const target = loaderTarget();
  source.connect(target, () => loaderOf(''));
  assert.throws(() => source.connect(target, () => loaderOf('')), coded('ERR_SOURCE_CONNECTED'));
  target.close();
  const broken = loaderTarget();
  broken.onList = () => {
    throw new TypeError('broken target');
  };
  assert.throws(() => source.connect(broken, () => loaderOf('')), TypeError);
  using again = source.connect(loaderTarget(), () => loaderOf(''));
  assert.equal(again.closed, false);
});

test('a manager that is closed refuses the connection, and leaves the source free for another', async () => {
  const closed = new AspiredVersionsManager();
  await closed.close();
  const source = new StaticSource(versions);
  assert.throws(() => source.connect(closed, () => loaderOf('')), coded('ERR_MANAGER_CLOSED'));
  const target = loaderTarget();
  using again = source.connect(target, () => loaderOf(''));
  assert.deepEqual([again.closed, target.versionsOf('b')], [false, [[7]]]);
});
