// One more registry of a manager: what it follows, what it holds up, and how it ends. Most tests attach in their own
// thread, where every message can be waited for; worker threads have theirs in test/fault/attach.test.ts.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  AspiredError,
  AspiredVersionsManager,
  type AttachedVersionsManager,
  type AttachOptions,
  type Loader,
  type ServableId,
  type ServableRequest,
} from 'aspired';
import { deadline, eventually, turns } from '../../support/deadline.js';
import { CountingLoader, counted, ManualLoader, one } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

const start = (t: TestContext) => new TestManager(t, { maxNumLoadRetries: 0 });

/** Copies that are loaded at once, as 'copy of name/version'. */
const copies = ({ name, version }: ServableId): Loader => new CountingLoader(`copy of ${name}/${version}`);

function attach(t: TestContext, m: TestManager, options: AttachOptions = { loaders: copies }): AttachedVersionsManager {
  const attached = AspiredVersionsManager.attach(m.manager.attachToken, options);
  t.after(() => deadline(attached.close(), 'the end of the attachment'));
  return attached;
}

/** 'name/version' of what the request resolves to, or the code of the error. */
function resolve(attached: AttachedVersionsManager, request: ServableRequest = 'm'): string {
  try {
    return attached.withServableSync(request, (_, { name, version }) => `${name}/${version}`);
  } catch (error) {
    assert.ok(error instanceof AspiredError);
    return error.code;
  }
}

test('what is available is available at the attach, and with it labels, primary and aspired versions', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2, 3), { labels: { canary: 3, none: 9 }, primary: 1 });
  await m.aspire('n', counted(5));
  const attached = attach(t, m);
  await attached.ready;
  assert.equal(resolve(attached), 'm/1');
  assert.equal(resolve(attached, { name: 'm', version: 'latest' }), 'm/3');
  assert.equal(resolve(attached, { name: 'm', version: 'earliest' }), 'm/1');
  assert.equal(resolve(attached, { name: 'm', label: 'canary' }), 'm/3');
  assert.equal(resolve(attached, { name: 'm', label: 'none' }), 'ERR_LABEL_NOT_AVAILABLE');
  assert.equal(resolve(attached, 'n'), 'n/5');
  assert.equal(resolve(attached, 'x'), 'ERR_SERVABLE_NOT_FOUND');
  assert.equal(attached.listAvailableServableIds().length, 4);
  const handle = attached.getServableHandle<string>({ name: 'm', version: 2 });
  assert.equal(handle.servable, 'copy of m/2');
  handle.release();
});

test('labels, primary and aspired versions follow those of the manager', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2));
  const attached = attach(t, m);
  assert.equal(resolve(attached), 'm/2');
  m.manager.setVersionLabels('m', { stable: 1 }, { primary: 1 });
  await eventually(() => resolve(attached) === 'm/1', 'the primary');
  assert.equal(resolve(attached, { name: 'm', label: 'stable' }), 'm/1');
  m.manager.setVersionLabels('m', {}, { primary: null });
  await eventually(() => resolve(attached) === 'm/2', 'the end of the primary');
  assert.equal(resolve(attached, { name: 'm', label: 'stable' }), 'ERR_LABEL_NOT_AVAILABLE');
  // Version 2 is aspired no more but held: the plain name is version 1 at once.
  const handle = m.manager.getServableHandle({ name: 'm', version: 2 });
  m.manager.setAspiredVersions('m', counted(1));
  await eventually(() => resolve(attached) === 'm/1', 'the list');
  handle.release();
});

test('a switch is never seen half: each request finds the old or the new version', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const attached = attach(t, m);
  const seen = new Set<string>();
  for (let version = 2; version <= 20; version++) {
    const transition = m.manager.setAspiredVersions('m', counted(version));
    let settled = false;
    void transition.settled.then(() => {
      settled = true;
    });
    await eventually(() => {
      seen.add(resolve(attached));
      return settled;
    }, `version ${version}`);
    assert.equal(resolve(attached), `m/${version}`);
  }
  assert.ok(!seen.has('ERR_SERVABLE_NOT_FOUND'), [...seen].join(' '));
});

