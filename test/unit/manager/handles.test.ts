// Handles and withServable(): leases are given back exactly once, and what is released cannot be used.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { eventually, turns } from '../../support/deadline.js';
import { CountingLoader, counted, one } from '../../support/loaders.js';
import { coded, TestManager } from '../../support/manager.js';

const start = async (t: TestContext, options = {}) => {
  const m = new TestManager(t, options);
  const loader = new CountingLoader(1);
  await m.aspire('m', one(1, loader));
  return { m, manager: m.manager, loader, leases: () => m.manager.getServableStates('m')[0]?.leases };
};

for (const leakDetection of ['sampled', 'all', 'off'] as const) {
  test(`release() twice gives one lease back; leak detection ${leakDetection}`, async (t) => {
    const { manager, leases } = await start(t, { leakDetection });
    const [first, second] = [manager.getServableHandle('m'), manager.getServableHandle('m')];
    assert.equal(leases(), 2);
    first.release();
    first.release();
    first[Symbol.dispose]();
    assert.equal(leases(), 1, 'the other one is still held');
    second.release();
    assert.equal(leases(), 0);
  });

  test(`a handle is not to be used after release(); leak detection ${leakDetection}`, async (t) => {
    const { manager } = await start(t, { leakDetection });
    const handle = manager.getServableHandle('m');
    handle.release();
    assert.throws(() => handle.servable, coded('ERR_HANDLE_RELEASED', 'FAILED_PRECONDITION'));
    assert.throws(() => handle.id, coded('ERR_HANDLE_RELEASED', 'FAILED_PRECONDITION'));
  });

  test(`using releases, also when the block throws; leak detection ${leakDetection}`, async (t) => {
    const { manager, leases } = await start(t, { leakDetection });
    const use = () => {
      using handle = manager.getServableHandle<number>('m');
      assert.equal(leases(), 1);
      throw new Error(`with ${handle.servable}`);
    };
    assert.throws(use, /with 1/);
    assert.equal(leases(), 0);
  });
}

test('each of the handles of all that is available is a lease of its own', async (t) => {
  const { m, manager, leases } = await start(t);
  await m.aspire('n', counted(1));
  const handles = manager.getAvailableServableHandles<number>();
  assert.deepEqual([...handles.keys()].sort(), ['m/1', 'n/1']);
  assert.equal(leases(), 1);
  for (const handle of handles.values()) handle.release();
  assert.equal(leases(), 0);
});

test('withServable() gives the result, and the lease back when the promise settled', async (t) => {
  const { manager, leases } = await start(t);
  let finish: (value: string) => void = () => {};
  const running = manager.withServable<number, string>('m', (servable, id) => {
    assert.deepEqual([servable, { ...id }], [1, { name: 'm', version: 1 }]);
    return new Promise((resolve) => {
      finish = resolve;
    });
  });
  await turns();
  assert.equal(leases(), 1, 'held while it runs');
  finish('done');
  assert.equal(await running, 'done');
  assert.equal(leases(), 0);
  assert.equal(await manager.withServable('m', () => 'not a promise'), 'not a promise');
  assert.equal(leases(), 0);
});

test('withServable() gives the lease back when the function throws or its promise rejects', async (t) => {
  const { manager, leases } = await start(t);
  const error = new Error('of the caller');
  const is = (thrown: unknown) => thrown === error;
  await assert.rejects(
    manager.withServable('m', () => {
      throw error;
    }),
    is,
  );
  await assert.rejects(
    manager.withServable('m', () => Promise.reject(error)),
    is,
  );
  assert.equal(leases(), 0);
  let called = false;
  await assert.rejects(
    manager.withServable('unknown', () => {
      called = true;
    }),
    coded('ERR_SERVABLE_NOT_FOUND', 'NOT_FOUND'),
  );
  assert.equal(called, false);
});

test('withServableSync() gives the result, and the lease back also when the function throws', async (t) => {
  const { manager, leases } = await start(t);
  assert.equal(
    manager.withServableSync<number, number>('m', (servable) => servable + (leases() ?? 0)),
    2,
  );
  assert.equal(leases(), 0);
  assert.throws(
    () =>
      manager.withServableSync('m', () => {
        throw new Error('of the caller');
      }),
    /of the caller/,
  );
  assert.equal(leases(), 0);
  assert.throws(() => manager.withServableSync('unknown', () => 1), coded('ERR_SERVABLE_NOT_FOUND'));
});

test('what was taken before an unload began reads on; nothing new is given', async (t) => {
  const { m, manager, loader } = await start(t);
  const handle = manager.getServableHandle<number>('m');
  const transition = manager.setAspiredVersions('m', []);
  await eventually(() => m.resolve('m') === 'ERR_SERVABLE_NOT_FOUND', 'the close');
  assert.deepEqual([handle.servable, handle.id.version, loader.unloads], [1, 1, 0]);
  handle.release();
  await m.settled(transition);
  assert.equal(loader.unloads, 1);
});

test('servables that are falsy are servables', async (t) => {
  const m = new TestManager(t);
  for (const [i, value] of [0, '', false, null].entries()) {
    await m.aspire(`m${i}`, one(1, new CountingLoader(value)));
    using handle = m.manager.getServableHandle(`m${i}`);
    assert.equal(handle.servable, value);
  }
});

test('bad requests are told what is wrong with them', async (t) => {
  const { manager } = await start(t);
  const get = (request: unknown) => () => manager.getServableHandle(request as never);
  for (const name of ['', 7, null, undefined, {}])
    assert.throws(get({ name }), coded('ERR_INVALID_NAME', 'INVALID_ARGUMENT'));
  for (const request of ['', null, undefined, 7])
    assert.throws(get(request), coded('ERR_INVALID_NAME'), String(request));
  assert.throws(get({ name: 'm', verison: 1 }), /Unknown option verison in request. Did you mean version/);
  for (const version of [-1, 1.5, Number.NaN])
    assert.throws(get({ name: 'm', version }), coded('ERR_SERVABLE_NOT_FOUND'));
});

test('a handle that is dropped without release() is found, warned of once, and its version can go', async () => {
  const program = fileURLToPath(new URL('../../support/leak-program.js', import.meta.url));
  const run = promisify(execFile);
  const { stdout, stderr } = await run(process.execPath, ['--expose-gc', program], { timeout: 60_000 });
  assert.match(stdout, /unloaded/);
  assert.equal(stderr.match(/ASPIRED_LEAKED_HANDLE/g)?.length, 1, stderr);
  assert.match(stderr, /m\/1/);
});
