// Versions whose content changes in place: refused, or loaded anew, by lists with digests and by files.
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type AspiredVersion, FileSystemSource, type Loader } from 'aspired';
import { eventually, turns } from '../../support/deadline.js';
import { CountingLoader, FailingLoader, ManualLoader } from '../../support/loaders.js';
import { coded, TestManager, type TestManagerOptions } from '../../support/manager.js';
import { addVersion, tempDir } from '../sources/support.js';

const start = (t: TestContext, options: TestManagerOptions = {}) =>
  new TestManager(t, { maxNumLoadRetries: 0, ...options });

const list = (digest: string, loader: Loader = new CountingLoader(1), version = 1): AspiredVersion[] => [
  { version, loader, digest },
];

const codes = (m: TestManager): string[] => m.errors.map(({ code }) => code);
const errorOf = (m: TestManager) => m.manager.getServableStates('m')[0]?.error;

test("'refuse', the default: what was loaded stays, the change is told once, and shown as long as it stands", async (t) => {
  const m = start(t);
  const first = new CountingLoader(1);
  await m.aspire('m', list('a', first));
  const second = new CountingLoader(1);
  for (let i = 0; i < 3; i++) {
    const { versions } = await m.aspire('m', list('b', second));
    assert.deepEqual(versions, [{ version: 1, managerState: 'Available' }]);
  }
  assert.deepEqual([first.loads, first.unloads, second.loads], [1, 0, 0]);
  assert.deepEqual(codes(m), ['ERR_CONTENT_CHANGED']);
  assert.deepEqual({ ...m.errors[0]?.servable }, { name: 'm', version: 1 });
  assert.equal(errorOf(m), m.errors[0]);
  assert.equal(m.manager.getServableStates('m')[0]?.state, 'Ready');
  // Another change is another one; and as it was is as it was.
  await m.aspire('m', list('c'));
  assert.deepEqual(codes(m), ['ERR_CONTENT_CHANGED', 'ERR_CONTENT_CHANGED']);
  await m.aspire('m', list('a'));
  assert.equal(errorOf(m), undefined);
  assert.deepEqual(m.events.statesOf('m', 1), ['Start', 'Loading', 'Available']);
});

test("'reload': a new incarnation, by the new loader", async (t) => {
  const m = start(t, { onContentChange: 'reload' });
  const [first, second, unused] = [new CountingLoader(1), new CountingLoader(1), new CountingLoader(1)];
  await m.aspire('m', list('a', first));
  const { versions } = await m.aspire('m', list('b', second));
  assert.deepEqual(versions, [{ version: 1, managerState: 'Available' }]);
  await m.aspire('m', list('b', unused));
  assert.deepEqual([first.loads, first.unloads, second.loads, second.unloads, unused.loads], [1, 1, 1, 0, 0]);
  assert.deepEqual(m.events.statesOf('m', 1), [
    ...['Start', 'Loading', 'Available', 'Unloading', 'End'],
    ...['Start', 'Loading', 'Available'],
  ]);
  assert.deepEqual(codes(m), []);
});

test("'reload' drains: readers finish with what they have", async (t) => {
  const m = start(t, { onContentChange: 'reload' });
  const [first, second] = [new CountingLoader('old'), new CountingLoader('new')];
  await m.aspire('m', list('a', first));
  const handle = m.manager.getServableHandle<string>('m');
  const transition = m.manager.setAspiredVersions('m', list('b', second));
  await m.saw('m', 1, 'Unloading');
  await turns();
  assert.deepEqual([handle.servable, first.unloads, second.loads], ['old', 0, 0]);
  handle.release();
  await m.settled(transition);
  assert.equal(
    m.manager.withServableSync('m', (servable) => servable),
    'new',
  );
});

test("'reload' with another version beside it: that one serves meanwhile", async (t) => {
  const m = start(t, { onContentChange: 'reload' });
  const both = (digest: string, loader: Loader): AspiredVersion[] => [
    ...list('same', new CountingLoader(1)),
    ...list(digest, loader, 2),
  ];
  await m.aspire('m', both('a', new CountingLoader(2)));
  const young = new ManualLoader();
  const transition = m.manager.setAspiredVersions('m', both('b', young));
  const attempt = await young.loading();
  assert.equal(m.resolve('m'), 'm/1');
  attempt.succeed(2);
  await m.settled(transition);
  assert.equal(m.resolve('m'), 'm/2');
});

test("'reload' while it loads: the load under way is dropped, the new content is loaded", async (t) => {
  const m = start(t, { onContentChange: 'reload' });
  const first = new ManualLoader();
  m.manager.setAspiredVersions('m', list('a', first));
  await first.loading();
  const second = new CountingLoader(2);
  const { versions } = await m.aspire('m', list('b', second));
  assert.deepEqual(versions, [{ version: 1, managerState: 'Available' }]);
  assert.equal(second.loads, 1);
  assert.equal(
    m.manager.withServableSync('m', (servable) => servable),
    2,
  );
});

