// The content of a version directory that changes in place: what counts as a change, when it is offered, and to whom.
import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type AspiredVersion,
  type ContentDigest,
  FileSystemSource,
  type FileSystemSourceOptions,
  type Loader,
  mapItems,
  type ServablePollResult,
  type SourceItem,
  SourceRouter,
  toLoaders,
} from 'aspired';
import { Limiter } from '#lib/sources/limiter.js';
import { ReadinessLedger } from '#lib/sources/readiness.js';
import {
  addVersion,
  coded,
  loaderOf,
  loaderTarget,
  ManualClock,
  RecordingTarget,
  tempDir,
  withDeadline,
} from './support.js';

const window = 1000;
const rules = {
  completionMarker: undefined,
  stabilityWindowMs: window,
  contentCheckIntervalMs: 10_000,
  readTimeoutMs: 10_000,
};

const weights = (version: string) => join(version, 'weights');
const aDay = new Date('2024-05-06');
const anotherDay = new Date('2024-05-07');

/** A source of all versions below a folder; what is written now is older than the window when it looks. */
class Fixture {
  readonly basePath: string;
  readonly clock = new ManualClock(window + 500);
  readonly target = new RecordingTarget<SourceItem<string>>();
  readonly errors: string[] = [];
  source: FileSystemSource | undefined;

  constructor(
    readonly t: TestContext,
    ...versions: readonly number[]
  ) {
    this.basePath = tempDir(t);
    for (const version of versions) utimesSync(weights(addVersion(this.basePath, version)), aDay, aDay);
  }

  servable(contentDigest?: ContentDigest) {
    return { name: 'm', basePath: this.basePath, versionPolicy: { all: true }, contentDigest } as const;
  }

  /** Connects, and waits for the first list. */
  async connect(contentDigest: ContentDigest, options: Partial<FileSystemSourceOptions> = {}): Promise<void> {
    this.source = new FileSystemSource({
      servables: [this.servable()],
      contentDigest,
      pollIntervalMs: 0,
      clock: this.clock,
      onError: (error) => this.errors.push(error.message),
      ...options,
    });
    const connection = this.source.connect(this.target);
    this.t.after(() => connection.dispose());
    await this.target.received(1);
    await this.poll();
  }

  async poll(afterMs = 0): Promise<ServablePollResult> {
    this.clock.advance(afterMs);
    const [result] = (await this.source?.poll()) ?? [];
    assert.ok(result);
    return result;
  }

  /** Looks at a change, and again when it has been stable for the window. */
  async settle(): Promise<void> {
    await this.poll();
    await this.poll(window);
  }

  /** The digests of each list. */
  get digests(): (string | undefined)[][] {
    return this.target.lists.map(({ items }) => items.map((item) => (item as { digest?: string }).digest));
  }
}

/** Changes of a directory that holds the file `weights`, and whether its bytes are others then. */
const changes: readonly [string, (path: string) => void, boolean][] = [
  ['another file is renamed over it', (path) => replaceByRename(path, 'WEIGHTS'), true],
  ['it is written anew', (path) => writeFileSync(weights(path), 'other weights'), true],
  ['a file is added', (path) => writeFileSync(join(path, 'labels'), 'cat'), true],
  ['a folder is added', (path) => mkdirSync(join(path, 'a', 'b'), { recursive: true }), true],
  ['its file is taken away', (path) => rmSync(weights(path)), true],
  ['its file has another name', (path) => renameSync(weights(path), join(path, 'w')), true],
  ['its file is touched', (path) => utimesSync(weights(path), anotherDay, anotherDay), false],
  ['its file is replaced by an equal one', (path) => replaceByRename(path, 'weights'), false],
];

function replaceByRename(path: string, content: string): void {
  writeFileSync(join(path, '.new'), content);
  utimesSync(join(path, '.new'), aDay, aDay);
  renameSync(join(path, '.new'), weights(path));
}

for (const [what, change] of changes) {
  test(`stat: a version has another digest when ${what}; the others keep theirs`, async (t) => {
    const f = new Fixture(t, 1, 2);
    await f.connect('stat');
    change(join(f.basePath, '1'));
    await f.poll();
    assert.equal(f.digests.length, 1, 'not before it is stable');
    await f.poll(window);
    assert.equal(f.digests.length, 2);
    const [before, after] = f.digests;
    assert.notEqual(after?.[0], before?.[0]);
    assert.equal(after?.[1], before?.[1]);
    assert.match(before?.[0] ?? '', /^stat:./);
    await f.poll(window);
    assert.equal(f.digests.length, 2, 'and only once');
  });
}

