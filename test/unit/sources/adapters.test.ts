// Adapters keep order, count and errors of items, item by item.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AspiredError, injectErrors, mapItems, prefixPaths, type SourceItem, toLoaders } from 'aspired';
import { LoaderStage } from '#lib/sources/loader-stage.js';
import { coded, loaderOf, loaderTarget, ManualClock, RecordingTarget, servableOf } from './support.js';

type Item = SourceItem<string>;
const item = (version: number, payload: string): Item => ({ version, payload });

test('a conversion that fails turns its own item into an errored one; order and count stay', () => {
  const target = new RecordingTarget<SourceItem<number>>();
  const own = new Error('from the source');
  const adapted = mapItems<string, number>((payload, id) => {
    assert.equal(id.name, 'm');
    if (payload === 'bad') throw new TypeError('not a number');
    if (payload === 'coded') throw new AspiredError('ERR_MODEL_INVALID', 'no model');
    return Number(payload);
  }).to(target);
  adapted.setAspiredVersions('m', [item(4, '40'), item(3, 'bad'), { version: 2, error: own }, item(1, 'coded')]);
  const [good, bad, errored, withCode] = target.lists[0]?.items ?? [];
  assert.deepEqual(good, { version: 4, payload: 40 });
  const failure = bad?.error;
  assert.ok(failure instanceof AspiredError);
  coded('ERR_SOURCE_ERROR', 'UNAVAILABLE')(failure);
  assert.ok(failure.cause instanceof TypeError);
  assert.deepEqual(failure.servable, { name: 'm', version: 3 });
  assert.equal(errored?.error, own);
  coded('ERR_MODEL_INVALID')(withCode?.error);
});

test('an adapter keeps the revision of an item', () => {
  const target = new RecordingTarget<Item>();
  prefixPaths('/baz')
    .to(target)
    .setAspiredVersions('m', [{ version: 1, payload: 'bar', revision: 'r' }]);
  assert.deepEqual(target.lists[0]?.items, [{ version: 1, payload: '/baz/bar', revision: 'r' }]);
});

for (const [prefix, path] of [
  ['', 'bar'],
  ['/baz', '/baz/bar'],
  ['/baz/', '/baz/bar'],
] as const) {
  test(`prefix ${JSON.stringify(prefix)} makes bar ${path}`, () => {
    const target = new RecordingTarget<Item>();
    prefixPaths(prefix)
      .to(target)
      .setAspiredVersions('m', [item(1, 'bar')]);
    assert.deepEqual(target.lists[0]?.items, [item(1, path)]);
  });
}

test('injected errors replace good items and leave the errors of others', () => {
  const target = loaderTarget();
  const [injected, own] = [new Error('injected'), new Error('own')];
  injectErrors(injected)
    .to(target)
    .setAspiredVersions('m', [item(1, 'x'), { version: 2, error: own }]);
  assert.deepEqual(
    target.lists[0]?.items.map(({ version, error }) => [version, error]),
    [
      [1, injected],
      [2, own],
    ],
  );
});

test('of overlapping asynchronous conversions only the newest list arrives', async () => {
  const target = new RecordingTarget<Item>();
  const gates: (() => void)[] = [];
  const adapted = mapItems<string, string>(
    (payload) => new Promise((resolve) => gates.push(() => resolve(payload))),
  ).to(target);
  const first = adapted.setAspiredVersions('m', [item(1, 'old')]);
  const second = adapted.setAspiredVersions('m', [item(2, 'new')]);
  gates[1]?.();
  await second;
  gates[0]?.();
  await first;
  assert.deepEqual(target.versionsOf('m'), [[2]]);
});

test('an empty list overtakes a conversion that is not done', async () => {
  const target = new RecordingTarget<Item>();
  let open = () => {};
  const adapted = mapItems<string, string>((payload) => new Promise((resolve) => (open = () => resolve(payload)))).to(
    target,
  );
  const first = adapted.setAspiredVersions('m', [item(1, 'x')]);
  adapted.setAspiredVersions('m', []);
  open();
  await first;
  assert.deepEqual(target.versionsOf('m'), [[]]);
});

