// Polling: what is pushed and when, what holds back what, and that it ends when it is told to.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  AspiredError,
  type AspiredVersion,
  AspiredVersionsManager,
  FileSystemSource,
  type FileSystemSourceOptions,
  type Loader,
  type LoaderFactory,
} from 'aspired';
import {
  addVersion,
  coded,
  loaderOf,
  loaderTarget,
  ManualClock,
  type RecordingTarget,
  servableOf,
  tempDir,
  withDeadline,
} from './support.js';

interface Fixture {
  readonly root: string;
  readonly source: FileSystemSource;
  readonly target: RecordingTarget<AspiredVersion>;
  readonly clock: ManualClock;
  readonly connection: ReturnType<FileSystemSource['connect']>;
  /** What onError was told: name and code. */
  readonly errors: string[];
}

/** A source over root/<name> with version 1 of each name on disk, connected and polled once. */
async function start(
  t: TestContext,
  names: readonly string[],
  options: Partial<FileSystemSourceOptions> = {},
  factory: LoaderFactory<string> = ({ name, version }) => loaderOf(`${name}/${version}`),
): Promise<Fixture> {
  const root = tempDir(t);
  for (const name of names) addVersion(join(root, name), 1);
  const clock = new ManualClock();
  const errors: string[] = [];
  const source = new FileSystemSource({
    servables: names.map((name) => ({ name, basePath: join(root, name) })),
    stabilityWindowMs: 0,
    watch: false,
    clock,
    onError: (error, { name }) => errors.push(`${name} ${error.code}`),
    ...options,
  });
  const target = loaderTarget();
  const connection = source.connect(target, factory);
  t.after(() => connection.dispose());
  await source.poll();
  return { root, source, target, clock, connection, errors };
}

test('a list is pushed only when it differs, so that polling disturbs no retry', async (t) => {
  const { root, source, target } = await start(t, ['m']);
  for (let i = 0; i < 3; i++) assert.equal((await source.poll())[0]?.pushed, false);
  assert.deepEqual(target.versionsOf('m'), [[1]]);
  addVersion(join(root, 'm'), 2);
  assert.equal((await source.poll())[0]?.pushed, true);
  assert.deepEqual(target.versionsOf('m'), [[1], [2]]);
  assert.equal(await servableOf(target.lists[1]?.items[0]), 'm/2');
});

test('force pushes an unchanged list, with new loaders', async (t) => {
  const { source, target } = await start(t, ['m']);
  const [result] = await source.poll({ force: true });
  assert.equal(result?.pushed, true);
  assert.notEqual(target.lists[0]?.items[0]?.loader, target.lists[1]?.items[0]?.loader);
});

test('polls follow each other at the interval', async (t) => {
  const { root, target, clock } = await start(t, ['m'], { pollIntervalMs: 500 });
  for (const version of [2, 3]) {
    addVersion(join(root, 'm'), version);
    clock.advance(499);
    clock.advance(1);
    await target.received(version);
  }
  assert.deepEqual(target.versionsOf('m'), [[1], [2], [3]]);
});

test('one bad base path holds back only itself, is told once, and recovers', async (t) => {
  const { root, source, target, errors } = await start(t, ['bad', 'good']);
  rmSync(join(root, 'bad'), { recursive: true });
  addVersion(join(root, 'good'), 2);
  for (let i = 0; i < 3; i++) {
    const [bad, good] = await source.poll();
    coded('ERR_BASE_PATH_NOT_FOUND')(bad?.error);
    assert.deepEqual(bad?.versions, [{ version: 1, path: join(root, 'bad', '1') }], 'what is aspired stays');
    assert.equal(good?.error, undefined);
  }
  assert.deepEqual(target.versionsOf('good'), [[1], [2]]);
  assert.deepEqual(target.versionsOf('bad'), [[1]]);
  assert.deepEqual(errors, ['bad ERR_BASE_PATH_NOT_FOUND']);
  assert.equal(source.status()[0]?.error?.code, 'ERR_BASE_PATH_NOT_FOUND');
  addVersion(join(root, 'bad'), 3);
  await source.poll();
  assert.deepEqual(target.versionsOf('bad'), [[1], [3]]);
  rmSync(join(root, 'bad'), { recursive: true });
  await source.poll();
  assert.equal(errors.length, 2, 'a fault that comes back is told again');
});

test('a missing base path unloads nothing, also with servableVersionsAlwaysPresent off', async (t) => {
  const { root, source, target } = await start(t, ['m'], { servableVersionsAlwaysPresent: false });
  rmSync(join(root, 'm'), { recursive: true });
  await source.poll();
  assert.deepEqual(target.versionsOf('m'), [[1]]);
});