for (const [what, change, changed] of changes) {
  test(`sha256: ${changed ? 'another' : 'the same'} digest when ${what}`, async (t) => {
    const f = new Fixture(t, 1, 2);
    await f.connect('sha256');
    // Directories are read one by one, from the highest number down: when the change of 1 is there, 2 was read.
    change(join(f.basePath, '2'));
    appendFileSync(weights(join(f.basePath, '1')), 'more');
    await f.settle();
    const [before] = f.digests;
    while (f.digests.at(-1)?.[0] === before?.[0]) await f.target.received(f.digests.length + 1);
    await f.poll();
    assert.equal(f.digests.at(-1)?.[1] === before?.[1], !changed);
    assert.match(before?.[0] ?? '', /^sha256:[0-9a-f]{64}$/);
  });
}

test('sha256: equal content has equal digests wherever it is, and a first offer has its digest', async (t) => {
  const f = new Fixture(t, 1, 2);
  await f.connect('sha256');
  assert.equal(f.digests[0]?.length, 2);
  assert.equal(f.digests[0]?.[0], f.digests[0]?.[1]);
});

test('sha256: bytes of the same number are another content, also with the time set back', async (t) => {
  const f = new Fixture(t, 1);
  const file = weights(join(f.basePath, '1'));
  await f.connect('sha256');
  writeFileSync(file, 'WEIGHTS');
  utimesSync(file, aDay, aDay);
  await f.settle();
  await f.target.received(2);
  assert.notEqual(f.digests[1]?.[0], f.digests[0]?.[0]);
});

for (const mode of ['stat', 'sha256'] as const) {
  test(`${mode}: a link that leads elsewhere is another content: the version, a file, a folder in it`, async (t) => {
    const f = new Fixture(t);
    const blobs = tempDir(t);
    for (const name of ['a', 'b']) addVersion(blobs, name, name);
    const point = (link: string, target: string) => {
      rmSync(link, { force: true });
      symlinkSync(join(blobs, target), link);
    };
    const version = join(f.basePath, '1');
    point(version, 'a');
    await f.connect(mode);
    const swaps = [
      () => point(version, 'b'),
      () => point(weights(version), 'a/weights'),
      () => point(join(version, 'folder'), 'a'),
      () => point(join(version, 'folder'), 'nowhere'),
    ];
    for (const [i, swap] of swaps.entries()) {
      swap();
      await f.settle();
      await f.target.received(i + 2);
      assert.notEqual(f.digests[i + 1]?.[0], f.digests[i]?.[0], `swap ${i}`);
    }
    assert.equal(f.digests[2]?.[0], f.digests[0]?.[0], 'what a link leads to counts, not the link');
  });
}

test('a rewrite in progress is not offered, and the content from before stays aspired', async (t) => {
  const f = new Fixture(t, 1);
  await f.connect('stat');
  const path = join(f.basePath, '1');
  unlinkSync(weights(path));
  for (let i = 0; i < 5; i++) {
    const { versions, pushed } = await f.poll(window - 1);
    assert.deepEqual([versions, pushed], [[{ version: 1, path }], false]);
    appendFileSync(weights(path), `part ${i}`);
  }
  await f.settle();
  assert.equal(f.digests.length, 2);
});

test('a rewrite that is taken back in time was none', async (t) => {
  const f = new Fixture(t, 1);
  await f.connect('stat');
  renameSync(weights(join(f.basePath, '1')), join(f.basePath, 'aside'));
  await f.poll();
  renameSync(join(f.basePath, 'aside'), weights(join(f.basePath, '1')));
  await f.settle();
  assert.equal(f.digests.length, 1);
  assert.equal(f.clock.timers, 0, 'and nothing is waited for');
});

test('sha256: what changes while it is read is not offered with what was read', async (t) => {
  const base = tempDir(t);
  const path = addVersion(base, 1);
  const gate = new Limiter(1);
  const ledger = new ReadinessLedger(rules, 'sha256', gate);
  const open = await gate.enter();
  const start = Date.now() + 2 * window;
  ledger.listed([path], start);
  const first = await ledger.check(path, start, true);
  assert.ok(!first.ready && first.reason === 'digest');
  writeFileSync(weights(path), 'written in the meantime');
  open();
  await first.digested;
  const second = await ledger.check(path, start + 1, true);
  assert.deepEqual(second, { ready: false, reason: 'unstable', recheckAt: start + 1 + window });
  const third = await ledger.check(path, start + 1 + window, true);
  assert.ok(!third.ready && third.reason === 'digest');
  await third.digested;
  assert.equal((await ledger.check(path, start + 2 + window, true)).ready, true);
});

