// Version labels and the primary: intent that binds when its version is Available.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { CountingLoader, counted, FailingLoader, ManualLoader, one } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

const start = (t: TestContext) => new TestManager(t, { maxNumLoadRetries: 0 });
const canary = { name: 'm', label: 'canary' };

test('a label resolves to its version', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2), { labels: { stable: 1, canary: 2 } });
  assert.deepEqual([m.resolve({ name: 'm', label: 'stable' }), m.resolve(canary)], ['m/1', 'm/2']);
  m.manager.setVersionLabels('m', { stable: 2 });
  assert.equal(m.resolve({ name: 'm', label: 'stable' }), 'm/2', 'moved without a load');
  assert.equal(m.resolve(canary), 'ERR_LABEL_NOT_AVAILABLE', 'a label that is not given any more is gone');
});

test('a label without a target, and one of an unknown servable, are not available', async (t) => {
  const m = start(t);
  assert.throws(() => m.manager.getServableHandle(canary), coded('ERR_LABEL_NOT_AVAILABLE', 'NOT_FOUND'));
  await m.aspire('m', counted(1), { labels: { canary: 7 } });
  assert.throws(() => m.manager.getServableHandle(canary), coded('ERR_LABEL_NOT_AVAILABLE', 'NOT_FOUND'));
  assert.equal(m.resolve('m'), 'm/1');
});

test('a label may be given before its version is aspired, and binds when that becomes Available', async (t) => {
  const m = start(t);
  m.manager.setVersionLabels('m', { canary: 2 });
  const loader = new ManualLoader();
  const transition = m.manager.setAspiredVersions('m', one(2, loader));
  const attempt = await loader.loading();
  assert.equal(m.resolve(canary), 'ERR_LABEL_NOT_AVAILABLE');
  attempt.succeed(2);
  await m.settled(transition);
  assert.equal(m.resolve(canary), 'm/2');
});

test('a label keeps its old target until the new one is Available', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1), { labels: { canary: 1 } });
  const loader = new ManualLoader();
  const list = [...counted(1), ...one(2, loader)];
  const transition = m.manager.setAspiredVersions('m', list, { labels: { canary: 2 } });
  const attempt = await loader.loading();
  assert.equal(m.resolve(canary), 'm/1');
  attempt.succeed(2);
  await m.settled(transition);
  assert.equal(m.resolve(canary), 'm/2');
});

test('a label whose new target fails keeps the old one', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1), { labels: { canary: 1 } });
  await m.aspire('m', [...counted(1), ...one(2, new FailingLoader(2))], { labels: { canary: 2 } });
  assert.equal(m.resolve(canary), 'm/1');
});

test('a label whose target is unloaded is not available, and binds again when the version comes back', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2), { labels: { canary: 2 } });
  await m.aspire('m', counted(1));
  assert.equal(m.resolve(canary), 'ERR_LABEL_NOT_AVAILABLE', 'it never falls back');
  await m.aspire('m', counted(1, 2));
  assert.equal(m.resolve(canary), 'm/2');
});

test('labels and primary that were not given stay as they were', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2), { labels: { canary: 2 }, primary: 1 });
  await m.aspire('m', counted(1, 2, 3));
  assert.deepEqual([m.resolve('m'), m.resolve(canary)], ['m/1', 'm/2']);
  m.manager.setVersionLabels('m', { canary: 3 });
  assert.deepEqual([m.resolve('m'), m.resolve(canary)], ['m/1', 'm/3']);
  assert.deepEqual(m.manager.getVersionLabels('m'), { labels: { canary: 3 }, primary: 1 });
  assert.deepEqual(m.manager.getVersionLabels('unknown'), { labels: {}, primary: null });
});

test('a plain name is the primary; latest and earliest do not look at it', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2, 3), { primary: 2 });
  const versions = ['m', { name: 'm' }, { name: 'm', version: 'latest' }, { name: 'm', version: 'earliest' }] as const;
  assert.deepEqual(
    versions.map((request) => m.resolve(request)),
    ['m/2', 'm/2', 'm/3', 'm/1'],
  );
  m.manager.setVersionLabels('m', {}, { primary: null });
  assert.equal(m.resolve('m'), 'm/3');
});

test('a primary that is not Ready falls back to Latest, and takes over when it is', async (t) => {
  const m = start(t);
  const loader = new ManualLoader();
  await m.aspire('m', counted(1, 3));
  const transition = m.manager.setAspiredVersions('m', [...counted(1, 3), ...one(2, loader)], { primary: 2 });
  const attempt = await loader.loading();
  assert.equal(m.resolve('m'), 'm/3');
  attempt.succeed(2);
  await m.settled(transition);
  assert.equal(m.resolve('m'), 'm/2');
  await m.aspire('m', counted(1, 3));
  assert.equal(m.resolve('m'), 'm/3', 'dropped: the rule again');
});

