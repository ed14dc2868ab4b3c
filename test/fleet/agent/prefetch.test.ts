// Prefetch: artefacts come to the host before any memory is touched.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PendingCall } from '../../support/loaders.js';
import { assertServes, startHost, until } from './support.js';

interface Call extends PendingCall<void> {
  readonly version: number;
  readonly signal: AbortSignal;
}

/** A prefetch that the test answers. */
function manual(): {
  readonly calls: Call[];
  readonly prefetch: (id: { version: number }, context: { signal: AbortSignal }) => Promise<void>;
} {
  const calls: Call[] = [];
  return {
    calls,
    prefetch: ({ version }, { signal }) => {
      const call = Object.assign(new PendingCall<void>(), { version, signal });
      calls.push(call);
      return call.promise;
    },
  };
}

test('is called for the version of the cell, reported, and then the version is loaded', async (t) => {
  const { calls, prefetch } = manual();
  const host = await startHost(t, { prefetch });
  const { store, agent, loaders } = host;
  await agent.joined;
  store.write({ m: { generation: 1, versions: [1], primary: 1 } });
  await until(() => store.stateOf('m', 1) === 'Available', '1');
  store.write({ m: { generation: 2, versions: [1], primary: 1, prefetch: 2 } });
  await until(() => store.stateOf('m', 2) === 'Prefetching', 'Prefetching');
  calls[0]?.succeed();
  await until(() => store.stateOf('m', 2) === 'Prefetched', 'Prefetched');
  assert.deepEqual(loaders.loads, ['m/1'], 'no memory is touched');
  store.write({ m: { generation: 3, versions: [1, 2], primary: 1 } });
  await until(() => store.stateOf('m', 2) === 'Available', 'the load');
  assert.equal(calls.length, 1);
});

test('a version that is to be loaded while it is being fetched is loaded when it is there', async (t) => {
  const { calls, prefetch } = manual();
  const { store, agent, loaders } = await startHost(t, { prefetch });
  await agent.joined;
  store.write({ m: { generation: 1, versions: [], prefetch: 2 } });
  await until(() => calls.length === 1, 'the prefetch');
  store.write({ m: { generation: 2, versions: [2], primary: 2 } });
  await until(
    () => store.models.get('m')?.generation === 2 && store.stateOf('m', 2) === 'Start',
    'the version to wait',
  );
  assert.deepEqual(loaders.loads, []);
  assert.equal(calls[0]?.signal.aborted, false);
  calls[0]?.succeed();
  await until(() => store.stateOf('m', 2) === 'Available', 'the load');
});

test('a failure is reported with its attempts and tried again; what is served stays', async (t) => {
  const { calls, prefetch } = manual();
  const host = await startHost(t, { prefetch });
  const { store, agent } = host;
  await agent.joined;
  store.write({ m: { generation: 1, versions: [1], primary: 1, prefetch: 2 } });
  await until(() => calls.length === 1, 'the prefetch');
  calls[0]?.fail(new Error('no route to the bucket'));
  await until(() => store.version('m', 2)?.error !== undefined, 'the error');
  const { managerState, error } = store.version('m', 2) ?? {};
  assert.equal(managerState, 'End');
  assert.deepEqual(error, {
    code: 'ERR_LOAD_FAILED',
    message: 'no route to the bucket',
    attempts: 1,
    permanent: false,
  });
  await until(() => calls.length === 2, 'the second attempt');
  calls[1]?.succeed();
  await until(() => store.stateOf('m', 2) === 'Prefetched', 'Prefetched');
  assert.equal(store.version('m', 2)?.error, undefined);
  assertServes(host, 'm/1');
});

test('is aborted when another version is wanted, when none is, and by close()', async (t) => {
  const { calls, prefetch } = manual();
  const { store, agent } = await startHost(t, { prefetch });
  await agent.joined;
  store.write({ m: { generation: 1, versions: [], prefetch: 2 } });
  await until(() => calls.length === 1, 'the first');
  store.write({ m: { generation: 2, versions: [], prefetch: 3 } });
  await until(() => calls.length === 2, 'the second');
  assert.deepEqual(
    calls.map(({ version, signal }) => [version, signal.aborted]),
    [
      [2, true],
      [3, false],
    ],
  );
  store.write({ m: { generation: 3, versions: [] } });
  await until(() => calls[1]?.signal.aborted === true, 'the abort');
  store.write({ m: { generation: 4, versions: [], prefetch: 4 } });
  await until(() => calls.length === 3, 'the third');
  await agent.close();
  assert.equal(calls[2]?.signal.aborted, true);
});

test('without a prefetch of the host a version counts as fetched', async (t) => {
  const { store, agent } = await startHost(t);
  await agent.joined;
  store.write({ m: { generation: 1, versions: [], prefetch: 2 } });
  await until(() => store.stateOf('m', 2) === 'Prefetched', 'Prefetched');
});