test('sha256: content that cannot be read is an error, and is tried again after a pause', async (t) => {
  const base = join(tempDir(t), 'base');
  const path = addVersion(base, 1);
  const gate = new Limiter(1);
  const ledger = new ReadinessLedger(rules, 'sha256', gate);
  const open = await gate.enter();
  const start = Date.now() + 2 * window;
  ledger.listed([path], start);
  const first = await ledger.check(path, start, true);
  // Away while it is read, and back as it was.
  renameSync(base, `${base} aside`);
  open();
  await first.digested;
  renameSync(`${base} aside`, base);
  await assert.rejects(ledger.check(path, start, true), coded('ERR_SOURCE_ERROR'));
  await assert.rejects(ledger.check(path, start + rules.contentCheckIntervalMs - 1, true), coded('ERR_SOURCE_ERROR'));
  const again = await ledger.check(path, start + rules.contentCheckIntervalMs, true);
  await again.digested;
  assert.equal((await ledger.check(path, start + rules.contentCheckIntervalMs, true)).ready, true);
});

test('sha256: a reading that is ended gives no digest, and the next look begins anew', async (t) => {
  const path = addVersion(tempDir(t), 1);
  const gate = new Limiter(1);
  const ledger = new ReadinessLedger(rules, 'sha256', gate);
  const open = await gate.enter();
  const start = Date.now() + 2 * window;
  ledger.listed([path], start);
  const first = await ledger.check(path, start, true);
  ledger.abort();
  open();
  await first.digested;
  const second = await ledger.check(path, start, true);
  assert.ok(!second.ready && second.reason === 'digest');
  await second.digested;
  assert.equal((await ledger.check(path, start, true)).ready, true);
});

test('sha256: a first version whose digest is being computed is pending, and no fault', async (t) => {
  const f = new Fixture(t, 1);
  f.source = new FileSystemSource({ servables: [f.servable('sha256')], clock: f.clock });
  const { pending, error } = await f.poll();
  assert.deepEqual(pending, [{ version: 1, path: join(f.basePath, '1'), reason: 'digest' }]);
  assert.equal(error, undefined);
});

test('with a marker: one that is written anew vouches for the change at once', async (t) => {
  const f = new Fixture(t, 1);
  const path = join(f.basePath, '1');
  const marker = join(path, 'DONE');
  writeFileSync(marker, '');
  await f.connect('stat', { completionMarker: 'DONE' });
  rmSync(marker);
  writeFileSync(weights(path), 'the second content');
  await f.poll(2 * window);
  assert.equal(f.digests.length, 1, 'without its marker it is not complete, however long it lasts');
  writeFileSync(marker, 'again');
  await f.poll();
  assert.equal(f.digests.length, 2);
});

test('with a marker: a change without a new one has to be stable for the window', async (t) => {
  const f = new Fixture(t, 1);
  const path = join(f.basePath, '1');
  writeFileSync(join(path, 'DONE'), '');
  await f.connect('stat', { completionMarker: 'DONE' });
  writeFileSync(weights(path), 'the second content');
  await f.poll();
  assert.equal(f.digests.length, 1);
  f.clock.advance(window);
  await f.target.received(2);
  assert.notEqual(f.digests[1]?.[0], f.digests[0]?.[0]);
});

test('sha256: a file system that does not answer holds up the version it is asked for, and no other', async (t) => {
  const f = new Fixture(t, 1, 2);
  const { open } = fsPromises;
  let asked = 0;
  let answer = (): void => {};
  const hanging = async (...args: Parameters<typeof open>): ReturnType<typeof open> => {
    if (args[0] === weights(join(f.basePath, '2')) && ++asked === 1) {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
    }
    return open(...args);
  };
  const mock = t.mock.method(fsPromises, 'open', hanging);
  syncBuiltinESMExports();
  t.after(() => {
    mock.mock.restore();
    syncBuiltinESMExports();
  });
  // Directories are read from the highest number down.
  await f.connect('sha256', { scanTimeoutMs: 1000 });
  assert.deepEqual(
    f.target.lists.map(({ items }) => items.map(({ version }) => version)),
    [[1]],
  );
  assert.match(f.errors.join(), /content of \S+\/2: the file system did not answer for 1000 ms/);
  await f.poll(rules.contentCheckIntervalMs);
  await f.poll(rules.contentCheckIntervalMs);
  assert.equal(asked, 1, 'it is not given another thread');
  answer();
  const recovered = async () => {
    while (f.target.lists.length < 2) await f.poll(rules.contentCheckIntervalMs);
  };
  await withDeadline(recovered(), 'the version that could not be read');
  assert.deepEqual(
    f.target.lists[1]?.items.map(({ version }) => version),
    [1, 2],
  );
});