test('without a primary an aspired version goes before an un-aspired one that is still there', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 5));
  using held = m.manager.getServableHandle({ name: 'm', version: 5 });
  const loader = new ManualLoader();
  // 5 is un-aspired and stays for as long as nothing replaces it.
  const transition = m.manager.setAspiredVersions('m', one(2, loader));
  const attempt = await loader.loading();
  assert.equal(m.resolve('m'), 'm/5', 'no aspired version is Ready: what there is');
  attempt.succeed(2);
  await m.saw('m', 2, 'Available');
  assert.equal(m.resolve('m'), 'm/2', 'lower, but aspired');
  held.release();
  await m.settled(transition);
});

test('a list, its labels and its primary change at one moment', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(42, 43), { labels: { stable: 42, canary: 43 }, primary: 42 });
  const transition = m.manager.setAspiredVersions('m', counted(43), { labels: { stable: 43 }, primary: 43 });
  // Before anything else runs: all of it.
  assert.deepEqual([m.resolve('m'), m.resolve({ name: 'm', label: 'stable' })], ['m/43', 'm/43']);
  assert.equal(m.resolve(canary), 'ERR_LABEL_NOT_AVAILABLE');
  await m.settled(transition);
  assert.deepEqual(m.available(), ['m/43']);
});

test('a refused list changes neither labels nor primary', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2), { labels: { canary: 1 }, primary: 1 });
  const bad = () => m.manager.setAspiredVersions('m', counted(2, 2), { labels: { canary: 2 }, primary: 2 });
  assert.throws(bad, coded('ERR_DUPLICATE_VERSION'));
  assert.deepEqual([m.resolve('m'), m.resolve(canary)], ['m/1', 'm/1']);
  assert.deepEqual(m.manager.getVersionLabels('m'), { labels: { canary: 1 }, primary: 1 });
});

test('expand, flip, flip back, contract: each version is loaded once, and the flips load nothing', async (t) => {
  const m = start(t);
  const [old, young] = [new CountingLoader(42), new CountingLoader(43)];
  await m.aspire('m', one(42, old), { primary: 42 });
  await m.aspire('m', [...one(42, old), ...one(43, young)], { primary: 42 });
  assert.equal(m.resolve('m'), 'm/42', 'expanded');
  for (const primary of [43, 42, 43]) {
    m.manager.setVersionLabels('m', {}, { primary });
    assert.equal(m.resolve('m'), `m/${primary}`, 'flipped, at once');
  }
  await m.aspire('m', one(43, young), { primary: 43 });
  assert.deepEqual(m.available(), ['m/43']);
  assert.deepEqual([old.loads, old.unloads, young.loads, young.unloads], [1, 1, 1, 0]);
});

test('labels and primary are checked, and a bad one changes nothing', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1), { labels: { canary: 1 } });
  const set = (labels: unknown, options?: object) => () => m.manager.setVersionLabels('m', labels as never, options);
  for (const version of [-1, 1.5, Number.NaN, 2 ** 53, '1', null]) {
    assert.throws(set({ canary: version }), coded('ERR_INVALID_VERSION', 'INVALID_ARGUMENT'));
    if (version !== null) assert.throws(set({}, { primary: version }), coded('ERR_INVALID_VERSION'));
  }
  for (const labels of [null, [], 'canary', { '': 1 }]) assert.throws(set(labels), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(set({}, { primry: 1 }), coded('ERR_UNKNOWN_OPTION'));
  assert.throws(() => m.manager.setVersionLabels('', {}), coded('ERR_INVALID_NAME'));
  assert.equal(m.resolve(canary), 'm/1');
  for (const request of [
    { name: 'm', label: 'canary', version: 1 },
    { name: 'm', lable: 'canary' },
  ]) {
    assert.ok(
      ['ERR_INVALID_ARGUMENT', 'ERR_UNKNOWN_OPTION'].includes(m.resolve(request as never)),
      JSON.stringify(request),
    );
  }
});

test('a label whose version is not available for now has its last target, as long as that is there', async (t) => {
  const m = new TestManager(t, { maxNumLoadRetries: 0, onContentChange: 'reload' });
  const first = new CountingLoader(1);
  const list = (digest: string, second: CountingLoader | ManualLoader) => [
    { version: 1, loader: first },
    { version: 2, loader: second, digest },
  ];
  await m.aspire('m', list('a', new CountingLoader(2)), { labels: { canary: 1 } });
  m.manager.setVersionLabels('m', { canary: 2 });
  assert.equal(m.resolve(canary), 'm/2');
  const again = new ManualLoader();
  const transition = m.manager.setAspiredVersions('m', list('b', again));
  const attempt = await again.loading();
  assert.equal(m.resolve(canary), 'm/1', 'version 2 is being loaded anew');
  attempt.succeed(2);
  await m.settled(transition);
  assert.equal(m.resolve(canary), 'm/2');
  await m.aspire('m', one(1, first));
  assert.equal(m.resolve(canary), 'ERR_LABEL_NOT_AVAILABLE', 'version 2 is not aspired to any more');
});