test('a shrunken listing that still has versions is intent', async (t) => {
  const { root, source, target } = await start(t, ['m'], { pollIntervalMs: 0 });
  addVersion(join(root, 'm'), 2);
  source.updateConfig({ servables: [{ name: 'm', basePath: join(root, 'm'), versionPolicy: { all: true } }] });
  await source.poll();
  rmSync(join(root, 'm', '1'), { recursive: true });
  await source.poll();
  assert.deepEqual(target.versionsOf('m'), [[1], [1, 2], [2]]);
});

test('an empty specific list is intent, and needs no base path', async (t) => {
  const { source, target } = await start(t, ['m']);
  await source.updateConfig({ servables: [{ name: 'm', basePath: '/nowhere', versionPolicy: { specific: [] } }] });
  assert.deepEqual(target.versionsOf('m'), [[1], []]);
});

test('a target that throws for one servable holds back only that one, and gets its list again', async (t) => {
  const { root, source, target, errors } = await start(t, ['a', 'b']);
  target.onList = (name) => {
    if (name === 'a') throw new TypeError('broken target');
  };
  for (const name of ['a', 'b']) addVersion(join(root, name), 2);
  const [a, b] = await source.poll();
  coded('ERR_SOURCE_ERROR')(a?.error);
  assert.ok(a?.error?.cause instanceof TypeError);
  assert.deepEqual(a?.versions, [{ version: 1, path: join(root, 'a', '1') }]);
  assert.equal(b?.pushed, true);
  target.onList = undefined;
  assert.equal((await source.poll())[0]?.pushed, true);
  assert.deepEqual(target.versionsOf('a'), [[1], [2]]);
  assert.deepEqual(errors, ['a ERR_SOURCE_ERROR']);
});

test('a target that rejects gets its list again', async (t) => {
  const { source, target, errors } = await start(t, ['m']);
  target.onList = () => Promise.reject(new Error('later no'));
  const [refused] = await source.poll({ force: true });
  assert.equal(refused?.pushed, false);
  coded('ERR_SOURCE_ERROR')(refused?.error);
  target.onList = undefined;
  assert.equal((await source.poll())[0]?.pushed, true);
  assert.deepEqual(errors, ['m ERR_SOURCE_ERROR']);
});

test('a loader that cannot be made is the error of its version, and is tried again by later polls', async (t) => {
  let broken = true;
  const { target, clock } = await start(t, ['m'], {}, async ({ path }) => {
    if (broken) throw new Error(`no loader for ${path}`);
    return loaderOf('made');
  });
  coded('ERR_SOURCE_ERROR')(target.lists[0]?.items[0]?.error);
  broken = false;
  clock.advance(1000);
  await target.received(2);
  assert.equal(await servableOf(target.lists[1]?.items[0]), 'made');
});

test('a factory that never answers holds back only its own name, and a later list overtakes it', async (t) => {
  const never = new Promise<Loader<string>>(() => {});
  const root = tempDir(t);
  for (const name of ['a', 'b']) addVersion(join(root, name), 1);
  const servables = ['a', 'b'].map((name) => ({ name, basePath: join(root, name) }));
  const source = new FileSystemSource({ servables, stabilityWindowMs: 0, clock: new ManualClock(), watch: false });
  const target = loaderTarget();
  const connection = source.connect(target, ({ name, version }) =>
    name === 'a' && version === 1 ? never : loaderOf(name),
  );
  t.after(() => connection.dispose());
  await target.received(1);
  assert.deepEqual(target.versionsOf('b'), [[1]]);
  addVersion(join(root, 'a'), 2);
  await source.poll();
  assert.deepEqual(target.versionsOf('a'), [[2]]);
});

test('a poll waits for the delivery no longer than its signal', async (t) => {
  const root = tempDir(t);
  addVersion(root, 1);
  const source = new FileSystemSource({
    servables: [{ name: 'm', basePath: root }],
    stabilityWindowMs: 0,
    watch: false,
  });
  const connection = source.connect(loaderTarget(), () => new Promise<Loader<string>>(() => {}));
  t.after(() => connection.dispose());
  const stop = new AbortController();
  const poll = source.poll({ signal: stop.signal, force: true });
  stop.abort(new Error('enough'));
  await assert.rejects(poll, /enough/);
  await assert.rejects(source.poll({ signal: AbortSignal.abort(new Error('before')) }), /before/);
});

test('a new configuration is applied at once, also with interval 0', async (t) => {
  const { root, source, target } = await start(t, ['a', 'b'], { pollIntervalMs: 0 });
  addVersion(join(root, 'c'), 7);
  const base = (name: string) => ({ name, basePath: join(root, name) });
  const update = source.updateConfig({ servables: [base('b'), base('c')] });
  assert.deepEqual(target.versionsOf('a'), [[1], []], 'the removed one is un-aspired before the call returns');
  assert.deepEqual(
    (await update).map(({ name, pushed }) => [name, pushed]),
    [['c', true]],
  );
  assert.deepEqual(target.versionsOf('b'), [[1]], 'what did not change is not touched');
});

