// A directory that is still being written is not offered: the stability window and the completion marker.
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FileSystemSource, type FileSystemSourceOptions, type ServablePollResult, type SourceItem } from 'aspired';
import { addVersion, ManualClock, RecordingTarget, tempDir } from './support.js';

const window = 1000;

class Fixture {
  readonly basePath: string;
  readonly clock: ManualClock;
  readonly target = new RecordingTarget<SourceItem<string>>();
  #source: FileSystemSource | undefined;

  /** `aheadMs`: how old what is written now is when the source looks. */
  constructor(
    readonly t: TestContext,
    aheadMs = 0,
  ) {
    this.basePath = tempDir(t);
    this.clock = new ManualClock(aheadMs);
  }

  async connect(options: Partial<FileSystemSourceOptions> = {}): Promise<ServablePollResult> {
    const servables = [{ name: 'm', basePath: this.basePath }];
    const source = new FileSystemSource({
      servables,
      pollIntervalMs: 0,
      clock: this.clock,
      onError: () => {},
      ...options,
    });
    const connection = source.connect(this.target);
    this.t.after(() => connection.dispose());
    this.#source = source;
    return this.poll();
  }

  async poll(afterMs = 0): Promise<ServablePollResult> {
    this.clock.advance(afterMs);
    const [result] = (await this.#source?.poll()) ?? [];
    assert.ok(result);
    return result;
  }

  get versions(): number[][] {
    return this.target.versionsOf('m');
  }
}

test('what is older than the window is offered at the first look', async (t) => {
  const f = new Fixture(t, window + 500);
  addVersion(f.basePath, 1);
  await f.connect();
  assert.deepEqual(f.versions, [[1]]);
});

test('a fresh directory is offered after two equal looks that are the window apart', async (t) => {
  const f = new Fixture(t);
  const path = addVersion(f.basePath, 1);
  const first = await f.connect();
  assert.deepEqual(first.pending, [{ version: 1, path, reason: 'unstable' }]);
  assert.equal(first.error, undefined, 'a first version that is being written is no fault');
  await f.poll(window - 1);
  assert.deepEqual(f.versions, []);
  await f.poll(1);
  assert.deepEqual(f.versions, [[1]]);
});

test('every change starts the window anew, and the version before is served meanwhile', async (t) => {
  const f = new Fixture(t, window + 500);
  addVersion(f.basePath, 1);
  await f.connect();
  const path = addVersion(f.basePath, 2);
  await f.poll();
  for (let i = 0; i < 5; i++) {
    appendFileSync(join(path, 'weights'), 'more');
    assert.equal((await f.poll(window - 1)).pending.length, 1);
  }
  mkdirSync(join(path, 'assets'));
  assert.equal((await f.poll(window - 1)).pending.length, 1);
  writeFileSync(join(path, 'assets', 'vocabulary'), 'a b c');
  assert.equal((await f.poll(window - 1)).pending.length, 1);
  assert.deepEqual(f.versions, [[1]]);
  await f.poll(window);
  assert.deepEqual(f.versions, [[1], [2]]);
});

test('a copy that sets modification times back is not taken for an old directory', async (t) => {
  const f = new Fixture(t);
  const path = addVersion(f.basePath, 1);
  const longAgo = new Date('2020-01-01');
  utimesSync(join(path, 'weights'), longAgo, longAgo);
  utimesSync(path, longAgo, longAgo);
  const { pending } = await f.connect();
  assert.equal(pending.length, 1);
});

test('a directory that appears while we poll is watched for the whole window, however old it says it is', async (t) => {
  const f = new Fixture(t, 10 * window);
  addVersion(f.basePath, 1);
  await f.connect();
  const staging = addVersion(tempDir(t), 2);
  renameSync(staging, join(f.basePath, '2'));
  assert.equal((await f.poll()).pending.length, 1, 'the clock of a file server may be behind ours');
  await f.poll(window);
  assert.deepEqual(f.versions, [[1], [2]]);
});

test('a rollback by deleting the newest directory takes effect in the same poll', async (t) => {
  const f = new Fixture(t, window + 500);
  addVersion(f.basePath, 1);
  addVersion(f.basePath, 2);
  await f.connect();
  rmSync(join(f.basePath, '2'), { recursive: true });
  const result = await f.poll();
  assert.deepEqual(f.versions, [[2], [1]]);
  assert.equal(result.error, undefined);
});

test('an unfinished version does not use up a place of latest n', async (t) => {
  const f = new Fixture(t, window + 500);
  for (const version of [1, 2, 3]) addVersion(f.basePath, version);
  const servables = [{ name: 'm', basePath: f.basePath, versionPolicy: { latest: 2 } }];
  await f.connect({ servables });
  addVersion(f.basePath, 4);
  await f.poll();
  assert.deepEqual(f.versions, [[3, 2]]);
  await f.poll(window);
  assert.deepEqual(f.versions, [
    [3, 2],
    [4, 3],
  ]);
});

test('a change in place gives the list again when it is complete, and never takes the version away', async (t) => {
  const f = new Fixture(t, window + 500);
  const path = addVersion(f.basePath, 1);
  await f.connect();
  writeFileSync(join(path, 'weights'), 'replaced by something longer');
  await f.poll();
  assert.deepEqual(f.versions, [[1]]);
  await f.poll(window);
  assert.deepEqual(f.versions, [[1], [1]]);
  const [before, after] = f.target.lists.map(({ items }) => (items[0] as { revision?: string }).revision);
  assert.notEqual(before, after);
});

test('what is pending is looked at again by itself when its window ends, also with interval 0', async (t) => {
  const f = new Fixture(t);
  addVersion(f.basePath, 1);
  await f.connect();
  assert.equal(f.clock.timers, 1);
  f.clock.advance(window);
  await f.target.received(1);
  assert.deepEqual(f.versions, [[1]]);
  assert.equal(f.clock.timers, 0, 'and then there is nothing more to look at');
});

test('stabilityWindowMs 0 offers at once', async (t) => {
  const f = new Fixture(t);
  addVersion(f.basePath, 1);
  await f.connect({ stabilityWindowMs: 0 });
  assert.deepEqual(f.versions, [[1]]);
});

test('links are compared by what they lead to, and a loop of links is no trap', async (t) => {
  const f = new Fixture(t, window + 500);
  const blobs = tempDir(t);
  writeFileSync(join(blobs, 'blob'), 'content');
  const path = join(blobs, 'v1');
  mkdirSync(path);
  symlinkSync(join(blobs, 'blob'), join(path, 'weights'));
  symlinkSync(path, join(path, 'loop'));
  symlinkSync(join(blobs, 'nowhere'), join(path, 'dangling'));
  symlinkSync(path, join(f.basePath, '1'));
  await f.connect();
  assert.deepEqual(f.versions, [[1]]);
  writeFileSync(join(blobs, 'blob'), 'other content');
  await f.poll();
  await f.poll(window);
  assert.deepEqual(f.versions, [[1], [1]]);
});

test('with a completion marker the marker decides, and nothing else', async (t) => {
  const f = new Fixture(t, 100 * window);
  addVersion(f.basePath, 1);
  const path = addVersion(f.basePath, 2);
  writeFileSync(join(f.basePath, '1', 'DONE'), '');
  const result = await f.connect({ completionMarker: 'DONE' });
  assert.deepEqual(result.pending, [{ version: 2, path, reason: 'incomplete' }]);
  assert.deepEqual(f.versions, [[1]]);
  mkdirSync(join(path, 'DONE'));
  await f.poll(100 * window);
  assert.deepEqual(f.versions, [[1]], 'a directory is no marker');
  rmSync(join(path, 'DONE'), { recursive: true });
  writeFileSync(join(path, 'DONE'), '');
  await f.poll();
  assert.deepEqual(f.versions, [[1], [2]]);
});

test('a marker that is taken away does not un-aspire; one that is written anew gives the list again', async (t) => {
  const f = new Fixture(t);
  const path = addVersion(f.basePath, 1);
  writeFileSync(join(path, 'DONE'), '1');
  await f.connect({ completionMarker: 'DONE' });
  rmSync(join(path, 'DONE'));
  assert.equal((await f.poll()).pushed, false);
  writeFileSync(join(path, 'DONE'), 'second');
  assert.equal((await f.poll()).pushed, true);
  assert.deepEqual(f.versions, [[1], [1]]);
});

test('timers look at the content of an offered version only now and then, poll() always', async (t) => {
  const f = new Fixture(t, window + 500);
  const path = addVersion(f.basePath, 1);
  await f.connect({ pollIntervalMs: 100, watch: false, contentCheckIntervalMs: 5000, stabilityWindowMs: 0 });
  writeFileSync(join(path, 'weights'), 'replaced by something longer');
  f.clock.advance(100);
  // A wake-up does not queue behind a pass, so this poll follows the one that the timer started.
  assert.equal((await f.poll()).pushed, true);
  assert.deepEqual(f.versions, [[1], [1]], 'one push: by the poll that was asked for, not by the timer');
});