test("'reload' three times in a row: the last content is what is loaded", async (t) => {
  const m = start(t, { onContentChange: 'reload' });
  const loaders = ['a', 'b', 'c', 'd'].map((name) => new CountingLoader(name));
  await m.aspire('m', list('a', loaders[0]));
  const handle = m.manager.getServableHandle('m');
  for (const loader of loaders.slice(1, -1)) m.manager.setAspiredVersions('m', list(loader.value, loader));
  const last = m.manager.setAspiredVersions('m', list('d', loaders[3]));
  handle.release();
  await m.settled(last);
  assert.deepEqual(
    loaders.map(({ loads, unloads }) => loads - unloads),
    [0, 0, 0, 1],
  );
  assert.equal(
    m.manager.withServableSync('m', (servable) => servable),
    'd',
  );
});

for (const onContentChange of ['refuse', 'reload'] as const) {
  test(`'${onContentChange}': a version that failed is tried again at once when its content changes`, async (t) => {
    const m = start(t, { onContentChange, enableReloadServablesWithError: false });
    const failing = new FailingLoader(1);
    await m.aspire('m', list('a', failing));
    const same = new CountingLoader(1);
    await m.aspire('m', list('a', same));
    assert.equal(same.loads, 0);
    const mended = new CountingLoader(1);
    const { versions } = await m.aspire('m', list('b', mended));
    assert.equal(versions[0]?.managerState, 'Available');
    assert.equal(mended.loads, 1);
    assert.deepEqual(codes(m), []);
  });

  test(`'${onContentChange}': a version that was unloaded starts with whatever content it has then`, async (t) => {
    const m = start(t, { onContentChange });
    await m.aspire('m', list('a'));
    await m.aspire('m', []);
    const again = new CountingLoader(1);
    await m.aspire('m', list('b', again));
    assert.equal(again.loads, 1);
    assert.deepEqual(codes(m), []);
  });

  test(`'${onContentChange}': a standby with another content does not come back for it`, async (t) => {
    const m = start(t, { onContentChange, standby: { versions: 1 } });
    const standby = new CountingLoader('old');
    await m.aspire('m', list('a', standby));
    await m.aspire('m', list('x', new CountingLoader('other'), 2));
    const young = new CountingLoader('new');
    const { versions } = await m.aspire('m', list('b', young));
    assert.equal(versions[0]?.managerState, 'Available');
    assert.deepEqual([standby.unloads, young.loads], [1, 1]);
    assert.equal(
      m.manager.withServableSync('m', (servable) => servable),
      'new',
    );
  });
}

test('the choice can be changed: what was refused is loaded with the next list', async (t) => {
  const m = start(t);
  await m.aspire('m', list('a'));
  const changed = new CountingLoader(2);
  await m.aspire('m', list('b', changed));
  assert.equal(changed.loads, 0);
  await m.aspire('m', list('b', changed), { onContentChange: 'reload' });
  assert.equal(changed.loads, 1);
  assert.equal(errorOf(m), undefined);
});

/** A source over real files that loads what `weights` says. */
async function files(t: TestContext, m: TestManager) {
  const base = join(tempDir(t), 'm');
  const path = addVersion(base, 1, 'old');
  const source = new FileSystemSource({
    servables: [{ name: 'm', basePath: base }],
    stabilityWindowMs: 0,
    pollIntervalMs: 0,
    watch: false,
    contentDigest: 'sha256',
  });
  const { readFileSync } = await import('node:fs');
  const connection = source.connect(m.manager, (version) => ({
    load: () => readFileSync(join(version.path, 'weights'), 'utf8'),
  }));
  t.after(() => connection.dispose());
  await source.poll();
  await m.saw('m', 1, 'Available');
  const read = (): string => m.manager.withServableSync<string, string>('m', (servable) => servable);
  return { path, source, read };
}

test("files end to end, 'refuse': what was loaded stays and the manager tells; a new version is taken", async (t) => {
  const m = start(t);
  const { path, source, read } = await files(t, m);
  writeFileSync(join(path, 'weights'), 'new');
  for (let i = 0; i < 3; i++) await source.poll();
  assert.deepEqual([codes(m), read()], [['ERR_CONTENT_CHANGED'], 'old']);
  coded('ERR_CONTENT_CHANGED', 'FAILED_PRECONDITION')(errorOf(m));
  addVersion(join(path, '..'), 2, 'new');
  await source.poll();
  await m.saw('m', 1, 'End');
  assert.equal(read(), 'new');
});

test("files end to end, 'reload': what changed in place is loaded anew; a touch is no change", async (t) => {
  const m = start(t, { onContentChange: 'reload' });
  const { path, source, read } = await files(t, m);
  writeFileSync(join(path, 'weights'), 'old');
  await source.poll();
  assert.equal(m.manager.getServableStates('m')[0]?.incarnation, 1);
  writeFileSync(join(path, 'weights'), 'new');
  await source.poll();
  await m.until(
    eventually(() => m.resolve('m') === 'm/1' && read() === 'new', 'the new content'),
    'the new content',
  );
  // A directory that is replaced as a whole, as well.
  rmSync(path, { recursive: true });
  addVersion(join(path, '..'), 1, 'newest');
  await source.poll();
  await m.until(
    eventually(() => m.resolve('m') === 'm/1' && read() === 'newest', 'the newest content'),
    'the newest content',
  );
  assert.deepEqual(codes(m), []);
});