test('a version is unloaded when its last handle in any registry is back', async (t) => {
  const m = start(t);
  const loader = new CountingLoader(1);
  await m.aspire('m', one(1, loader));
  const attached = attach(t, m);
  const handle = attached.getServableHandle('m');
  const transition = m.manager.setAspiredVersions('m', []);
  await eventually(() => resolve(attached) === 'ERR_SERVABLE_NOT_FOUND', 'the close');
  await turns();
  assert.equal(loader.unloads, 0, 'unloaded under a handle');
  assert.equal(handle.servable, 'copy of m/1');
  handle.release();
  await m.settled(transition);
  assert.equal(loader.unloads, 1);
});

test('a rollback before the drain opens the old version here too, without a load', async (t) => {
  const m = start(t);
  const mine: CountingLoader<number>[] = [];
  const loaders = ({ version }: ServableId): Loader => {
    const loader = new CountingLoader(version);
    mine.push(loader);
    return loader;
  };
  await m.aspire('m', counted(1));
  const attached = attach(t, m, { loaders });
  const handle = attached.getServableHandle({ name: 'm', version: 1 });
  m.manager.setAspiredVersions('m', counted(2));
  await eventually(() => resolve(attached, { name: 'm', version: 1 }) !== 'm/1', 'the close of version 1');
  await m.aspire('m', counted(1));
  assert.equal(resolve(attached), 'm/1');
  handle.release();
  assert.equal(resolve(attached), 'm/1');
  await eventually(() => mine[1]?.unloads === 1, 'the unload of the copy of 2');
  assert.deepEqual(
    mine.map(({ loads, unloads }) => [loads, unloads]),
    [
      [1, 0],
      [1, 1],
    ],
  );
});

test('copies are unloaded with their version, and at the end of the attachment', async (t) => {
  const m = start(t);
  const mine = new Map<number, CountingLoader<number>>();
  const loaders = ({ version }: ServableId): Loader => {
    const loader = new CountingLoader(version);
    mine.set(version, loader);
    return loader;
  };
  await m.aspire('m', counted(1, 2));
  const attached = attach(t, m, { loaders });
  await m.aspire('m', counted(2));
  await eventually(() => mine.get(1)?.unloads === 1, 'the unload of the copy of 1');
  const handle = attached.getServableHandle('m');
  const closed = attached.close();
  await attached.ended;
  await turns();
  assert.equal(mine.get(2)?.unloads, 0, 'unloaded under a handle');
  handle.release();
  await closed;
  assert.equal(mine.get(2)?.unloads, 1);
  assert.equal(resolve(attached), 'ERR_MANAGER_CLOSED');
  assert.equal(m.resolve('m'), 'm/2', 'the manager goes on');
});

test('a version that cannot be shared and has no loader here is not available, with one warning per servable', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2));
  const warnings: string[] = [];
  const listen = (warning: Error & { code?: string }): void => {
    if (warning.code === 'ASPIRED_NO_LOADER') warnings.push(warning.message);
  };
  process.on('warning', listen);
  t.after(() => process.off('warning', listen));
  const attached = attach(t, m, {});
  await attached.ready;
  assert.equal(resolve(attached), 'ERR_SERVABLE_NOT_FOUND');
  await m.aspire('m', counted(3));
  await turns();
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] as string, /^m cannot be shared/);
});

test('the old version stays until the copy of the new one is loaded, and the manager waits for it', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const mine = new ManualLoader();
  const attached = attach(t, m, { loaders: (id) => (id.version === 1 ? copies(id) : mine) });
  const transition = m.manager.setAspiredVersions('m', counted(2));
  const attempt = await mine.loading();
  await m.saw('m', 1, 'Unloading');
  await turns();
  assert.equal(m.resolve('m'), 'm/2');
  assert.equal(resolve(attached), 'm/1', 'still the old one, which is aspired no more');
  attempt.succeed(2);
  await m.settled(transition);
  assert.equal(resolve(attached), 'm/2');
});

test('a label keeps its old version until the copy of the new one is loaded', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2), { labels: { canary: 2 }, primary: 1 });
  const mine = new ManualLoader();
  const attached = attach(t, m, { loaders: (id) => (id.version < 3 ? copies(id) : mine) });
  const canary = { name: 'm', label: 'canary' };
  await m.aspire('m', counted(1, 2, 3), { labels: { canary: 3 } });
  const attempt = await mine.loading();
  const transition = m.manager.setAspiredVersions('m', counted(1, 3));
  await m.saw('m', 2, 'Unloading');
  await turns();
  assert.deepEqual([m.resolve(canary), resolve(attached, canary)], ['m/3', 'm/2']);
  attempt.succeed(3);
  await m.settled(transition);
  assert.deepEqual([resolve(attached, canary), resolve(attached)], ['m/3', 'm/1']);
});