test('a changed base path is never transiently un-aspired, also when it is not there', async (t) => {
  const { root, source, target } = await start(t, ['m'], { servableVersionsAlwaysPresent: false });
  const [missing] = await source.updateConfig({ servables: [{ name: 'm', basePath: join(root, 'elsewhere') }] });
  coded('ERR_BASE_PATH_NOT_FOUND')(missing?.error);
  assert.deepEqual(missing?.versions, [{ version: 1, path: join(root, 'm', '1') }]);
  addVersion(join(root, 'elsewhere'), 1);
  await source.poll();
  assert.deepEqual(target.versionsOf('m'), [[1], [1]]);
});

test('a configuration that is not valid changes nothing', async (t) => {
  const { root, source, target } = await start(t, ['m']);
  const good = { name: 'n', basePath: join(root, 'm') };
  assert.throws(() => source.updateConfig({ servables: [good, good] }), coded('ERR_INVALID_ARGUMENT'));
  await source.poll();
  assert.deepEqual(
    target.lists.map(({ name }) => name),
    ['m'],
  );
});

test('dispose ends everything: no timer, no push, also in the middle of a poll', async (t) => {
  const { root, source, target, clock, connection } = await start(t, ['m']);
  addVersion(join(root, 'm'), 2);
  const poll = source.poll();
  connection.dispose();
  connection[Symbol.dispose]();
  assert.equal(connection.closed, true);
  const [result] = await poll;
  assert.equal(result?.pushed, false);
  clock.advance(60_000);
  await source.poll();
  assert.equal(clock.timers, 0);
  assert.deepEqual(target.versionsOf('m'), [[1]], 'and what was aspired stays aspired');
});

test('what an asynchronous factory makes after dispose is not pushed', async (t) => {
  let answer = (_loader: Loader<string>) => {};
  let asked = () => {};
  const whenAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const root = tempDir(t);
  addVersion(root, 1);
  const source = new FileSystemSource({
    servables: [{ name: 'm', basePath: root }],
    stabilityWindowMs: 0,
    watch: false,
  });
  const target = loaderTarget();
  const connection = source.connect(target, () => {
    asked();
    return new Promise((resolve) => {
      answer = resolve;
    });
  });
  await whenAsked;
  const poll = source.poll({ force: false });
  connection.dispose();
  answer(loaderOf('late'));
  await poll;
  assert.deepEqual(target.lists, []);
});

test('one connection at a time; a new one gets the lists anew', async (t) => {
  const { source, target, connection } = await start(t, ['m']);
  assert.throws(
    () => source.connect(loaderTarget(), () => loaderOf('')),
    coded('ERR_SOURCE_CONNECTED', 'FAILED_PRECONDITION'),
  );
  connection.dispose();
  assert.equal(target.closeCallbacks, 0, 'the target does not keep what was disposed');
  const other = loaderTarget();
  const again = source.connect(other, () => loaderOf('again'));
  t.after(() => again.dispose());
  await source.poll();
  assert.deepEqual(other.versionsOf('m'), [[1]]);
});

test('the connection ends when the target closes, and when it says that it is closed', async (t) => {
  const first = await start(t, ['m']);
  first.target.close();
  assert.equal(first.connection.closed, true);
  assert.equal(first.clock.timers, 0);

  const second = await start(t, ['a', 'b']);
  second.target.onList = () => {
    throw new AspiredError('ERR_MANAGER_CLOSED', 'closed');
  };
  for (const name of ['a', 'b']) addVersion(join(second.root, name), 2);
  await second.source.poll();
  assert.equal(second.connection.closed, true);
  assert.equal(second.clock.timers, 0);
  assert.deepEqual(second.errors, [], 'quietly');
});

test('a manager that is closed refuses the connection, and leaves the source free for another', async (t) => {
  const closed = new AspiredVersionsManager();
  await closed.close();
  const { source, connection, clock } = await start(t, ['m']);
  connection.dispose();
  assert.throws(() => source.connect(closed, () => loaderOf('')), coded('ERR_MANAGER_CLOSED'));
  assert.equal(clock.timers, 0);
  const other = loaderTarget();
  const again = source.connect(other, () => loaderOf('again'));
  t.after(() => again.dispose());
  await source.poll();
  assert.deepEqual(other.versionsOf('m'), [[1]]);
});