test('loaders are made item by item, and what is no loader is the error of its version', async () => {
  const target = loaderTarget();
  const stage = toLoaders<string, string>((path, id) => {
    if (path === 'sync') return loaderOf(`${id.name}/${id.version}`);
    if (path === 'reject') return Promise.reject(new Error('refused'));
    return Promise.resolve({} as ReturnType<typeof loaderOf<string>>);
  }).to(target);
  await stage.setAspiredVersions('m', [item(3, 'sync'), item(2, 'reject'), item(1, 'no loader')]);
  const [good, rejected, invalid] = target.lists[0]?.items ?? [];
  assert.equal(await servableOf(good), 'm/3');
  coded('ERR_SOURCE_ERROR')(rejected?.error);
  coded('ERR_INVALID_LOADER', 'INVALID_ARGUMENT')(invalid?.error);
});

test('an unchanged item keeps its loader; a new revision, or a list without it, ends that', () => {
  const target = loaderTarget();
  const stage = toLoaders<string, string>((path) => loaderOf(path)).to(target);
  const one = (revision: string): Item => ({ version: 1, payload: 'p', revision });
  const lists: Item[][] = [[one('a')], [one('a'), item(2, 'q')], [one('b')], [item(2, 'q')], [one('b')]];
  for (const list of lists) stage.setAspiredVersions('m', list);
  const ones = target.lists.map(({ items }) => items.find(({ version }) => version === 1)?.loader);
  assert.equal(ones[0], ones[1]);
  assert.notEqual(ones[1], ones[2], 'the content is another one');
  assert.notEqual(ones[2], ones[4], 'the loader may have been unloaded meanwhile');
});

test('a loader that could not be made is tried again after growing pauses, and pushed only when it is there', () => {
  const target = loaderTarget();
  const clock = new ManualClock();
  let calls = 0;
  let broken = true;
  const stage = new LoaderStage<string, string>(
    target,
    (path) => {
      if (path !== 'flaky') return loaderOf(path);
      calls++;
      if (broken) throw new Error('not now');
      return loaderOf(path);
    },
    clock,
  );
  stage.setAspiredVersions('m', [item(2, 'flaky'), item(1, 'fine')]);
  const retryAfter = (ms: number) => {
    clock.advance(ms);
    stage.retryFailed('m');
  };
  retryAfter(999);
  assert.equal(calls, 1);
  retryAfter(1);
  assert.equal(calls, 2);
  retryAfter(1999);
  assert.equal(calls, 2, 'the pause has grown');
  for (let i = 0; i < 10; i++) retryAfter(60_000);
  assert.equal(calls, 12, 'and never beyond a minute');
  assert.equal(target.lists.length, 1, 'the same outcome is not pushed again');
  broken = false;
  retryAfter(60_000);
  assert.deepEqual(
    target.lists[1]?.items.map(({ error }) => error),
    [undefined, undefined],
  );
  assert.equal(target.lists[1]?.items[1]?.loader, target.lists[0]?.items[1]?.loader);
  retryAfter(60_000);
  assert.equal(target.lists.length, 2);
});

test('an asynchronous retry that comes out well is pushed once, also when a list came meanwhile', async () => {
  const target = loaderTarget();
  const clock = new ManualClock();
  let answer: Promise<ReturnType<typeof loaderOf<string>>> = Promise.reject(new Error('not now'));
  const stage = new LoaderStage<string, string>(target, () => answer, clock);
  await stage.setAspiredVersions('m', [item(1, 'p')]);
  clock.advance(1000);
  answer = Promise.resolve(loaderOf('p'));
  const retry = stage.retryFailed('m');
  const list = stage.setAspiredVersions('m', [item(2, 'q'), item(1, 'p')]);
  await Promise.all([retry, list]);
  assert.deepEqual(target.versionsOf('m'), [[1], [2, 1]]);
});

test('adapters pass the end of the target on to the source', () => {
  const target = loaderTarget();
  const chain = prefixPaths('/x').pipe(toLoaders<string, string>(loaderOf)).to(target);
  let closed = 0;
  const onClose = Symbol.for('aspired.onClose');
  const unregister = (chain as unknown as Record<symbol, (f: () => void) => () => void>)[onClose]?.(() => closed++);
  target.close();
  assert.equal(closed, 1);
  unregister?.();
  assert.equal(target.closeCallbacks, 0);
});

test('what is no adapter, function or target is refused', () => {
  const bad = 'nothing' as never;
  assert.throws(() => mapItems(bad), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => toLoaders(bad), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => prefixPaths(7 as never), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => injectErrors(undefined), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => prefixPaths('').to(bad), coded('ERR_INVALID_ARGUMENT'));
});