test('a copy that fails lets the old version go, is reported, and is tried again', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const mine = new ManualLoader();
  const errors: AspiredError[] = [];
  const attached = attach(t, m, {
    loaders: (id) => (id.version === 1 ? copies(id) : mine),
    loadRetryIntervalMs: 1,
    onError: (error) => void errors.push(error),
  });
  const transition = m.manager.setAspiredVersions('m', counted(2));
  (await mine.loading()).fail(new Error('no memory in this thread'));
  await m.settled(transition);
  const second = await mine.loading(2);
  assert.equal(resolve(attached), 'ERR_SERVABLE_NOT_FOUND');
  assert.deepEqual(
    errors.map(({ code, servable }) => [code, servable?.version]),
    [['ERR_LOAD_FAILED', 2]],
  );
  second.succeed(2);
  await eventually(() => resolve(attached) === 'm/2', 'the second attempt');
});

test('a load that hangs holds up the old version for loadTimeoutMs, not longer', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const codes: string[] = [];
  attach(t, m, {
    loaders: (id) => (id.version === 1 ? copies(id) : { load: () => new Promise(() => {}) }),
    loadTimeoutMs: 20,
    cancelGraceMs: 1,
    onError: ({ code }) => void codes.push(code),
  });
  await m.aspire('m', counted(2));
  assert.deepEqual(codes, ['ERR_LOAD_TIMEOUT']);
});

test('a copy under way whose version is dropped is cancelled, and what it brings is unloaded unseen', async (t) => {
  const m = start(t);
  const mine = new ManualLoader({ deaf: true });
  const attached = attach(t, m, { loaders: () => mine });
  await m.aspire('m', counted(1));
  const attempt = await mine.loading();
  await m.aspire('m', []);
  assert.ok(attempt.context.signal.aborted);
  attempt.succeed(1);
  await eventually(() => mine.unloads === 1, 'the unload');
  assert.equal(resolve(attached), 'ERR_SERVABLE_NOT_FOUND');
});

test('ready waits for the copies of what was available at the attach', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const mine = new ManualLoader();
  const attached = attach(t, m, { loaders: () => mine });
  const attempt = await mine.loading();
  let isReady = false;
  const ready = attached.ready.then(() => {
    isReady = true;
  });
  await turns();
  assert.equal(isReady, false);
  attempt.succeed(1);
  await deadline(ready, 'ready');
  assert.equal(resolve(attached), 'm/1');
});

test('loaders that throw, or give no loader, are reported', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  await m.aspire('n', counted(1));
  const codes: string[] = [];
  const loaders = ({ name }: ServableId): Loader => {
    if (name === 'm') throw new Error('no such model');
    return { load: 'no function' } as unknown as Loader;
  };
  attach(t, m, { loaders, onError: ({ code, servable }) => void codes.push(`${servable?.name} ${code}`) });
  assert.deepEqual(codes.sort(), ['m ERR_INVALID_LOADER', 'n ERR_INVALID_LOADER']);
});

test('requests of an attachment count in the metrics of the manager, also when it is gone', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1, 2));
  const attached = attach(t, m);
  const requests = (reader: { getServableMetrics: AttachedVersionsManager['getServableMetrics'] }): object[] =>
    reader
      .getServableMetrics('m')
      .map(({ id, requests: ended, errors, inFlight }) => [id.version, ended, errors, inFlight]);
  await m.manager.withServable('m', () => {});
  for (let i = 0; i < 3; i++) await attached.withServable('m', () => {});
  await assert.rejects(attached.withServable('m', () => Promise.reject(new Error('no'))));
  let end = (): void => {};
  const underWay = attached.withServable('m', () => new Promise<void>((resolveEnd) => (end = resolveEnd)));
  assert.deepEqual(requests(m.manager), [
    [2, 5, 1, 1],
    [1, 0, 0, 0],
  ]);
  assert.deepEqual(requests(attached), [
    [2, 4, 1, 1],
    [1, 0, 0, 0],
  ]);
  end();
  await underWay;
  await attached.close();
  assert.deepEqual(requests(m.manager), [
    [2, 6, 1, 0],
    [1, 0, 0, 0],
  ]);
  await m.aspire('m', counted(1));
  await m.aspire('m', counted(2));
  assert.deepEqual(requests(m.manager), [[2, 0, 0, 0]], 'a version that is loaded again starts at 0');
});