test('without a connection a poll tells what is there and pushes nothing', async (t) => {
  const root = tempDir(t);
  const path = addVersion(root, 1);
  const servables = [
    { name: 'm', basePath: root },
    { name: 'n', basePath: join(root, 'missing') },
  ];
  const source = new FileSystemSource({ servables, stabilityWindowMs: 0 });
  const [m, n] = await source.poll();
  assert.deepEqual([m?.versions, m?.pushed], [[{ version: 1, path }], false]);
  coded('ERR_BASE_PATH_NOT_FOUND')(n?.error);
});

test('a servable whose listing hangs is given up at its deadline, and the others go on', async (t) => {
  // Its time runs out before the file system answers: what a dead mount looks like from here.
  const scanTimeoutMs = 77;
  class HangingClock extends ManualClock {
    hangs = 0;

    override after(ms: number, callback: () => void): () => void {
      if (ms !== scanTimeoutMs || this.hangs === 0) return super.after(ms, callback);
      this.hangs--;
      queueMicrotask(callback);
      return () => {};
    }
  }
  const clock = new HangingClock();
  const { root, source, target, errors } = await start(t, ['a', 'b'], { scanTimeoutMs, pollIntervalMs: 0, clock });
  for (const name of ['a', 'b']) addVersion(join(root, name), 2);
  clock.hangs = 1;
  const [a, b] = await source.poll();
  coded('ERR_BASE_PATH_UNREADABLE')(a?.error);
  assert.deepEqual(a?.versions, [{ version: 1, path: join(root, 'a', '1') }]);
  assert.equal(b?.pushed, true);
  assert.deepEqual(errors, ['a ERR_BASE_PATH_UNREADABLE']);
  const recovered = async () => {
    while ((await source.poll())[0]?.error !== undefined) await new Promise((resolve) => setImmediate(resolve));
  };
  await withDeadline(recovered(), 'the listing to come back');
  assert.deepEqual(target.versionsOf('a'), [[1], [2]]);
});

test('a change in the base path wakes the poll early where the system tells of it', async (t) => {
  const { root, source, target, clock } = await start(t, ['m'], { watch: true, pollIntervalMs: 3_600_000 });
  if (source.status()[0]?.watching !== true) return t.skip('no file-system events here');
  renameSync(addVersion(root, 'staging'), join(root, 'm', '2'));
  // Only the burst timer moves: the poll interval is an hour.
  const timer = setInterval(() => clock.advance(50), 10);
  t.after(() => clearInterval(timer));
  await target.received(2);
  assert.deepEqual(target.versionsOf('m'), [[1], [2]]);
});

test('a base path that is replaced by another directory is watched anew', async (t) => {
  const { root, source, target, clock } = await start(t, ['m'], { watch: true, pollIntervalMs: 3_600_000 });
  if (source.status()[0]?.watching !== true) return t.skip('no file-system events here');
  renameSync(join(root, 'm'), join(root, 'old'));
  addVersion(join(root, 'm'), 5);
  await source.poll();
  addVersion(join(root, 'm'), 6);
  const timer = setInterval(() => clock.advance(50), 10);
  t.after(() => clearInterval(timer));
  await target.received(3);
  assert.deepEqual(target.versionsOf('m'), [[1], [5], [6]]);
});

test('without onError a fault is a process warning with its code', async (t) => {
  const warned = new Promise<Error & { code?: string }>((resolve) => process.once('warning', resolve));
  await start(t, [], { servables: [{ name: 'm', basePath: '/nowhere' }], onError: undefined });
  const warning = await withDeadline(warned, 'the warning');
  assert.deepEqual([warning.name, warning.code], ['AspiredSourceWarning', 'ERR_BASE_PATH_NOT_FOUND']);
});

test('status tells of each servable what its last poll found', async (t) => {
  const { root, source, clock } = await start(t, ['m']);
  writeFileSync(join(root, 'm', '9'), 'a file');
  await source.poll();
  const [status] = source.status();
  assert.deepEqual(status?.versions, [{ version: 1, path: join(root, 'm', '1') }]);
  assert.deepEqual(
    status?.problems.map(({ path }) => path),
    [join(root, 'm', '9')],
  );
  assert.equal(status?.lastPollAt, clock.now());
});

test('a connected source does not keep the process alive', async (t) => {
  const root = tempDir(t);
  addVersion(root, 1);
  const script = `
    const { FileSystemSource } = await import(${JSON.stringify(import.meta.resolve('aspired'))});
    const source = new FileSystemSource({ servables: [{ name: 'm', basePath: ${JSON.stringify(root)} }], pollIntervalMs: 10, stabilityWindowMs: 0 });
    await new Promise((resolve) => source.connect({ setAspiredVersions: resolve }));
    console.log('pushed');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const code = await withDeadline(new Promise((resolve) => child.once('close', resolve)), 'the child to end');
  assert.deepEqual([code, output], [0, 'pushed\n']);
});