test('only the changed version gets a new loader, and the digests reach the target', async (t) => {
  const f = new Fixture(t, 1, 2);
  const source = new FileSystemSource({ servables: [f.servable()], pollIntervalMs: 0, clock: f.clock });
  const target = loaderTarget();
  const connection = source.connect(target, async ({ path }) => loaderOf(path));
  t.after(() => connection.dispose());
  await source.poll();
  writeFileSync(weights(join(f.basePath, '2')), 'other weights');
  await source.poll();
  f.clock.advance(window);
  await source.poll();
  const [before, after] = target.lists.map(({ items }) => items);
  assert.equal(after?.[0]?.loader, before?.[0]?.loader);
  assert.notEqual(after?.[1]?.loader, before?.[1]?.loader);
  assert.equal(after?.[0]?.digest, before?.[0]?.digest);
  assert.notEqual(after?.[1]?.digest, before?.[1]?.digest);
});

test('adapters, routers and the loader stage hand the digest on; another digest is another loader', () => {
  const target = loaderTarget();
  const router = new SourceRouter<AspiredVersion<string>>(1, () => 0);
  router.connect(0, target);
  const stage = mapItems((path: string) => `/models/${path}`)
    .pipe(toLoaders((path): Loader<string> => loaderOf(path)))
    .to(router);
  for (const digest of ['a', 'b', 'b']) {
    stage.setAspiredVersions('m', [
      { version: 1, payload: 'one', digest: 'x' },
      { version: 2, payload: 'two', digest },
    ]);
  }
  const lists = target.lists.map(({ items }) => items);
  assert.deepEqual(
    lists.map((items) => items.map(({ digest }) => digest)),
    [
      ['x', 'a'],
      ['x', 'b'],
      ['x', 'b'],
    ],
  );
  assert.equal(new Set(lists.map((items) => items[0]?.loader)).size, 1);
  assert.equal(new Set(lists.map((items) => items[1]?.loader)).size, 2);
});

test('a loader that is made at the second attempt has the digest as well', async (t) => {
  const f = new Fixture(t, 1);
  const source = new FileSystemSource({ servables: [f.servable()], clock: f.clock, watch: false, onError: () => {} });
  const target = loaderTarget();
  let broken = true;
  const connection = source.connect(target, () => {
    if (broken) throw new Error('not yet');
    return loaderOf('made');
  });
  t.after(() => connection.dispose());
  await source.poll();
  coded('ERR_SOURCE_ERROR')(target.lists[0]?.items[0]?.error);
  broken = false;
  f.clock.advance(1000);
  await target.received(2);
  assert.match(target.lists[1]?.items[0]?.digest ?? '', /^stat:/);
});

test('off: there are no digests, and a change gives the list again as before', async (t) => {
  const f = new Fixture(t, 1);
  await f.connect('off');
  writeFileSync(weights(join(f.basePath, '1')), 'other weights');
  await f.settle();
  assert.deepEqual(f.digests, [[undefined], [undefined]]);
});

test('a servable has its own mode, and keeps its digests when that changes, until its content does', async (t) => {
  const f = new Fixture(t, 1);
  await f.connect('off', { servables: [f.servable('stat')] });
  const [before] = f.digests[0] ?? [];
  await f.source?.updateConfig({ servables: [f.servable('sha256')] });
  await f.poll(window);
  assert.equal(f.digests.at(-1)?.[0], before, 'nothing has changed but our way to look');
  writeFileSync(weights(join(f.basePath, '1')), 'other weights');
  const count = f.digests.length;
  await f.settle();
  await f.target.received(count + 1);
  assert.match(f.digests.at(-1)?.[0] ?? '', /^sha256:/);
  await f.source?.updateConfig({ servables: [f.servable()] });
  assert.equal(f.digests.at(-1)?.[0], undefined, 'without one of its own it has that of the source');
});

test('a directory with too many entries has no digest, and says so once', async (t) => {
  const f = new Fixture(t, 1);
  for (let i = 0; i < 5000; i++) writeFileSync(join(f.basePath, '1', `part-${i}`), '');
  f.clock.advance(60_000);
  await f.connect('stat');
  const { problems } = await f.poll();
  assert.deepEqual(f.digests, [[undefined]]);
  assert.match(problems[0]?.error.message ?? '', /more than 5000 entries/);
  assert.equal(f.errors.length, 1);
});

test('bad modes are refused', () => {
  const servable = { name: 'm', basePath: '/m', contentDigest: 'md5' as never };
  const bad = { servables: [], contentDigest: true as never };
  assert.throws(() => new FileSystemSource({ servables: [servable] }), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => new FileSystemSource(bad), coded('ERR_INVALID_ARGUMENT'));
});