test('the manager closes: nothing is found, what is held is good until it is back, and then it is unloaded', async (t) => {
  const m = start(t);
  const mine = new CountingLoader(1);
  await m.aspire('m', counted(1, 2));
  const attached = attach(t, m, { loaders: (id) => (id.version === 1 ? mine : copies(id)) });
  const handle = attached.getServableHandle<number>({ name: 'm', version: 1 });
  const closing = m.manager.close();
  await deadline(attached.ended, 'the end');
  assert.equal(resolve(attached), 'ERR_MANAGER_CLOSED');
  assert.throws(() => attached.listAvailableServableIds(), coded('ERR_MANAGER_CLOSED'));
  assert.equal(handle.servable, 1);
  assert.equal(mine.unloads, 0);
  handle.release();
  assert.deepEqual(await deadline(closing, 'close()'), { abandoned: [] });
  await attached.close();
  assert.equal(mine.unloads, 1);
});

test('a handle that is held in another registry is abandoned at the drain deadline of close()', async (t) => {
  const m = new TestManager(t, { abandons: true });
  await m.aspire('m', counted(1));
  const handle = attach(t, m).getServableHandle('m');
  const { abandoned } = await m.manager.close({ drainTimeoutMs: 5 });
  assert.deepEqual(abandoned, [{ name: 'm', version: 1 }]);
  handle.release();
});

test('unknown tokens, tokens of closed managers and bad options are refused', async () => {
  const failed = coded('ERR_ATTACH_FAILED', 'FAILED_PRECONDITION');
  assert.throws(() => AspiredVersionsManager.attach('nobody'), failed);
  assert.throws(() => AspiredVersionsManager.attach(''), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(() => AspiredVersionsManager.attach(7 as unknown as string), coded('ERR_INVALID_ARGUMENT'));
  const manager = new AspiredVersionsManager();
  const token = manager.attachToken;
  assert.equal(manager.attachToken, token);
  assert.equal(structuredClone(token), token);
  const bad = (options: object) => () => AspiredVersionsManager.attach(token, options as AttachOptions);
  assert.throws(bad({ loader: copies }), coded('ERR_UNKNOWN_OPTION'));
  assert.throws(bad({ loadTimeoutMs: 0 }), coded('ERR_INVALID_ARGUMENT'));
  assert.throws(bad({ loaders: 'all' }), coded('ERR_INVALID_ARGUMENT'));
  const closing = manager.close();
  assert.throws(() => AspiredVersionsManager.attach(token), failed);
  assert.throws(() => manager.attachToken, coded('ERR_MANAGER_CLOSED'));
  await closing;
});

test('attached twice, attached and closed again and again: each is its own registry', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const first = attach(t, m);
  {
    using second = attach(t, m);
    assert.equal(resolve(second), 'm/1');
  }
  for (let i = 0; i < 100; i++) await AspiredVersionsManager.attach(m.manager.attachToken, { loaders: copies }).close();
  assert.equal(resolve(first), 'm/1');
  await m.aspire('m', counted(2));
  assert.equal(resolve(first), 'm/2');
});

test('without a thread of the manager the crank brings the messages', async (t) => {
  const m = new TestManager(t, { manageStateIntervalMs: 0 });
  await m.aspire('m', counted(1));
  const attached = attach(t, m);
  assert.equal(resolve(attached), 'm/1');
  await m.aspire('m', counted(2));
  assert.equal(resolve(attached), 'm/2');
});

test('an attachment keeps no thread alive', async (t) => {
  const m = start(t);
  await m.aspire('m', counted(1));
  const source = `
    const { workerData, parentPort } = require('node:worker_threads');
    import('aspired').then(({ AspiredVersionsManager }) => {
      const attached = AspiredVersionsManager.attach(workerData, { loaders: () => ({ load: () => 'worker' }) });
      parentPort.postMessage(attached.withServableSync('m', (servable, id) => [servable, id.version]));
    });`;
  const worker = new Worker(source, { eval: true, workerData: m.manager.attachToken });
  const said = new Promise((resolveSaid) => worker.once('message', resolveSaid));
  const exited = new Promise((resolveExit) => worker.once('exit', resolveExit));
  assert.deepEqual(await deadline(said, 'the word of the worker'), ['worker', 1]);
  assert.equal(await deadline(exited, 'the end of the worker'), 0);
  await m.aspire('m', counted(2));
});
